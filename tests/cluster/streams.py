#!/usr/bin/env python3
"""Streams between clusters while nodes come and go: whichever node of the primary holds the position serves it, and no
change of leader, death, pause or step-down on either side costs a second copy."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, Writer, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

COPY = "needs a snapshot"


def copies(primary):
    """How often a node of the primary has said that a secondary needs a copy."""
    return sum(node.log().count(COPY) for node in primary.nodes)


def said(node, text):
    return node.log().count(text)


def server_of(primary, other_than=None):
    """The node that serves the last stream, by what the nodes have logged."""
    best, when = None, ""
    for node in primary.running():
        if node is other_than:
            continue
        for line in node.log().splitlines():
            if line.endswith('": streams') and line[:24] >= when:
                best, when = node, line[:24]
    return best


def arrives(a, others, key):
    """A write of now is on the others (each a cluster whose clients may read)."""
    wait_for("a write on A", lambda: a.any().put_kv(key, key), 30)
    for cluster in others:
        wait_for("the write on " + cluster.name, lambda: cluster.any().get_kv(key) == key, 30)


def away(t, a, b, c, name, victim, disturb, back):
    """Disturbs under load, and looks that all go on without a copy."""
    with t.check(name):
        before = copies(a)
        writer = Writer(a, "during-%d" % t.passed)
        writer.start()
        writer.until(30)
        began = time.monotonic()
        disturb(victim)
        writer.until(len(writer.times) + 150)
        back(victim)
        writer.stop()
        last = sorted(writer.acknowledged)[-1]
        wait_for("the last write on B", lambda: b.any().get_kv(last) == writer.acknowledged[last], 30)
        streaming(b, "performance")
        streaming(c, "dr")
        in_step(a, b, "performance")
        in_step(a, c, "dr")
        equal(copies(a), before, "copies")
        equal(writer.missing(b.any()), [])
        t.note("%s: %d writes in %.1f s" % (name, len(writer.times), time.monotonic() - began))


def kill(node):
    node.kill()


def restart(node):
    node.start()
    node.cluster.unseal(node)
    node.cluster.active()
    node.cluster.caught_up(node)


def step_down(node):
    node.cluster.active().write("sys/step-down")


def nothing(_):
    pass


def changes(t, a, b, c, rounds):
    for i in range(rounds):
        n = " (%d)" % (i + 1)
        away(t, a, b, c, "kill -9 of the node of the primary that serves" + n, server_of(a), kill, restart)
        away(t, a, b, c, "kill -9 of the primary's leader" + n, a.active(), kill, restart)
        away(t, a, b, c, "the primary's leader steps down" + n, a.active(), step_down, nothing)
        away(t, a, b, c, "the node that serves is paused" + n, server_of(a, a.active()) or a.active(),
             lambda node: node.pause(), lambda node: node.resume())
        away(t, a, b, c, "the primary's leader is paused" + n, a.active(),
             lambda node: node.pause(), lambda node: node.resume())
        away(t, a, b, c, "kill -9 of the secondary's leader" + n, b.active(), kill, restart)
        away(t, a, b, c, "the secondary's leader steps down" + n, b.active(),
             lambda node: node.write("sys/step-down"), nothing)
        away(t, a, b, c, "the secondary's leader is paused" + n, b.active(),
             lambda node: node.pause(), lambda node: node.resume())


def relieved(t, a):
    with t.check("standbys serve, and the active node shows it"):
        active = a.active()

        def by_standbys():
            seen = [s for kind in ("performance", "dr") for s in status(active, kind)["secondaries"]]
            return len(seen) == 2 and all(s["connection_status"] == "connected" for s in seen) and seen
        seen = wait_for("both secondaries in the status", by_standbys, 30)
        equal({s["node_id"] for s in seen}, {"b", "c"})
        true(server_of(a) is not active, "the active node serves")
        for one in seen:
            true(one["acknowledged_wal"] > 0 and "lag_ms" in one, one)


def log_is_kept(t, a, b, c):
    with t.check("what an absent secondary needs stays in the log, over changes of leader and restarts of the primary"):
        before = copies(a)
        for node in b.nodes:
            node.kill()
        writer = Writer(a, "absent")
        writer.start()
        writer.until(400)
        step_down(a.nodes[0])
        writer.until(len(writer.times) + 200)
        writer.stop()
        for node in list(a.nodes):  # all of them, one after the other
            node.kill()
            restart(node)
        writer = Writer(a, "absent-2")
        writer.start()
        writer.until(400)
        writer.stop()
        b.start()
        for node in b.nodes:
            b.unseal(node)
        b.active()
        streaming(b, "performance")
        in_step(a, b, "performance")
        equal(copies(a), before, "copies")
        equal(writer.missing(b.any()), [])
    with t.check("and goes once it is back"):
        def cut():
            a.any().put_kv("cut", "1")
            seen = status(a.active(), "performance")
            return seen["log_floor"] > seen["last_wal"] - 100
        wait_for("the floor to rise", cut, 60)


def silence(t, a, b):
    with t.check("every node of the primary is paused: 503 at once for what was not sent, and it has no effect"):
        b.active().put_kv("silent/ready", "1")
        for node in a.nodes:
            node.pause()
        began = time.monotonic()
        node = b.active()
        code = node.ask("POST", "secret/data/silent/first", {"data": {"v": "1"}}, timeout=90)[0]
        true(code in (503, 504), code)
        first = time.monotonic() - began
        answers, began = [], time.monotonic()

        def unsent():
            answers.append(node.ask("POST", "secret/data/silent/%d" % len(answers), {"data": {"v": "1"}},
                                    timeout=90))
            return answers[-1][0] == 503
        wait_for("a write that was not sent", unsent, 60)
        kept = len(answers)
        for _ in range(10):
            unsent()
        equal([code for code, _, _ in answers[kept - 1:]], [503] * 11)
        true(all(headers.get("Retry-After") for _, _, headers in answers[kept - 1:]), "no Retry-After")
        equal(node.get_kv("silent/ready"), "1")  # reads go on
        t.note("first answer %d after %.1f s, the next %d in %.1f s" % (code, first, len(answers),
                                                                         time.monotonic() - began))
        for node in a.nodes:
            node.resume()
        a.active()
        wait_for("a write through B", lambda: b.any().put_kv("silent/after", "1"), 30)
        for i in range(kept - 1, len(answers)):
            equal(a.any().ask("GET", "secret/data/silent/%d" % i)[0], 404, i)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("streams"):
            few = ["trailing_logs = 40", 'snapshot_interval = "1s"']  # the log is cut as soon as nobody needs it
            a = world.cluster("a", storage_extra=few).up()
            b = world.cluster("b").up(kv=False)
            c = world.cluster("c", nodes=1).up(kv=False)
            replicas.add_operator(a)
            replicas.enable_primary(a, "performance")
            replicas.enable_primary(a, "dr")
            replicas.attach(a, b, "performance", "b")
            replicas.attach(a, c, "dr", "c")
            b.root = replicas.login(b)
            relieved(t, a)
            changes(t, a, b, c, 4 if opts.long else 1)
            log_is_kept(t, a, b, c)
            silence(t, a, b)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
