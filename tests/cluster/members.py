#!/usr/bin/env python3
"""Who belongs to a cluster: joining, non-voters, autopilot, lost disks, removal, certificates, recovery."""
import json
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, Node, Refused, World, Writer, arguments, wait_for  # noqa: E402

CONFIG = "sys/storage/raft/autopilot/configuration"


def servers(node):
    config = node.read("sys/storage/raft/configuration")["data"]["config"]
    return {s["node_id"]: s for s in config["servers"]}


def autopilot(node):
    return node.read("sys/storage/raft/autopilot/state")["data"]


def grow(cluster, name):
    """One more node, which joins by itself; not in the others' retry_join, which nobody needs."""
    node = Node(cluster, name)
    cluster.nodes.append(node)
    return node


def wiped(node):
    shutil.rmtree(node.data)
    os.makedirs(node.data, mode=0o700)


def refused(call, *words):
    try:
        call()
    except Refused as e:
        for word in words:
            true(word in str(e), "%r lacks %r" % (str(e), word))
        return e
    raise AssertionError("was not refused")


def settings(t, cluster):
    any_ = cluster.any()
    with t.check("autopilot's configuration: defaults, changes, and what is refused"):
        equal(any_.read(CONFIG)["data"],
              {"cleanup_dead_servers": False, "disable_upgrade_migration": True,
               "dead_server_last_contact_threshold": "24h0m0s", "last_contact_threshold": "10s",
               "max_trailing_logs": 1000, "min_quorum": 0, "server_stabilization_time": "10s"})
        refused(lambda: any_.write(CONFIG, {"cleanup_dead_servers": True}), "min_quorum must be set")
        refused(lambda: any_.write(CONFIG, {"cleanup_dead_servers": True, "min_quorum": 3,
                                            "dead_server_last_contact_threshold": "30s"}), "less than 1m")
        refused(lambda: any_.write(CONFIG, {"last_contact_threshold": "-1s"}), "last_contact_threshold")
        refused(lambda: any_.write(CONFIG, {"max_trailing_logs": "many"}))
        any_.write(CONFIG, {"last_contact_threshold": "2s", "server_stabilization_time": "3s",
                            "max_trailing_logs": 500, "min_quorum": 3})
        for node in cluster.nodes:
            got = node.read(CONFIG)["data"]
            equal((got["last_contact_threshold"], got["server_stabilization_time"],
                   got["max_trailing_logs"], got["min_quorum"]), ("2s", "3s", 500, 3), node.name)
    with t.check("autopilot's state has every field, on every node"):
        wait_for("a healthy state", lambda: autopilot(any_)["healthy"], 15)
        state = autopilot(cluster.standbys()[0])
        names = sorted(n.name for n in cluster.nodes)
        equal((state["failure_tolerance"], sorted(state["voters"]), sorted(state["servers"])),
              (1, names, names))
        equal(state["leader"], cluster.active().name)
        for name, server in state["servers"].items():
            for field in ("id", "name", "address", "node_status", "node_type", "status", "healthy",
                          "stable_since", "last_contact", "last_index", "last_term", "version"):
                true(field in server, "%s lacks %s" % (name, field))
            true(server["version"], "%s has no version" % name)
            true(server["last_index"] > 0 and server["last_term"] > 0, "%s: %r" % (name, server))


def non_voter(t, cluster):
    with t.check("a node with retry_join_as_non_voter joins, serves, and never votes"):
        node = grow(cluster, cluster.name + "5")
        keep, cluster.storage_extra = cluster.storage_extra, ["retry_join_as_non_voter = true"]
        node.start()
        cluster.storage_extra = keep
        cluster.unseal(node)
        cluster.caught_up(node)
        equal(node.get_kv("ready"), "1")
        wait_for("it to be healthy for a while",
                 lambda: autopilot(cluster.any())["servers"][node.name]["healthy"], 15)
        time.sleep(5 * SLOW)  # longer than server_stabilization_time
        one = servers(cluster.any())[node.name]
        equal((one["voter"], one["non_voter"]), (False, True))
        state = autopilot(cluster.any())
        equal((state["servers"][node.name]["status"], state["non_voters"]), ("non-voter", [node.name]))
        true(node.name not in state["voters"], "it votes")
    with t.check("it stays one under another leader"):
        cluster.active().ask("PUT", "sys/step-down")
        wait_for("a leader", lambda: cluster.any().put_kv("nv", "1"), 20)
        time.sleep(4 * SLOW)
        equal(servers(cluster.any())[node.name]["voter"], False)
        true(node is not cluster.active(), "a non-voter leads")
    return node


def strangers(t, cluster):
    """A join by who cannot prove itself changes nothing (CVE-2022-36129), and is bounded."""
    leader = cluster.active()
    before = servers(leader)
    path = "sys/storage/raft/bootstrap/"
    csr = os.path.join(cluster.dir, "x.csr")
    key = os.path.join(cluster.dir, "x.key")
    os.system("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout %s -out %s"
              " -subj /CN=x >/dev/null 2>&1" % (key, csr))
    with open(csr) as f:
        pem = f.read()
    with t.check("without the unseal key a join gets nowhere, whatever it calls itself"):
        for i, name in enumerate(list(before) + ["stranger"]):
            body = {"server_id": name, "internal_id": "%016x" % (i + 1), "csr": pem,
                    "cluster_address": "127.0.0.1:1", "non_voter": True}
            answer = leader.write(path + "challenge", body, token="")["data"]
            e = refused(lambda: leader.write(path + "answer", {"nonce": answer["nonce"],
                                                               "answer": "AAAA"}, token=""))
            equal(e.status, 403)
            refused(lambda: leader.write(path + "answer", {"nonce": answer["nonce"],
                                                           "answer": "AAAA"}, token=""), "no such join")
        after = servers(leader)
        for name in before:
            equal({k: after[name][k] for k in ("voter", "non_voter", "address")},
                  {k: before[name][k] for k in ("voter", "non_voter", "address")}, name)
        equal(sorted(after), sorted(before))
    with t.check("a flood of joins is bounded, and a real one gets through soon after"):
        codes = []
        for i in range(60):
            codes.append(leader.ask("POST", path + "challenge", {
                "server_id": "flood%d" % i, "internal_id": "%016x" % (1000 + i), "csr": pem,
                "cluster_address": "127.0.0.1:1"}, token="")[0])
        true(codes.count(200) <= 17 and codes.count(429) >= 43, "answers: %s" % codes)
        equal(leader.ask("POST", path + "challenge", {"server_id": "x" * 200000}, token="")[0], 400)


def lost_disk(t, cluster):
    with t.check("a second node under the name of a living one is refused, and told why"):
        victim = cluster.standbys()[0]
        twin = Node(cluster, "twin")
        twin.name = victim.name
        cluster.nodes.append(twin)
        try:
            twin.start()
            wait_for("the refusal in its log", lambda: "is a member that was heard" in twin.log(), 20)
            true("node_id of its own" in twin.log(), "it is not told what to do")
            equal(len(servers(cluster.active())), 3)
        finally:
            twin.kill()
            cluster.nodes.remove(twin)
    with t.check("a node that lost its disk comes back under its name with another id"):
        cluster.active().put_kv("disk", "kept")
        victim.kill()
        wiped(victim)
        victim.start()
        wait_for("its refusal while the old one may be alive",
                 lambda: "is a member that was heard" in victim.log(), 20)
        cluster.unseal(victim)
        wait_for("three voters", lambda: sorted(cluster.voters()) == sorted(n.name for n in cluster.nodes), 30)
        cluster.caught_up(victim)
        equal(victim.get_kv("disk"), "kept")
        true("takes its place" in "".join(n.log() for n in cluster.nodes), "no word of it")
        equal(len(servers(cluster.active())), 3)


def cli(t, cluster):
    with t.check("operator raft list-peers shows lag and last contact; JSON and members, too"):
        code, out, err = cluster.any().cli("operator", "raft", "list-peers")
        equal(code, 0, err)
        equal(out.splitlines()[0].split(), ["Node", "Address", "State", "Voter", "Lag", "Last", "Contact"])
        code, out, _ = cluster.any().cli("operator", "raft", "list-peers", "-format=json")
        peers = json.loads(out)["data"]["config"]["servers"]
        for peer in peers:
            true(isinstance(peer["lag_entries"], int) and peer["last_contact"].endswith("s"), str(peer))
        code, out, err = cluster.any().cli("operator", "members")
        equal((code, len(out.splitlines())), (0, 2 + len(cluster.nodes)), err)
        for node in cluster.nodes:
            true(node.addr in out, "%s is missing in\n%s" % (node.addr, out))


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def shared():
            cluster = world.cluster("m").up()
            settings(t, cluster)
            cli(t, cluster)
            lost_disk(t, cluster)
            strangers(t, cluster)
            non_voter(t, cluster)
            world.end(cluster)

        for name, call in (("shared", shared),):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
