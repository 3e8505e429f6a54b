#!/usr/bin/env python3
"""What a primary keeps for its secondaries, and what it says of them: lag in entries, bytes and time on both sides while they
stream, while they are cut off and afterwards; the alarm before the log reaches its cap, and who is cut off by it; bytes
that a slow secondary holds on its primary."""
import http.client
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, binary, wait_for  # noqa: E402
from relay import Link, Relay  # noqa: E402
from replicas import add_operator, attach, enable_primary, in_step, login, status, streaming  # noqa: E402

MIB = 1 << 20
CAP = 4 * MIB
# Sent and not acknowledged: 16 MiB, the batch that passed that mark, and some words beside it.
HELD_MAX = 18 * MIB
SHORT_LOG = ["trailing_logs = 20", 'snapshot_interval = "1s"']
SMALL_CAP = ["replication {", '  log_retention_size = "4mib"', "}"]
LAGS = ("lag_entries", "lag_bytes", "lag_ms")


def gauges(node):
    return {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]}


def of_primary(a):
    """What the primary says: rows by the id of the secondary, and its gauges."""
    rows = {}
    for kind in ("performance", "dr"):
        for row in status(a.active(), kind).get("secondaries", []):
            rows[row["node_id"]] = row
    seen = gauges(a.active())
    return rows, {name: seen["coffer_replication_" + name] for name in LAGS}


def of_secondary(cluster, kind):
    """What a secondary says: its status, and its gauges where clients are answered."""
    said = status(cluster.any(), kind)
    for name in LAGS:
        true(isinstance(said[name], int) and said[name] >= 0, "%s: %r" % (name, said[name]))
    if kind == "dr":
        return said, None
    seen = gauges(cluster.any())
    return said, {name: seen["coffer_replication_own_" + name] for name in LAGS}


def write(a, count, size=200):
    for i in range(count):
        a.active().write("plain/k%02d" % (i % 50), {"v": "x" * size})


def no_lag(a, b, c):
    """All six numbers and all gauges are nothing, on both sides."""
    def nothing():
        rows, seen = of_primary(a)
        sides = [rows["b"], rows["c"], seen]
        for cluster, kind in ((b, "performance"), (c, "dr")):
            said, own = of_secondary(cluster, kind)
            sides += [said] + ([own] if own else [])
        return all(side[name] == 0 for side in sides for name in LAGS) and rows
    rows = wait_for("no lag anywhere", nothing, 60, 0.2)
    for row in rows.values():
        equal(row["connection_status"], "connected")
    # These are renewed twice a second.
    wait_for("the gauges", lambda: gauges(b.any())["coffer_replication_streaming"] == 1 and
             gauges(a.any())["coffer_replication_secondaries_connected"] == 2, 10, 0.2)


def cut(a, link):
    link.cut_after(1)

    def gone():
        rows, _ = of_primary(a)
        return all(row["connection_status"] == "disconnected" for row in rows.values())
    wait_for("the primary to see that both are gone", gone, 30, 0.2)


def lags(t, a, b, c, link):
    with t.check("lag while they stream: none, on both sides, once all is there"):
        write(a, 60)
        no_lag(a, b, c)
    with t.check("lag while they are cut off: entries, bytes and growing time, on both sides"):
        cut(a, link)
        write(a, 60)

        def behind():
            rows, seen = of_primary(a)
            return all(side["lag_entries"] >= 60 and side["lag_bytes"] >= 60 * 100 and side["lag_ms"] >= 1000
                       for side in [rows["b"], rows["c"], seen]) and rows
        first = wait_for("lag on the primary", behind, 30, 0.2)
        said = {kind: of_secondary(cluster, kind)[0] for cluster, kind in ((b, "performance"), (c, "dr"))}

        def grows():
            rows, _ = of_primary(a)
            return all(rows[id]["lag_ms"] > first[id]["lag_ms"] for id in ("b", "c"))
        wait_for("its time to grow", grows, 30, 0.2)
        for cluster, kind in ((b, "performance"), (c, "dr")):
            def is_silent():
                now, own = of_secondary(cluster, kind)
                return now["state"] != "stream-wals" and now["lag_ms"] > max(1000, said[kind]["lag_ms"]) and \
                    (own is None or own["lag_ms"] > 1000)
            wait_for("the silence in the lag of " + cluster.name, is_silent, 30, 0.2)
        equal(gauges(b.any())["coffer_replication_streaming"], 0)
        equal(gauges(a.any())["coffer_replication_secondaries_connected"], 0)
    with t.check("lag after the cut: none again"):
        link.open()
        streaming(b, "performance")
        streaming(c, "dr")
        no_lag(a, b, c)


def log_size(a):
    """The size that the next answer of the active node gives, and whether it raises the alarm."""
    said = status(a.active(), "performance")
    return said["log_bytes"], said["log_near_cap"], said


def fill_to(a, wanted):
    """Writes until the log is that large; the primary looks twice a second, so it is waited for after each piece."""
    size, _, _ = log_size(a)
    while size < wanted:
        count = 300 if size + 400 * 4096 < wanted else 40
        write(a, count, 4096)
        before = size
        size = wait_for("the log to be seen growing", lambda: log_size(a)[0] >= before + count * 4096 and log_size(a)[0], 30)


def alarm(t, a, b, c, link):
    node = a.active()
    copies = [status(b.any(), "performance")["bootstraps"], status(c.any(), "dr")["bootstraps"]]
    repairs = [status(b.any(), "performance")["repair"]["repairs"], status(c.any(), "dr")["repair"]["repairs"]]
    with t.check("the cap is what the configuration says, and nothing is alarming"):
        _, near, said = log_size(a)
        equal((said["log_bytes_max"], near, said["secondaries_cut_off"]), (CAP, False, 0))
        equal(gauges(node)["coffer_replication_log_bytes_max"], CAP)
    cut(a, link)
    stands = min(row["acknowledged_wal"] for row in of_primary(a)[0].values())
    with t.check("before the cap: the alarm in status, log and metrics, and nothing is cut yet"):
        fill_to(a, CAP * 82 // 100)
        wait_for("the alarm", lambda: log_size(a)[1], 30)
        wait_for("the metric", lambda: gauges(node)["coffer_replication_log_near_cap"] == 1, 30)
        equal(node.log().count("the log holds "), 1)
        true(gauges(node)["coffer_raft_first_index"] <= stands + 1, "the log was cut before its cap")
        equal(log_size(a)[2]["secondaries_cut_off"], 0)
    with t.check("past the cap: the log is cut, both are told to be cut off, and the alarm is over"):
        def was_cut():
            write(a, 40, 4096)
            return gauges(node)["coffer_raft_first_index"] > stands + 1
        wait_for("the log to be cut", was_cut, 60, 0.1)

        def told():
            _, near, said = log_size(a)
            seen = gauges(node)
            # One for each kind: the status of either tells of both.
            return (said["secondaries_cut_off"] == 2 and not near and said["log_bytes"] < CAP and
                    seen["coffer_replication_secondaries_cut_off"] == 2 and seen["coffer_replication_log_near_cap"] == 0)
        wait_for("who is cut off", told, 60, 0.2)
        true("the log was cut past what 2 secondaries that are away still needed" in node.log(), "no word in the log")
    with t.check("back again they have moved what differs, and no whole copy"):
        link.open()
        streaming(b, "performance")
        streaming(c, "dr")
        in_step(a, b, "performance")
        in_step(a, c, "dr")
        said = [status(b.any(), "performance"), status(c.any(), "dr")]
        equal([s["bootstraps"] for s in said], copies, "copies")
        equal([s["repair"]["repairs"] for s in said], [n + 1 for n in repairs], "repairs")
        wait_for("nobody to be cut off", lambda: log_size(a)[2]["secondaries_cut_off"] == 0, 30)
        no_lag(a, b, c)


def bounded_log(t, world):
    a = world.cluster("reta", nodes=1, storage_extra=SHORT_LOG, extra=SMALL_CAP)
    b = world.cluster("retb", nodes=1).up(kv=False)
    c = world.cluster("retc", nodes=1).up(kv=False)
    link = Link()
    relay = Relay(world.ports.take(), a.nodes[0].cluster_port, a.nodes[0], link)
    a.nodes[0].cluster_addr = "https://127.0.0.1:%d" % relay.port
    try:
        a.up()
        link.to(a.nodes[0])
        add_operator(a)
        a.active().write("sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
        wait_for("the mount", lambda: write(a, 1) or True)
        enable_primary(a, "performance")
        enable_primary(a, "dr")
        attach(a, b, "performance", "b")
        attach(a, c, "dr", "c")
        b.root = login(b)
        lags(t, a, b, c, link)
        alarm(t, a, b, c, link)
    finally:
        relay.close()


class Watch(threading.Thread):
    """The most that the primary held for its secondaries, as far as asking often tells."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.over = node, threading.Event()
        self.most_sent = self.most_queued = self.asked = 0
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            try:
                seen = gauges(self.node)
            except (OSError, http.client.HTTPException, Refused, ValueError):
                continue  # busy: asked again
            self.most_sent = max(self.most_sent, seen["coffer_replication_unacknowledged_bytes"])
            self.most_queued = max(self.most_queued, seen["coffer_replication_queued_bytes"])
            self.asked += 1

    def end(self):
        self.over.set()
        self.join(30)


def load(a, mib):
    """That much in values of 32 KiB over 100 names."""
    done = subprocess.run([binary(), "bench", "-format=json", "-setup", "-token=" + a.root, "-address=" + a.active().addr,
                           "-connections=4", "-size=32768", "-keys=100", "-count=%d" % (mib * 32), "kv1-write"],
                          capture_output=True, text=True, timeout=600)
    equal(done.returncode, 0, done.stderr)
    row = json.loads(done.stdout)
    row = row[0] if isinstance(row, list) else row
    equal(row.get("errors", 0), 0, row)


def slow(t, world):
    a = world.cluster("slowa", nodes=1).up()
    b = world.cluster("slowb", nodes=1).up(kv=False)
    enable_primary(a, "dr")
    attach(a, b, "dr", "b")
    node = a.active()
    copies = status(b.any(), "dr")["bootstraps"]
    with t.check("a secondary that gets little of its CPU holds no more than the credit on its primary"):
        watch, over = Watch(node), threading.Event()

        def hamper():
            while not over.wait(0.05):
                b.nodes[0].pause()
                time.sleep(0.3)
                b.nodes[0].resume()
        thread = threading.Thread(target=hamper)
        thread.start()
        try:
            load(a, 3 * HELD_MAX // MIB)
        finally:
            over.set()
            thread.join()
            watch.end()
        t.note("slow secondary: at most %.1f MiB sent and not acknowledged, %.1f MiB of it in memory, %d times asked" % (
            watch.most_sent / MIB, watch.most_queued / MIB, watch.asked))
        true(0 < watch.most_sent <= HELD_MAX, watch.most_sent)
        true(watch.most_queued <= HELD_MAX, watch.most_queued)
    with t.check("one that is stopped holds nothing, once it is silent"):
        b.nodes[0].pause()
        load(a, HELD_MAX // MIB)

        def holds_nothing():
            seen = gauges(node)
            return seen["coffer_replication_unacknowledged_bytes"] == 0 and seen["coffer_replication_queued_bytes"] == 0
        wait_for("the primary to let go", holds_nothing, 30, 0.2)
        true(of_primary(a)[0]["b"]["lag_bytes"] > MIB, "the lag does not tell of it")
    with t.check("and goes on from the log: no copy, no repair"):
        b.nodes[0].resume()
        streaming(b, "dr")
        in_step(a, b, "dr", 120)
        said = status(b.any(), "dr")
        equal((said["bootstraps"], said["repair"]["repairs"]), (copies, 0))


def main():
    arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("bounded log"):
            bounded_log(t, world)
        with t.scenario("slow"):
            slow(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
