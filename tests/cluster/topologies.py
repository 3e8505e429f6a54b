#!/usr/bin/env python3
"""Many secondaries of one primary, and a secondary that feeds one of its own: all in one place, small and short."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

PERFORMANCE, DR = 14, 2


def resident_mb(node):
    with open("/proc/%d/statm" % node.proc.pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576


def metric(node, name):
    body = node.ask("GET", "sys/metrics?format=prometheus")[1]
    return next(float(line.split()[-1]) for line in body.splitlines() if line.startswith(name + " "))


def copies(cluster):
    return sum(node.log().count("needs a snapshot") for node in cluster.nodes)


def sixteen(t, world, a):
    replicas.enable_primary(a, "performance")
    replicas.enable_primary(a, "dr")
    performance = [world.cluster("p%d" % i, nodes=1) for i in range(PERFORMANCE)]
    recovery = [world.cluster("d%d" % i, nodes=1) for i in range(DR)]
    for cluster in performance + recovery:
        cluster.up(kv=False)
    with t.check("sixteen secondaries of one node each take their copy and follow"):
        for cluster in performance:
            replicas.attach(a, cluster, "performance", cluster.name)
            cluster.root = replicas.login(cluster)
        for cluster in recovery:
            replicas.attach(a, cluster, "dr", cluster.name)
        equal(copies(a), PERFORMANCE + DR, "copies")
        equal(sorted(status(a.active(), "performance")["known_secondaries"]), sorted(c.name for c in performance))
    with t.check("a write is on all of them, and one of each is forwarded"):
        a.any().put_kv("all/x", "1")
        for cluster in performance:
            wait_for("the write on " + cluster.name, lambda: cluster.any().get_kv("all/x") == "1", 20)
            wait_for("a write through " + cluster.name,
                     lambda: cluster.any().put_kv("from/" + cluster.name, "1"), 30)  # 503 asks for another try
        for cluster in performance:
            equal(a.any().get_kv("from/" + cluster.name), "1")
        for cluster in recovery:
            in_step(a, cluster, "dr")
    with t.check("standbys share them, and the active node sees all"):
        active = a.active()

        def seen():
            all_of = [s for kind in ("performance", "dr") for s in status(active, kind)["secondaries"]]
            return len(all_of) == PERFORMANCE + DR and all(s["connection_status"] == "connected" for s in all_of)
        wait_for("all in the status", seen, 30)
        wait_for("the gauge", lambda: metric(active, "coffer_replication_secondaries_connected") == PERFORMANCE + DR, 20)
        served = {node.name: sum(node.log().count('secondary "%s": streams' % c.name) > 0
                                 for c in performance + recovery) for node in a.nodes}
        true(any(served[node.name] > 0 for node in a.standbys()), served)  # not both: one may have a slow disk now
        t.note("secondaries by node: %r; MiB of memory: primary %s, secondaries %.0f at most" % (
            served, ["%.0f" % resident_mb(n) for n in a.nodes],
            max(resident_mb(c.nodes[0]) for c in performance + recovery)))
    with t.check("a revoked one is cut off wherever it is served, the others go on"):
        a.any().write("sys/replication/performance/primary/revoke-secondary", {"id": performance[0].name})
        wait_for("it to be cut off", lambda: status(performance[0].any(), "performance")["state"] == "idle", 20)
        a.any().put_kv("all/y", "1")
        for cluster in performance[1:]:
            wait_for("the write on " + cluster.name, lambda: cluster.any().get_kv("all/y") == "1", 20)
        equal(performance[0].any().ask("GET", "secret/data/all/y")[0], 404)
    for cluster in performance[2:] + recovery[1:]:
        world.end(cluster)
    return performance[1], recovery[0]


def cascade(t, world, a, b, c):
    with t.check("a DR secondary of a performance secondary, which feeds it what it is fed"):
        d = world.cluster("e", nodes=1).up(kv=False)
        replicas.enable_primary(b, "dr")
        replicas.attach(b, d, "dr", "e")
        a.any().put_kv("cascade", "1")
        in_step(b, d, "dr")
        in_step(a, c, "dr")
        before = copies(b)
        for cluster in (b, d):  # each in turn goes away for a while
            cluster.nodes[0].kill()
            for i in range(20):
                a.any().put_kv("cascade/%d" % i, cluster.name)
            cluster.nodes[0].start()
            cluster.unseal(cluster.nodes[0])
            cluster.active()
            streaming(b, "performance")
            streaming(d, "dr")
            in_step(a, b, "performance")
            in_step(b, d, "dr")
        equal(copies(b), before, "copies")
        equal(b.any().get_kv("cascade/19"), "e")


def main():
    arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("topologies"):
            a = world.cluster("a").up()
            replicas.add_operator(a)
            b, c = sixteen(t, world, a)
            cascade(t, world, a, b, c)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
