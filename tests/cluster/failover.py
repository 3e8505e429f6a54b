#!/usr/bin/env python3
"""The leader goes under load, killed or planned (promise P-11): counts, never times.

Each trial is one run of `coffer bench failover`: clients on every node all the time, one end of the leader, and at
the end every acknowledged write is read back. Times are noted; tools/dev/failover measures them properly.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, World, arguments, binary, wait_for  # noqa: E402


def bench(cluster, flag, seconds):
    args = [binary(), "bench", "-format=json", "-connections=9", "-kill-after=500ms", "-mount=secret",
            "-duration=%gs" % (seconds * SLOW), "-timeout=%gs" % (5 * SLOW), flag,
            "-servers=" + ",".join("%s=%d" % (n.addr, n.proc.pid) for n in cluster.nodes)]
    args += ["-address=" + n.addr for n in cluster.nodes] + ["failover"]
    done = subprocess.run(args, env=dict(os.environ, COFFER_TOKEN=cluster.root), capture_output=True,
                          text=True, timeout=120 * SLOW)
    true(done.stdout, "no result: " + done.stderr)
    row = json.loads(done.stdout)[0]
    equal(done.returncode, 0, done.stderr)
    return row


def come_back(cluster, node):
    node.start()
    cluster.unseal(node)
    cluster.caught_up(node)


def unplanned(t, cluster, trials):
    for i in range(trials):
        with t.check("failover_unplanned: leader killed, nothing acknowledged is lost, writes go on (%d)" % (i + 1)):
            old = cluster.active()
            row = bench(cluster, "-kill-leader", 4)
            equal(row["killed_pid"], old.proc.pid)
            equal(old.kill(), -9)
            equal(row["lost_writes"], 0, "lost")
            equal(len(row["outages_ms"]) >= 1, True, "writes went on")
            t.note("from the kill to the next acknowledged write: %d ms" % row["outages_ms"][0])
            come_back(cluster, old)


def planned(t, cluster, name, flag, trials):
    for i in range(trials):
        with t.check("%s: nothing lost, no request fails for a client that repeats once (%d)" % (name, i + 1)):
            old = cluster.active()
            row = bench(cluster, flag, 2)
            equal(row["lost_writes"], 0, "lost")
            equal(row["failed_after_retry"], 0, "failed twice, of %d that failed once" % row["errors"])
            true(row["operations"] > 0, "no write at all")
            t.note("%s: the longest time without an acknowledgement: %d ms; %d requests failed once"
                   % (name, row["outages_ms"][0], row["errors"]))
            if flag == "-terminate":
                equal(old.proc.wait(20 * SLOW), 0, "exit code")
                old.proc = None
                come_back(cluster, old)
            else:
                true(cluster.active() is not old, "the old leader leads")


def alone(t, cluster):
    with t.check("a standby that hears no leader says so to load balancers, and serves again when it does"):
        last = cluster.standbys()[0]
        equal(last.health(), 429)
        gone = [node for node in cluster.nodes if node is not last]
        for node in gone:
            node.kill()
        wait_for("health 474", lambda: last.health() == 474, 20 * SLOW)
        equal(last.ask("GET", "sys/health?haunhealthycode=299", token="")[0], 299)
        equal(last.ask("GET", "sys/health?standbyok=true", token="")[0], 474)
        code, body = last.ask("GET", "sys/health", token="")[:2]
        equal([code, body["sealed"], body["standby"]], [474, False, True])
        for node in gone:
            come_back(cluster, node)
        wait_for("a healthy answer", lambda: last.health() in (200, 429), 20 * SLOW)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("failover"):
            cluster = world.cluster("f").up()
            trials = 10 if opts.long else 1
            if opts.only in "unplanned":
                unplanned(t, cluster, trials)
            if opts.only in "stepdown":
                planned(t, cluster, "failover_stepdown", "-step-down", trials)
            if opts.only in "sigterm":
                planned(t, cluster, "failover_sigterm", "-terminate", trials)
            if opts.only in "alone":
                alone(t, cluster)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
