#!/usr/bin/env python3
"""Feature levels: nodes of two levels in one cluster, rolled up and down under writes (P-15, rolling_upgrade_traffic);
a DR pair of two levels and its failover (for performance secondaries: perf.py).

The older build is the same but for its level (tests/lib/level_previous.c), which gates what it says and writes."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import replicas  # noqa: E402
from checks import Checks, equal, true  # noqa: E402
from cluster import Node, World, Writer, arguments, binary, disk_tool, wait_for  # noqa: E402

OLD, NEW = 1, 2
REFUSED = "needs feature level %d, this build has %d: upgrade it" % (NEW, OLD)


def build(level):
    return disk_tool("coffer-previous") if level == OLD else binary()


def configuration(node):
    return node.read("sys/storage/raft/configuration")["data"]["config"]


def levels(cluster):
    """(in force, of the state, of each server) as the active node has it."""
    config = configuration(cluster.active())
    return (config["feature_level"], config["state_feature_level"],
            {s["node_id"]: s["feature_level"] for s in config["servers"]})


def metric(node, name):
    text = node.ask("GET", "sys/metrics?format=prometheus")[1]
    for line in text.splitlines():
        if line.startswith(name + " "):
            return int(float(line.split()[1]))
    raise ValueError("no metric %s" % name)


def roll(cluster, node, level):
    """One node, taken down as an operator would, and back with another build."""
    equal(node.stop(), 0, node.name)
    node.binary = build(level)
    node.start()
    cluster.unseal(node)
    wait_for("the configuration to say so", lambda: levels(cluster)[2][node.name] == level, 20)
    cluster.caught_up(node)


def idle(t, cluster):
    """Nobody forwards a write here, so nothing of the new level is written."""
    with t.check("a cluster of the older level says so everywhere"):
        names = {n.name: OLD for n in cluster.nodes}
        equal(levels(cluster), (OLD, OLD, names))
        active = cluster.active()
        health = active.read("sys/ha-status")
        equal(sorted(n["feature_level"] for n in health["nodes"]), [OLD] * 3)
        true(all(n["upgrade_version"] for n in health["nodes"]), health)
        for server in active.read("sys/storage/raft/autopilot/state")["data"]["servers"].values():
            equal(server["feature_level"], OLD)
        for node in cluster.nodes:
            equal((metric(node, "coffer_raft_feature_level"),
                   metric(node, "coffer_raft_feature_level_in_force")), (OLD, OLD), node.name)
    with t.check("up and down again, as long as nothing of the new level was written"):
        for i, node in enumerate(cluster.nodes):
            equal(levels(cluster)[0], OLD, "before node %d" % (i + 1))
            roll(cluster, node, NEW)
        wait_for("the new level", lambda: levels(cluster)[:2] == (NEW, OLD), 10)
        for node in cluster.nodes:
            wait_for("it everywhere", lambda: metric(node, "coffer_raft_feature_level_in_force") == NEW, 10)
        for node in cluster.nodes:
            roll(cluster, node, OLD)
            equal(levels(cluster)[:2], (OLD, OLD), node.name)
        for node in cluster.nodes:
            equal(node.get_kv("ready"), "1", node.name)


def rolling_upgrade_traffic(t, cluster):
    writers = [Writer(cluster, "w%d" % i) for i in range(4)]
    for writer in writers:
        writer.start()

    def go_on(count=20):
        for writer in writers:
            writer.until(len(writer.times) + count)
    try:
        with t.check("one node of the newer level, and back, while clients write through all"):
            go_on()
            first = cluster.standbys()[0]
            roll(cluster, first, NEW)
            go_on(50)
            equal(levels(cluster)[:2], (OLD, OLD))
            roll(cluster, first, OLD)
            go_on()
            equal(levels(cluster)[:2], (OLD, OLD))
        with t.check("node by node to the newer level: it begins with the last one"):
            for i, node in enumerate(cluster.nodes):
                equal(levels(cluster)[:2], (OLD, OLD), "before node %d" % (i + 1))
                roll(cluster, node, NEW)
                go_on()
            wait_for("entries of the new level", lambda: levels(cluster)[:2] == (NEW, NEW), 20)
            go_on()
    finally:
        for writer in writers:
            writer.stop()
    with t.check("no acknowledged write is missing on any node"):
        for writer in writers:
            for node in cluster.nodes:
                cluster.caught_up(node)
                equal(writer.missing(node), [], node.name)
    t.note("%d writes acknowledged; tries that failed and were repeated: %s" % (
        sum(len(w.acknowledged) for w in writers), [w.errors for w in writers]))


def refusals(t, cluster):
    with t.check("a data directory of the newer level is refused by the older build, with words"):
        node = cluster.standbys()[0]
        equal(node.stop(), 0)
        before = len(node.log())
        node.binary = build(OLD)
        node.start(wait=False)
        wait_for("it to end", lambda: node.proc.poll() is not None, 20)
        true(node.proc.returncode != 0, "it ended with %d" % node.proc.returncode)
        node.proc = None
        true(REFUSED in node.log()[before:], node.log()[before:])
    with t.check("with the newer build it goes on"):
        node.binary = build(NEW)
        node.start()
        cluster.unseal(node)
        cluster.caught_up(node)
        wait_for("it to know who leads", lambda: node.ask("GET", "secret/data/ready")[0] == 200, 10)
        equal(node.get_kv("ready"), "1")
    with t.check("a node of the older level that would join is refused, with words"):
        stranger = Node(cluster, cluster.name + "9")
        stranger.binary = build(OLD)
        cluster.nodes.append(stranger)
        stranger.start()
        words = "this cluster works at feature level %d, the joining node has %d: upgrade it first" % (
            NEW, OLD)
        wait_for("the refusal", lambda: words in stranger.log(), 20)
        equal(sorted(levels(cluster)[2]), sorted(n.name for n in cluster.nodes[:-1]))
        stranger.kill()
        stranger.binary = build(NEW)
        stranger.start()
        cluster.unseal(stranger)
        wait_for("it to be a member", lambda: levels(cluster)[2].get(stranger.name) == NEW, 20)
        cluster.caught_up(stranger)


def dr_failover(t, world, old):
    """One side of a DR pair is of the level before; a performance secondary follows who takes over."""
    a, b, p = (world.cluster(name + old[0], nodes=1) for name in ("da", "db", "dp"))
    for node in (a if old == "primary" else b).nodes:
        node.binary = build(OLD)
    for cluster in (a, b, p):
        cluster.up(kv=cluster is a)
    replicas.add_operator(a)
    for kind in ("performance", "dr"):
        replicas.enable_primary(a, kind)
    replicas.attach(a, p, "performance", "dp")
    p.root = replicas.login(p)
    with t.check("the DR %s is of the level before: copy and stream, records of forwarded requests among them" % old):
        p.any().put_kv("before-the-copy", "1")
        replicas.attach(a, b, "dr", "db")
        for i in range(20):
            a.any().put_kv("down-%d" % i, str(i))
            p.any().put_kv("up-%d" % i, str(i))
        replicas.in_step(a, b, "dr")
        equal(replicas.status(a.any(), "dr")["secondaries"][0]["feature_level"], OLD)
        equal(replicas.status(b.any(), "dr")["primaries"][0]["feature_level"], OLD)
    with t.check("the DR secondary is promoted: nothing is missing, and writes through the performance secondary go there"):
        heir = "127.0.0.1:%d" % b.nodes[0].cluster_port
        wait_for("the performance secondary to know of it",
                 lambda: heir in [x["address"] for x in replicas.status(p.any(), "performance")["addresses"]], 30)
        want, b.root = replicas.every_secret(a.any()), a.root
        token = replicas.operation_token(b)
        a.nodes[0].kill()
        replicas.promote_dr(b, token)
        equal(replicas.every_secret(b.any()), want)
        wait_for("a write", lambda: p.any().ask("POST", "secret/data/then", {"data": {"v": "1"}})[0] == 200, 30)
        replicas.in_step(b, p, "performance")
        equal(b.any().get_kv("then"), "1")
    with t.check("the one of the level before is upgraded: the set goes on, a former primary learns that it is over"):
        node = (a if old == "primary" else b).nodes[0]
        if node.proc is not None:
            node.stop()
        node.binary = build(NEW)
        node.start()
        node.cluster.unseal(node)
        wait_for("the primary", lambda: b.any().health() == 200, 30)
        if old == "primary":
            wait_for("the fence", lambda: "FENCED" in node.log(), 30)
        b.any().put_kv("after", "1")
        wait_for("the stream", lambda: p.any().get_kv("after") == "1", 30)
    for cluster in (a, b, p):
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks(opts.only)
    began = time.monotonic()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("upgrade"):
            cluster = world.cluster("u")
            for node in cluster.nodes:
                node.binary = build(OLD)
            cluster.up()
            idle(t, cluster)
            rolling_upgrade_traffic(t, cluster)
            refusals(t, cluster)
            world.end(cluster)
        for old in ("secondary", "primary"):
            with t.scenario("dr " + old):
                dr_failover(t, world, old)
    t.note("took %.0f s" % (time.monotonic() - began))
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
