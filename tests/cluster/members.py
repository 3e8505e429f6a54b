#!/usr/bin/env python3
"""Who belongs to a cluster: joining, non-voters, autopilot, lost disks, removal, certificates, recovery."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, Node, Refused, World, Writer, arguments, binary, wait_for  # noqa: E402

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
              {"cleanup_dead_servers": False, "disable_upgrade_migration": False,
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
        code, out, err = cluster.any().cli("operator", "raft", "autopilot", "set-config", "-min-quorum=3",
                                           "-last-contact-threshold=2s", "-cleanup-dead-servers=false")
        equal(code, 0, err)
        code, out, _ = cluster.any().cli("operator", "raft", "autopilot", "get-config", "-format=json")
        equal((json.loads(out)["min_quorum"], json.loads(out)["last_contact_threshold"]), (3, "2s"))
        code, _, err = cluster.any().cli("operator", "raft", "autopilot", "set-config", "-cleanup-dead-servers",
                                         "-dead-server-last-contact-threshold=30s")
        equal(code, 2)
        true("less than 1m" in err, err)
        code, out, err = cluster.any().cli("operator", "members")
        equal((code, len(out.splitlines())), (0, 2 + len(cluster.nodes)), err)
        for node in cluster.nodes:
            true(node.addr in out, "%s is missing in\n%s" % (node.addr, out))


def removed(t, cluster):
    victim = cluster.standbys()[0]
    with t.check("a removed node that runs on says what it is, disturbs nobody, and comes back as a new one"):
        leader, term = cluster.active(), None
        leader.write("sys/storage/raft/remove-peer", {"server_id": victim.name})
        true(victim.name not in servers(leader), "it is still there")
        wait_for("it to know", lambda: victim.health() == 530, 15)
        body = victim.read("sys/seal-status", token="")
        true(body["removed_from_cluster"] and "remove its data directory" in body["removed_reason"], str(body))
        true("was removed from its cluster" in victim.log(), "no word in its log")
        e = refused(lambda: victim.get_kv("ready"), "was removed from its cluster")
        equal(e.status, 503)
        term = leader.read("sys/metrics")["Gauges"]
        term = [g["Value"] for g in term if g["Name"] == "coffer_raft_term"]
        time.sleep(2 * SLOW)  # several elections' time
        now = [g["Value"] for g in leader.read("sys/metrics")["Gauges"] if g["Name"] == "coffer_raft_term"]
        equal(now, term, "the term grew")
        true(leader is cluster.active(), "the leader changed")
        refused(lambda: leader.write("sys/storage/raft/remove-peer", {"server_id": victim.name}), "no server")
        victim.kill()
        wiped(victim)
        victim.start()
        cluster.unseal(victim)
        wait_for("three voters", lambda: len(cluster.voters()) == len(cluster.nodes), 30)
        equal(victim.health() in (429, 473), True)


def leader_removed(t, cluster):
    leader = cluster.active()
    with t.check("a leader that is to remove itself does, and says so; another one takes over"):
        leader.put_kv("before-removal", "1")
        equal(leader.ask("POST", "sys/storage/raft/remove-peer", {"server_id": leader.name})[0], 204)
        after = cluster.active(other_than=leader)
        true(leader.name not in servers(after), "it is still there")
        wait_for("it to know", lambda: leader.health() == 530, 15)
        equal(after.get_kv("before-removal"), "1")
        leader.kill()
        wiped(leader)
        leader.start()
        cluster.unseal(leader)
        wait_for("three voters", lambda: len(cluster.voters()) == len(cluster.nodes), 30)


def certificates(t, world):
    """Certificates of 8 s, renewed by themselves while writers write."""
    cluster = world.cluster("c", storage_extra=['node_cert_ttl = "8s"']).up()
    with t.check("node certificates renew themselves, and no write fails meanwhile"):
        writers = [Writer(cluster, "cert%d" % i) for i in range(2)]
        for writer in writers:
            writer.start()
        for node in cluster.nodes:
            wait_for("%s to renew twice" % node.name,
                     lambda n=node: n.log().count("certificate was renewed") >= 2, 60)
        for writer in writers:
            writer.stop()
            equal(writer.errors, {}, "writes failed")
        equal(writers[0].missing(cluster.nodes[1]) + writers[1].missing(cluster.nodes[2]), [], "lost")
    with t.check("the first certificates are over; a restarted node and a new leader talk by renewed ones"):
        old = cluster.active()
        other = cluster.standbys()[0]
        other.kill()
        other.start()
        cluster.unseal(other)
        cluster.caught_up(other)
        equal(old.ask("PUT", "sys/step-down")[0], 204)
        wait_for("writes", lambda: cluster.active(other_than=old).put_kv("after", "1"), 20)
        other.put_kv("forwarded", "1")
    world.end(cluster)


def names(t, world):
    """retry_join by names, with certificates that carry another name than the address."""
    tls = world.certificates("names", san="DNS:coffer.internal")
    cluster = world.cluster("t", tls=tls)
    cluster._context = ssl.create_default_context(cafile=tls.ca)
    cluster._context.check_hostname = False
    first, second, third = cluster.nodes
    with open(tls.ca) as f:
        pem = json.dumps(f.read())
    plain = Node.config_text

    def joining(node, *stanzas):
        """The configuration with these stanzas instead of the usual ones."""
        text = plain(node)
        begin, end = text.index("  retry_join"), text.index('}\nlistener "tcp"')
        blocks = ["  retry_join {\n%s\n  }\n" % "\n".join("    " + line for line in lines) for lines in stanzas]
        node.config_text = lambda: text[:begin] + "".join(blocks) + text[end:]

    with t.check("a name without an address, then one with two of which one answers; the CA as text"):
        first.config_text = lambda: plain(first)
        joining(second, ['leader_api_addr = "https://nobody.invalid:8200"'],
                ['leader_api_addr = "https://localhost:%d"' % first.port, "leader_ca_cert = " + pem,
                 'leader_tls_servername = "coffer.internal"'])
        second.start()
        true(second.ask("GET", "sys/init", token="")[1]["initialized"] is False, "it joined nobody")
        first.start()
        cluster.init()
        cluster.unseal(first)
        wait_for("two voters", lambda: len(cluster.voters()) == 2, 40)
    with t.check("by a standby, which sends the join on to a leader with the same certificate name"):
        cluster.active()
        way = cluster.standbys()[0]
        joining(third, ['leader_api_addr = "https://localhost:%d"' % way.port,
                        'leader_ca_cert_file = "%s"' % tls.ca, 'leader_tls_servername = "coffer.internal"'])
        third.start()
        wait_for("three voters", lambda: len(cluster.voters()) == 3, 40)
    with t.check("without the name the certificate is refused, and the log says so"):
        stranger = Node(cluster, "stranger")
        joining(stranger, ['leader_api_addr = "https://localhost:%d"' % first.port,
                           'leader_ca_cert_file = "%s"' % tls.ca])
        stranger.start()
        try:
            wait_for("the reason", lambda: "joining: cannot reach" in stranger.log(), 20)
            true("certificate" in stranger.log() or "SSL" in stranger.log(), stranger.log()[-500:])
        finally:
            stranger.kill()
    with t.check("auto_join is refused at the start, with words"):
        joining(stranger, ['auto_join = "provider=aws"'])
        with open(stranger.config, "w") as f:
            f.write(stranger.config_text())
        done = subprocess.run([binary(), "server", "-config=" + stranger.config], capture_output=True,
                              text=True, timeout=20 * SLOW, stdin=subprocess.DEVNULL)
        equal(done.returncode, 1)
        true("auto_join is not supported" in done.stderr, done.stderr)
    world.end(cluster)


class Dead:
    """Four voters, one of which dies: cleanup removes it after a minute, while other things are tested."""

    def __init__(self, t, world):
        self.t = t
        self.cluster = world.cluster("d", nodes=4).up()
        self.cluster.any().write(CONFIG, {"cleanup_dead_servers": True, "min_quorum": 3,
                                          "dead_server_last_contact_threshold": "60s",
                                          "last_contact_threshold": "2s"})
        self.victim = self.cluster.standbys()[0]
        self.victim.kill()
        self.died = time.monotonic()
        with self.t.check("a dead member is unhealthy, and stays while it may come back"):
            wait_for("it to be unhealthy", lambda: not self.state()["healthy"], 15)
            state = self.state()
            equal(state["servers"][self.victim.name]["node_status"], "failed")
            equal((state["failure_tolerance"], len(servers(self.cluster.any()))), (0, 4))

    def look(self):
        with self.t.check("cleanup removes it after its time, and nobody below min_quorum"):
            wait_for("its removal", lambda: self.victim.name not in servers(self.cluster.any()), 90)
            true(time.monotonic() - self.died > 59, "too early")
            true(any("removes the dead node" in n.log() for n in self.cluster.nodes), "no word of it")
            equal((self.state()["failure_tolerance"], len(servers(self.cluster.any()))), (1, 3))

    def state(self):
        return autopilot(self.cluster.any())


def sealed(t, world):
    """Design 3.6: sealed nodes vote and apply, lead last, and don't call a share wrong too early."""
    cluster = world.cluster("s", seal="shamir").up()
    other = world.cluster("o", nodes=1, seal="shamir").up()
    with t.check("a sealed leader hands over at once to an unsealed voter"):
        old = cluster.active()
        old.write("sys/seal")
        new = wait_for("an unsealed leader", lambda: cluster.active(other_than=old), 20)
        new.put_kv("handed", "over")
        equal(old.is_sealed(), True)
    with t.check("with one sealed, the unsealed one takes over from a killed leader"):
        third = [n for n in cluster.nodes if n not in (old, new)][0]
        new.kill()
        wait_for("writes", lambda: third.put_kv("handed", "again", timeout=3), 20)
        true(third.leader()["is_self"], "it does not lead")
        new.start()
        for node in (old, new):
            cluster.unseal(node)
            cluster.caught_up(node)
            equal(node.get_kv("handed"), "again")
    with t.check("a wrong share is called wrong by a node that has caught up"):
        victim = cluster.standbys()[0]
        victim.kill()
        victim.start()
        e = refused(lambda: victim.call("PUT", "sys/unseal", {"key": other.keys[0]}, token=""), "invalid key")
        equal(e.status, 400)
    with t.check("and by one without a leader not: it says what it lacks"):
        for node in cluster.nodes:
            if node is not victim:
                node.kill()
        victim.kill()
        victim.start()
        e = refused(lambda: victim.call("PUT", "sys/unseal", {"key": other.keys[0]}, token="", timeout=30),
                    "no leader")
        equal(e.status, 503)
        for node in cluster.nodes:
            if node is not victim:
                node.start()
        for node in cluster.nodes:
            cluster.unseal(node)
    with t.check("shares that are newer than a node's state open it once it has caught up"):
        victim = cluster.standbys()[0]
        victim.kill()
        archive = os.path.join(world.dir, "other.snap")
        equal(other.nodes[0].cli("operator", "raft", "snapshot", "save", archive)[0], 0)
        with open(archive, "rb") as f:
            raw = f.read()
        # One that has only just begun to lead still sends elsewhere, having done nothing.
        wait_for("the restore", lambda: cluster.active().call(
            "POST", "sys/storage/raft/snapshot-force?keep_tokens=true", raw=raw) is not None, 20, 0.2)
        cluster.keys, cluster.root = other.keys, other.root
        for node in cluster.running():
            wait_for("%s to be sealed by the other keys" % node.name, node.is_sealed, 20)
        for node in cluster.running():
            cluster.unseal(node)
        wait_for("writes", lambda: cluster.active().put_kv("restored", "1"), 10)
        victim.start()
        codes = []

        def give():
            codes.append(victim.ask("PUT", "sys/unseal", {"key": other.keys[0]}, token="", timeout=30)[0])
            return not victim.is_sealed()
        wait_for("it to unseal", give, 30, 0.2)
        true(400 not in codes, "a good share was called wrong: %s" % codes)
        cluster.caught_up(victim)
        equal(victim.get_kv("restored"), "1")
    world.end(other)
    world.end(cluster)


def recovery(t, world):
    cluster = world.cluster("r").up()
    writer = Writer(cluster, "rec")
    writer.start()
    writer.until(60)
    writer.stop()
    cluster.active()
    survivor, gone, sleeper = cluster.nodes[2], cluster.nodes[0], cluster.nodes[1]
    cluster.caught_up(survivor)
    command = ("operator", "raft", "recover", "-config=" + survivor.config)
    with t.check("recover refuses a node that runs"):
        code, out, err = survivor.cli(*command)
        equal(code, 1)
        true("stop it first" in err, err)
    with t.check("recover -dry-run shows what it would do, and does nothing"):
        for node in cluster.nodes:
            node.kill()
        shutil.rmtree(gone.data)
        code, out, err = survivor.cli(*command, "-dry-run")
        equal(code, 0, err)
        for word in ("Nothing was written", "index", "LOST", gone.name, sleeper.name, "recovery epoch"):
            true(word in out, "%s is missing in\n%s" % (word, out))
        again = survivor.cli(*command, "-dry-run")[1]
        equal([x for x in out.splitlines() if "epoch" not in x],
              [x for x in again.splitlines() if "epoch" not in x])
    with t.check("a peers.json that lacks this node, or is damaged, is refused"):
        peers = os.path.join(survivor.data, "raft")
        os.makedirs(peers)
        peers = os.path.join(peers, "peers.json")
        with open(peers, "w") as f:
            json.dump([{"id": gone.name, "address": "127.0.0.1:1", "non_voter": False}], f)
        code, _, err = survivor.cli(*command)
        equal(code, 1)
        true("does not name this node" in err, err)
        with open(peers, "w") as f:
            f.write("[{")
        equal(survivor.cli(*command)[0], 1)
        with open(peers, "w") as f:
            json.dump([{"id": survivor.name, "non_voter": False,
                        "address": "127.0.0.1:%d" % survivor.cluster_port}], f)
    with t.check("recover makes the survivor a cluster of one that has all it was told"):
        code, out, err = survivor.cli(*command)
        equal(code, 0, err)
        true("Done." in out, out)
        true(not os.path.exists(peers) and os.path.exists(peers + ".done"), "the file is still there")
        survivor.start()
        cluster.unseal(survivor)
        wait_for("it to lead", lambda: survivor.put_kv("alone", "1"), 20)
        equal(writer.missing(survivor), [], "lost")
        equal(list(servers(survivor)), [survivor.name])
    with t.check("an old node that wakes up is refused, and both sides say why"):
        sleeper.start()
        wait_for("the survivor to say so", lambda: "refused node" in survivor.log(), 20)
        wait_for("the old one to say so", lambda: sleeper.health() == 530, 20)
        true("recovered without this node" in sleeper.log(), "no word in its log")
        equal(list(servers(survivor)), [survivor.name])
        survivor.put_kv("alone", "2")
        sleeper.kill()
        sleeper.start()
        wait_for("it still to know after a restart", lambda: sleeper.health() == 530, 20)
        sleeper.kill()
    with t.check("then two new nodes join, and the three take the loss of one again"):
        for node in (gone, sleeper):
            shutil.rmtree(node.data, ignore_errors=True)
            os.makedirs(node.data, mode=0o700)
            node.start()
            cluster.unseal(node)
        wait_for("three voters", lambda: len(cluster.voters()) == 3, 40)
        cluster.caught_up(gone)
        equal(writer.missing(gone), [], "lost")
        survivor.kill()
        wait_for("writes", lambda: cluster.any().put_kv("alone", "3", timeout=3), 30)
        equal(cluster.any().get_kv("alone"), "3")
    world.end(cluster)


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
            removed(t, cluster)
            leader_removed(t, cluster)
            non_voter(t, cluster)
            world.end(cluster)

        dead = Dead(t, world) if opts.only in "dead" else None
        for name, call in (("shared", shared), ("certificates", lambda: certificates(t, world)),
                           ("names", lambda: names(t, world)), ("sealed", lambda: sealed(t, world)),
                           ("recovery", lambda: recovery(t, world))):
            if opts.only in name:
                with t.scenario(name):
                    call()
        if dead is not None:
            with t.scenario("dead"):
                dead.look()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
