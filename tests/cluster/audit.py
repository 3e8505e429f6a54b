#!/usr/bin/env python3
"""Audit devices on real nodes: both sides of a forwarded request, also between clusters, with the headers that are
recorded; rotation, files that go away, a device that hangs, a full disk; devices of a primary on its secondaries."""
import json
import os
import stat
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
from replicas import add_operator, attach, enable_primary, login, operation_token, promote_dr, status  # noqa: E402

FILE = ['audit "file" "main" {', "  options {", '    file_path = "audit.log"', "  }", "}"]


HERE = [line.replace('"main"', '"here"').replace("audit.log", "here.log") for line in FILE]


def log_of(node, name="audit.log"):
    return os.path.join(node.dir, name)


def records(node, name="audit.log"):
    """Every line must be whole and JSON."""
    try:
        with open(log_of(node, name)) as f:
            return [json.loads(line) for line in f.read().splitlines()]
    except FileNotFoundError:
        return []


def of_path(node, path, kind=None, name="audit.log"):
    return [r for r in records(node, name)
            if r["request"].get("path") == path and (kind is None or r["type"] == kind)]


def both_sides(t, cluster):
    active = cluster.active()
    standby = cluster.standbys()[0]
    with t.check("the stanza's device is there on every node, mode 0600, and cannot be disabled"):
        for node in cluster.nodes:
            true("main/" in node.read("sys/audit")["data"], node.name)
            wait_for("the log of " + node.name, lambda n=node: os.path.exists(log_of(n)))
            equal(stat.S_IMODE(os.stat(log_of(node)).st_mode), 0o600, node.name)
        equal(active.ask("DELETE", "sys/audit/main")[0], 400)
        equal(active.ask("POST", "sys/audit/other", {"type": "file", "options": {
            "file_path": log_of(active, "other.log")}})[0], 400)
        equal(os.path.exists(log_of(active, "other.log")), False)
    with t.check("a forwarded write is recorded on both nodes under one request id, its effect once"):
        answer = standby.write("secret/data/both", {"data": {"v": "canary-both"}})
        here, there = (of_path(n, "secret/data/both") for n in (standby, active))
        equal([r["type"] for r in here], ["request", "response"])
        equal([r["type"] for r in there], ["request", "response"])
        ids = {r["request"]["id"] for r in here + there}
        equal(len(ids), 1)
        equal(ids, {answer["request_id"]})
        true(there[0].get("forwarded_from"), "who forwarded it")
        equal(there[1].get("forwarded"), True)
        equal(len({r["auth"]["client_token"] for r in here + there}), 1, "one salt for all nodes")
        equal(here[1]["response"]["data"]["version"], 1)
        equal(here[0]["request"]["remote_port"], there[0]["request"]["remote_port"])
    with t.check("a read on a standby is recorded there alone"):
        standby.read("secret/data/both")
        equal(len(of_path(standby, "secret/data/both")), 4)
        equal(len(of_path(active, "secret/data/both")), 2)
    with t.check("a refused request is recorded with its error, on the node that refused it"):
        equal(standby.ask("GET", "secret/data/nothing", token="wrong")[0], 403)
        refused = of_path(standby, "secret/data/nothing")
        equal([r["type"] for r in refused], ["request", "response"])
        true("permission denied" in refused[1]["error"], refused[1])
    with t.check("no secret and no token in any log"):
        for node in cluster.nodes:
            with open(log_of(node)) as f:
                text = f.read()
            true("canary-both" not in text, node.name)
            true(cluster.root not in text, node.name)


def headers_of(node, path):
    """The headers of each record of that path, in order of the log."""
    return [r["request"].get("headers") for r in of_path(node, path)]


def audited_headers(t, cluster):
    active, standby = cluster.active(), cluster.standbys()[0]
    sent = {"X-Trace": "trace-7", "X-Person": "canary-person", "X-Other": "not recorded"}
    with t.check("named headers are recorded by the node that was asked, plain or hashed"):
        standby.write("sys/config/auditing/request-headers/X-Trace", {"hmac": False})
        standby.write("sys/config/auditing/request-headers/x-person", {"hmac": True})
        active.read("secret/data/ready", headers=sent)
        headers = headers_of(active, "secret/data/ready")[-1]
        equal(headers["x-trace"], ["trace-7"])
        true(headers["x-person"][0].startswith("hmac-sha256:"), headers)
        equal(set(headers), {"x-trace", "x-person"})
    with t.check("a forwarded request has them on the active node, too: the same"):
        standby.write("secret/data/headers", {"data": {"v": "1"}}, headers=sent)
        here, there = headers_of(standby, "secret/data/headers"), headers_of(active, "secret/data/headers")
        equal(here, [headers, headers])
        equal(there, here)
    with t.check("a forwarded request without them has none"):
        standby.write("secret/data/bare", {"data": {"v": "1"}})
        equal(headers_of(standby, "secret/data/bare") + headers_of(active, "secret/data/bare"), [None] * 4)
    with t.check("a header that is not named any more is recorded nowhere"):
        equal(standby.ask("DELETE", "sys/config/auditing/request-headers/X-Trace")[0], 204)
        equal(standby.ask("DELETE", "sys/config/auditing/request-headers/X-Person")[0], 204)
        cluster.caught_up(standby)
        standby.write("secret/data/after", {"data": {"v": "1"}}, headers=sent)
        equal(headers_of(standby, "secret/data/after") + headers_of(active, "secret/data/after"), [None] * 4)


def across_clusters(t, world):
    """From a performance secondary to its primary, whose audit device it has, too."""
    primary = world.cluster("pa", nodes=1, extra=list(FILE)).up()
    second = world.cluster("pb", nodes=2, extra=list(FILE)).up(kv=False)
    add_operator(primary)
    primary.any().write("sys/config/auditing/request-headers/X-Trace", {"hmac": False})
    primary.any().write("sys/config/auditing/request-headers/X-Person", {"hmac": True})
    enable_primary(primary, "performance")
    attach(primary, second, "performance", "pb")
    second.root = login(second)
    here, there = second.active(), primary.active()
    standby = second.standbys()[0]
    sent = {"X-Trace": "trace-8", "X-Person": "canary-person"}
    with t.check("a write that goes to the primary is recorded with the headers in both clusters, under one id"):
        for node in (here, standby):
            wait_for("the mount on " + node.name, lambda n=node: n.get_kv("ready") == "1", 30)
        here.write("secret/data/across", {"data": {"v": "1"}}, headers=sent)
        first, far = headers_of(here, "secret/data/across"), headers_of(there, "secret/data/across")
        for headers in first + far:
            equal(headers["x-trace"], ["trace-8"])
            true(headers["x-person"][0].startswith("hmac-sha256:"), headers)
        true(len(first) >= 2 and len(far) == 2, (first, far))
        equal(first[0], far[0])  # the device is shared, so is its salt
        equal({r["request"]["id"] for r in of_path(here, "secret/data/across")},
              {r["request"]["id"] for r in of_path(there, "secret/data/across")})
    with t.check("by way of a standby of the secondary they go through three nodes"):
        standby.write("secret/data/farther", {"data": {"v": "1"}}, headers=sent)
        for node in (standby, here, there):
            seen = headers_of(node, "secret/data/farther")
            true(len(seen) >= 2, node.name)
            equal([h["x-trace"] for h in seen], [["trace-8"]] * len(seen), node.name)
    with t.check("no log of them has the hashed one in the clear"):
        for node in primary.nodes + second.nodes:
            with open(log_of(node)) as f:
                true("canary-person" not in f.read(), node.name)
    world.end(second)
    world.end(primary)


def configure(cluster, extra):
    """A new configuration for every node, which is told."""
    cluster.extra[:] = extra
    for node in cluster.nodes:
        with open(node.config, "w") as f:
            f.write(node.config_text())
        node.hup()


def unavailable(cluster, kind):
    return status(cluster.active(), kind)["audit_devices_unavailable"]


def of_another_cluster(t, world):
    """The primary's configuration has a device; its secondaries' configurations do not."""
    primary = world.cluster("pc", nodes=1, extra=list(FILE)).up()
    add_operator(primary)
    for kind in ("performance", "dr"):
        enable_primary(primary, kind)
    second = world.cluster("ps", nodes=1).up(kv=False)
    attach(primary, second, "performance", "ps")
    second.root = login(second)
    node = second.active()
    with t.check("a performance secondary answers without it, says so, and writes no file that its operator did not name"):
        wait_for("the report", lambda: unavailable(second, "performance") == ["main/"])
        wait_for("the mount", lambda: node.get_kv("ready") == "1", 30)
        node.put_kv("unrecorded", "1")
        true("main/" in node.read("sys/audit")["data"], "it is the set's")
        equal(os.path.exists(log_of(node)), False)
        true('device "main/" of the primary cannot be opened on this node' in node.log(), "said so")
    with t.check("named in its own configuration, too, it counts: after SIGHUP requests are recorded"):
        configure(second, FILE)
        wait_for("the device", lambda: unavailable(second, "performance") == [])
        wait_for("a record", lambda: node.get_kv("ready") == "1" and of_path(node, "secret/data/ready"))
    with t.check("a device of its own is added beside it, and removed with its stanza"):
        configure(second, FILE + HERE)
        wait_for("the device", lambda: sorted(node.read("sys/audit")["data"]) == ["here/", "main/"])
        wait_for("a record", lambda: node.get_kv("ready") == "1" and of_path(node, "secret/data/ready", name="here.log"))
        equal(node.read("sys/audit")["data"]["here/"]["local"], True)
        configure(second, FILE)
        wait_for("it to go", lambda: sorted(node.read("sys/audit")["data"]) == ["main/"])
    world.end(second)

    own = [line.replace("audit.log", "own.log") for line in FILE]  # the same name as the primary's, another file
    mirror = world.cluster("pm", nodes=1, extra=HERE + own).up(kv=False)
    attach(primary, mirror, "dr", "pm")
    node = mirror.active()
    with t.check("on a DR secondary it keeps nobody from an operation token and a dry run, which names the devices"):
        wait_for("the report", lambda: unavailable(mirror, "dr") == ["main/"])
        equal(os.path.exists(log_of(node)), False)
        token = operation_token(mirror)
        told = node.write("sys/replication/dr/secondary/promote", {"dr_operation_token": token, "dry_run": True},
                          token="")["data"]
        text = [c["text"] for c in told["checks"] if c["check"] == "audit devices"]
        equal(text, ["0 of 0 can be written to on this node, 2 are added from its configuration"])
    primary_root = primary.root
    world.end(primary)
    with t.check("promoted, it records to the devices of its own configuration by itself; the primary's is gone"):
        promote_dr(mirror, token)
        mirror.root = primary_root
        wait_for("the devices", lambda: {k: v["options"]["file_path"] for k, v in node.read("sys/audit")["data"].items()} ==
                 {"here/": "here.log", "main/": "own.log"})
        node.put_kv("promoted", "1")
        for name in ("here.log", "own.log"):
            equal([r["type"] for r in of_path(node, "secret/data/promoted", name=name)], ["request", "response"])
        equal(os.path.exists(log_of(node)), False)
    world.end(mirror)


def rotation(t, cluster):
    active = cluster.active()
    path = log_of(active)
    with t.check("rotation by rename and SIGHUP, and without the signal"):
        for round in range(2):
            os.rename(path, path + ".%d" % round)
            if round == 0:
                active.hup()
            active.put_kv("rotated-%d" % round, "1")
            equal(len(of_path(active, "secret/data/rotated-%d" % round)), 2)
            equal(of_path(active, "secret/data/rotated-%d" % round,
                          name="audit.log.%d" % round), [])
    with t.check("a deleted file is made anew, and nothing between is lost"):
        os.unlink(path)
        for i in range(50):
            active.put_kv("anew", str(i))
        equal(len(of_path(active, "secret/data/anew")), 100)


def load(t, cluster):
    """Many at once: every acknowledged write has both of its records, whole lines, in order."""
    active = cluster.active()
    with t.check("400 writes by eight clients: two records each, request before response"):
        def write(who):
            for i in range(50):
                active.put_kv("load/%d/%d" % (who, i), "x" * 200)
        threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = {}
        for r in records(active):
            if r["request"]["path"].startswith("secret/data/load/"):
                seen.setdefault(r["request"]["id"], []).append(r["type"])
        equal(len(seen), 400)
        # a write that lost the check ran again, and is recorded again
        true(all(types[0] == "request" and types[-1] == "response" and len(types) % 2 == 0
                 for types in seen.values()), "order")


def full_disk(t, cluster):
    active = cluster.active()
    path = log_of(active)
    with t.check("a full disk: no effect, leadership goes to another node, the audit trail with it"):
        os.rename(path, path + ".before")
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # every write to it is ENOSPC
        except PermissionError:
            t.note("no permission to make a device that is full: not shown")
            os.rename(path + ".before", path)
            return
        status = active.ask("POST", "secret/data/full", {"data": {"v": "1"}})[0]
        equal(status, 500)
        successor = cluster.active(other_than=active)
        equal(successor.ask("GET", "secret/data/full")[0], 404)
        successor.put_kv("full", "2")
        equal(len(of_path(successor, "secret/data/full", "response")) >= 2, True)
        equal(active.ask("GET", "secret/data/full")[0], 500)  # answers nobody unrecorded
        true("the disk of the audit log is full" in active.log(), "said so")
    with t.check("space again: the node serves as before, by itself"):
        os.unlink(path)
        wait_for("the node to serve", lambda: active.get_kv("full") == "2", 10)


def hanging(t, world):
    """A device that takes nothing beside one that works."""
    cluster = world.cluster("h", nodes=1, extra=FILE + [
        'audit "file" "pipe" {', "  options {", '    file_path = "pipe"', "  }", "}"])
    node = cluster.nodes[0]
    os.mkfifo(os.path.join(node.dir, "pipe"))
    reader = os.open(os.path.join(node.dir, "pipe"), os.O_RDONLY | os.O_NONBLOCK)
    cluster.up()
    with t.check("a pipe that nobody empties: requests go on, nobody waits for it any more"):
        for i in range(400):  # more than a pipe holds
            node.put_kv("k%d" % (i % 7), "v" * 200)
        wait_for("the failure to be noticed",
                 lambda: 'device "pipe/" has failed' in node.log(), 10)
        gauges = {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]}
        equal((gauges["coffer_audit_devices"], gauges["coffer_audit_devices_failed"]), (2, 1))
        before = time.monotonic()
        for i in range(50):
            node.put_kv("after", str(i))
        t.note("50 writes beside a hanging device: %.2f s" % (time.monotonic() - before))
        equal(len(of_path(node, "secret/data/after", "response")), 50)
    with t.check("read again, it works again"):
        def drained():
            try:
                os.read(reader, 1 << 20)
            except BlockingIOError:
                pass
            return 'device "pipe/" works again' in node.log()
        wait_for("the recovery", drained, 20)
    with t.check("a stanza that is gone from the configuration is disabled with SIGHUP"):
        cluster.extra[:] = FILE
        with open(node.config, "w") as f:
            f.write(node.config_text())
        node.hup()
        wait_for("the device to go", lambda: sorted(node.read("sys/audit")["data"]) == ["main/"])
    with t.check("a stanza that makes no sense stops the start, with its reason"):
        node.stop()
        cluster.extra[:] = FILE + ['audit "file" "bad" {', "  options {", '    mode = "0600"',
                                   "  }", "}"]
        node.start(wait=False)
        equal(node.proc.wait(20), 1)
        node.proc = None
        true("file_path is required" in node.log(), node.log()[-300:])
    os.close(reader)
    world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def shared():
            cluster = world.cluster("a", extra=list(FILE)).up()
            both_sides(t, cluster)
            audited_headers(t, cluster)
            rotation(t, cluster)
            load(t, cluster)
            full_disk(t, cluster)
            world.end(cluster)

        for name, call in (("shared", shared), ("across", lambda: across_clusters(t, world)),
                           ("another", lambda: of_another_cluster(t, world)),
                           ("hanging", lambda: hanging(t, world))):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
