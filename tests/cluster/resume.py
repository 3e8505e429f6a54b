#!/usr/bin/env python3
"""snap_resume_midway (P-14): a follower that needs a snapshot sits behind a relay, which breaks the
link about half way. What had arrived is not sent again; after a change of leader midway it is sent once
more, and the follower never shows a mix."""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
from relay import Link, Relay  # noqa: E402

MIB = 1 << 20
STATE = 64 * MIB  # well above the 8 MiB that a sender is ahead of its receiver
PIECE = 96 << 10


def fill(cluster):
    """STATE bytes of secrets that do not compress; the leader may change while they come in."""
    def put(i):
        value = os.urandom(PIECE // 2).hex()

        def done():
            cluster.any().call("PUT", "plain/a-%d" % i, {"value": value}, timeout=20)
            return True
        wait_for("a write", done, 30)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(STATE // PIECE)))


def gauge(node, name):
    return {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]}[name]


def overtaken(cluster, lost):
    """While `lost` is down the log goes on until it cannot help any more (trailing_logs is 20)."""
    cluster.caught_up(lost)
    last = cluster.active().applied() + 10
    lost.stop()
    others = [n for n in cluster.nodes if n is not lost]

    def are_ahead():
        for i in range(25):
            others[0].call("PUT", "plain/last", {"value": "%d" % i})
        return all(gauge(n, "coffer_raft_first_index") > last for n in others)
    wait_for("the logs of the others to be cut", are_ahead, 60, 0.3)


def lag(cluster, lost):
    """What the active node says of that member, both ways of asking."""
    node = cluster.active()
    seen = {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]
            if g["Labels"].get("peer_id") == lost.name}
    text = node.ask("GET", "sys/metrics?format=prometheus")[1]
    for name in seen:
        true('\n%s{peer_id="%s"} ' % (name, lost.name) in text, name + " is not in\n" + text[-3000:])
    true('\ncoffer_raft_propose_seconds_bucket{le="+Inf"} ' in text, text[-3000:])
    samples = {s["Name"]: s for s in node.read("sys/metrics")["Samples"]}
    for step in ("wait", "durable", "commit", "apply", "propose", "sync"):
        true(samples["coffer_raft_%s_seconds" % step]["Count"] > 0, step)
    return seen


def half(lost, link):
    """Starts the follower; the relay breaks the link in the middle of its snapshot."""
    mark = len(lost.log())
    before = link.sent
    link.cut_after(STATE // 2)
    lost.start(wait=False)
    link.to(lost)
    wait_for("the link to break", lambda: link.is_cut, 60)
    text = lost.log()[mark:]
    true("receiving a snapshot" in text, "no snapshot under way: " + text[-500:])
    true("is installed" not in text, "the snapshot was there already")
    return mark, before


def installed(lost, mark):
    wait_for("the snapshot", lambda: "is installed" in lost.log()[mark:], 120)


def same_data(cluster, lost, keys):
    """Every tenth secret and the last write, as the active node has them."""
    cluster.caught_up(lost)
    for key in keys:
        equal(lost.read("plain/" + key)["data"], cluster.active().read("plain/" + key)["data"], key)


def broken_once(t, cluster, link, keys):
    """False: nothing to be seen, as the leader changed by itself meanwhile, which begins anew."""
    lost = cluster.standbys()[0]
    overtaken(cluster, lost)
    cuts, term = link.cuts, gauge(cluster.active(), "coffer_raft_term")
    mark, before = half(lost, link)
    first = link.sent - before
    link.open()
    installed(lost, mark)
    second = link.sent - before - first
    same_data(cluster, lost, keys)
    t.note("%.1f MiB before the break, %.1f MiB after it" % (first / MIB, second / MIB))
    equal(link.cuts, cuts + 1)
    if gauge(cluster.active(), "coffer_raft_term") != term:
        return False
    true(first >= STATE // 2, "only %d bytes before the break" % first)
    # The rest, and once more what was on its way.
    true(second < STATE * 13 // 16, "%d bytes after the break" % second)
    equal(lost.log()[mark:].count("receiving a snapshot"), 1, "transfers begun")
    return True


def midway(t, world):
    cluster = world.cluster("re", nodes=3, storage_extra=["trailing_logs = 20", 'snapshot_interval = "1s"'])
    link = Link()
    relays = [Relay(world.ports.take(), node.cluster_port, node, link) for node in cluster.nodes]
    for relay in relays:
        relay.node.cluster_addr = "https://127.0.0.1:%d" % relay.port
    cluster.up(kv=False)
    cluster.active().write("sys/mounts/plain", {"type": "kv"})
    fill(cluster)
    keys = ["a-%d" % i for i in range(0, STATE // PIECE, 10)] + ["last"]

    with t.check("snap_resume_midway: after the break only the rest is sent"):
        for _ in range(5):
            if broken_once(t, cluster, link, keys):
                break
        else:
            raise AssertionError("the machine is so busy that the leader changed each time")

    with t.check("metrics: a member that is away lags in entries, bytes and time, one that is back does not"):
        lost = cluster.standbys()[0]
        equal(wait_for("no lag", lambda: lag(cluster, lost)["coffer_raft_peer_lag_entries"] == 0), True)
        lost.stop()
        cluster.any().call("PUT", "plain/last", {"value": "x" * 5000})
        seen = wait_for("lag", lambda: lag(cluster, lost)
                        if lag(cluster, lost)["coffer_raft_peer_lag_ms"] > 300 else None)
        true(seen["coffer_raft_peer_lag_entries"] >= 1 and seen["coffer_raft_peer_lag_bytes"] > 5000, seen)
        lost.start()
        wait_for("no lag", lambda: lag(cluster, lost)["coffer_raft_peer_lag_entries"] == 0)

    with t.check("snap_resume_midway: a new leader midway sends its own once, and the follower comes back"):
        lost = cluster.standbys()[0]
        overtaken(cluster, lost)
        mark, before = half(lost, link)
        leader = cluster.active()
        leader.write("sys/step-down")
        other = cluster.active(other_than=leader)
        term = gauge(other, "coffer_raft_term")
        true(other is not lost, "the follower without a log leads")
        other.write("plain/last", {"value": "by the new leader"})
        first = link.sent - before
        link.open()
        installed(lost, mark)
        second = link.sent - before - first
        t.note("%.1f MiB from the old leader, %.1f MiB from the new one" % (first / MIB, second / MIB))
        if gauge(other, "coffer_raft_term") == term:
            true(second < STATE * 3 // 2, "%d bytes from the new leader" % second)
        same_data(cluster, lost, keys)
        equal(lost.read("plain/last")["data"]["value"], "by the new leader")
        equal(len(cluster.voters()), 3)
    for relay in relays:
        relay.close()


def main():
    t = Checks()
    arguments(__doc__)
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("midway"):
            midway(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
