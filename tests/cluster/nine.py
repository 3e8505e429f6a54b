#!/usr/bin/env python3
"""Nine nodes: A primary of both kinds, B its performance secondary, C its DR secondary.

Bootstrap, stream, forwarded writes, deaths of active nodes, the failover to C with B following, and
the old primary that comes back.
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, Refused, World, Writer, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import DISABLED_TEXT, every_secret, in_step, status, streaming  # noqa: E402


def fill(a):
    """Data from before the first secondary: it travels by bootstrap, not by stream."""
    node = a.active()
    for i in range(300):
        node.put_kv("before/%03d" % i, "value %d %s" % (i, "x" * (i * 7 % 900)))
    for i in range(4):
        node.put_kv("before/large-%d" % i, os.urandom(150000).hex())
    for i in range(5):
        node.put_kv("before/versions", str(i))
    node.write("sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
    node.write("plain/a", {"k": "v"})
    replicas.add_operator(a)


def performance(t, a, b):
    """B becomes performance secondary of A by the documented steps, through the command line."""
    with t.check("coffer write -f sys/replication/performance/primary/enable"):
        code, _, error = a.active().cli("write", "-f", "sys/replication/performance/primary/enable")
        equal(code, 0, error)
        wait_for("the mode", lambda: status(a.active(), "performance")["mode"] == "primary", 20)
        true(status(a.active(), "performance")["cluster_id"], "no id of the set")
        equal(status(a.active(), "dr"), {"mode": "disabled"})
    with t.check("the secondary token is wrapped, and names its path"):
        answer = a.active().write("sys/replication/performance/primary/secondary-token", {"id": "probe"})
        equal(answer["wrap_info"]["creation_path"], "sys/replication/performance/primary/secondary-token")
        equal(answer["wrap_info"]["ttl"], 1800)
        true("probe" in status(a.active(), "performance")["known_secondaries"], "not registered")
        a.active().write("sys/replication/performance/primary/revoke-secondary", {"id": "probe"})
        true("probe" not in (status(a.active(), "performance")["known_secondaries"] or []), "still there")
    with t.check("coffer write sys/replication/performance/secondary/enable on B: bootstrap, then stream"):
        code, token, error = a.active().cli("write", "-field=wrapping_token",
                                            "sys/replication/performance/primary/secondary-token", "id=b")
        equal(code, 0, error)
        began = time.monotonic()
        code, _, error = b.active().cli("write", "sys/replication/performance/secondary/enable",
                                        "token=" + token.strip())
        equal(code, 0, error)
        streaming(b, "performance")
        t.note("bootstrap of B: %.1f s" % (time.monotonic() - began))
    with t.check("both sides agree in their status"):
        in_step(a, b, "performance")
        one, two = status(a.active(), "performance"), status(b.active(), "performance")
        equal(one["cluster_id"], two["cluster_id"])
        equal(one["known_secondaries"], ["b"])
        equal((one["state"], two["state"], two["secondary_id"]), ("running", "stream-wals", "b"))
        equal(two["connection_state"], "ready")
        equal([s["node_id"] for s in one["secondaries"]], ["b"])
    with t.check("old tokens of B are void, users of A can log in there"):
        equal(b.any().ask("GET", "auth/token/lookup-self")[0], 403)
        b.root = replicas.login(b)
    with t.check("every secret of A is on every node of B"):
        want = every_secret(a.active())
        true(len(want) > 300, "only %d" % len(want))
        for node in b.nodes:
            equal(every_secret(node) == want, True, node.name)
            equal(node.read("plain/a")["data"], {"k": "v"})


def forwarding(t, a, b):
    rng = random.Random(2)
    with t.check("a write on A is soon on B"):
        a.active().put_kv("stream/x", "1")
        wait_for("the write on B", lambda: b.any().get_kv("stream/x") == "1", 10)
    with t.check("written on any node of B, read back there at once, 100 times"):
        for i in range(100):
            node = rng.choice(b.nodes)
            node.put_kv("forwarded/x", str(i))
            equal(node.get_kv("forwarded/x"), str(i), node.name)
    with t.check("and on the other nodes of B, and on A"):
        for i in range(50):
            one, two = rng.sample(b.nodes, 2)
            one.put_kv("forwarded/y", str(i))
            equal(two.get_kv("forwarded/y"), str(i), "%s after %s" % (two.name, one.name))
            equal(a.active().get_kv("forwarded/y"), str(i), "on A")
    with t.check("check-and-set holds across clusters"):
        for i in range(10):
            codes = [n.ask("POST", "secret/data/cas", {"data": {"v": "1"}, "options": {"cas": i}})[0]
                     for n in (b.nodes[0], a.active(), b.nodes[1])]
            equal(codes, [200, 400, 400])
    with t.check("tokens, logins and cubbyholes are B's own"):
        mine = b.any().write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        equal(b.any().ask("GET", "auth/token/lookup-self", token=mine)[0], 200)
        equal(a.any().ask("GET", "auth/token/lookup-self", token=mine)[0], 403)
        b.any().write("cubbyhole/x", {"v": "1"}, token=mine)
        equal(b.nodes[1].read("cubbyhole/x", token=mine)["data"], {"v": "1"})
    with t.check("a mount and a policy made on B are on both"):
        b.any().write("sys/mounts/made-on-b", {"type": "kv", "options": {"version": "2"}})
        b.any().write("sys/policies/acl/made-on-b", {"policy": 'path "x" { capabilities = ["read"] }'})
        a.active().put_kv("k", "v", mount="made-on-b")
        wait_for("the mount on B", lambda: b.any().get_kv("k", mount="made-on-b") == "v", 10)
        equal(a.active().ask("GET", "sys/policies/acl/made-on-b")[0], 200)
    with t.check("what only the primary may do is refused on B"):
        equal(b.any().ask("POST", "sys/replication/performance/primary/secondary-token", {"id": "z"})[0], 400)
        equal(b.any().ask("POST", "sys/replication/dr/secondary/promote", {"dr_operation_token": "x"})[0], 400)
        for node in b.nodes:
            code, body, _ = node.ask("PUT", "sys/rotate")
            equal((code, body.get("errors")), (400, ["cannot rotate on a replication secondary"]), node.name)


def disaster(t, a, c):
    """C becomes DR secondary of A."""
    with t.check("C is enabled as DR secondary through plain HTTP"):
        replicas.enable_primary(a, "dr")
        began = time.monotonic()
        replicas.attach(a, c, "dr", "c")
        t.note("bootstrap of C: %.1f s" % (time.monotonic() - began))
        in_step(a, c, "dr")
        equal(status(c.active(), "dr")["cluster_id"], status(a.active(), "dr")["cluster_id"])
    with t.check("C answers nobody: 400 with the documented text, health 472, status open"):
        for node in c.nodes:
            equal(node.health(), 472, node.name)
            for method, path, token in (("GET", "secret/data/before/001", a.root),
                                        ("GET", "sys/mounts", a.root), ("GET", "auth/token/lookup-self", a.root),
                                        ("POST", "auth/userpass/login/operator", ""), ("GET", "secret/data/x", "")):
                code, body, _ = node.ask(method, path, {"password": "x"} if method == "POST" else None, token=token)
                equal((code, body.get("errors")), (400, [DISABLED_TEXT]), "%s %s" % (node.name, path))
            equal(node.ask("GET", "sys/seal-status", token="")[0], 200)
            equal(status(node, "dr")["mode"], "secondary")
            equal(node.ask("HEAD", "sys/health?drsecondarycode=299", token="")[0], 299)
    with t.check("a wrong operation token does not promote"):
        code, body, _ = c.any().ask("POST", "sys/replication/dr/secondary/promote",
                                    {"dr_operation_token": "hvs.wrong"}, token="")
        equal(code, 403, body)
        equal(status(c.active(), "dr")["mode"], "secondary")


def deaths(t, a, b, c):
    """The active node of each cluster dies under load; the stream goes on."""
    writers = []
    for victim_of in (a, b, c):
        with t.check("kill -9 of the active node of %s under load" % victim_of.name):
            writer = Writer(a, "deaths-" + victim_of.name)
            writers.append(writer)
            writer.start()
            writer.until(30)
            victim = victim_of.active()
            victim.kill()
            writer.until(len(writer.times) + 30)
            writer.stop()
            last = sorted(writer.acknowledged)[-1]
            wait_for("the last write on B", lambda: b.any().get_kv(last) == writer.acknowledged[last], 30)
            victim.start()
            victim_of.unseal(victim)
            streaming(b, "performance")
            streaming(c, "dr")
            in_step(a, b, "performance")
            in_step(a, c, "dr")
    with t.check("nothing is missing on A and on B"):
        for writer in writers:
            equal(writer.missing(a.active()), [])
            for node in b.nodes:
                equal(writer.missing(node), [], node.name)
    with t.check("B and C with all nodes gone for a while catch up"):
        for cluster in (b, c):
            for node in cluster.nodes:
                node.kill()
        writer = Writer(a, "away")
        writer.start()
        writer.until(200, 60)
        writer.stop()
        for cluster in (b, c):
            cluster.start()
            for node in cluster.nodes:
                cluster.unseal(node)
            cluster.active()
        streaming(b, "performance")
        streaming(c, "dr")
        in_step(a, b, "performance")
        in_step(a, c, "dr")
        equal(writer.missing(b.active()), [])


def failover(t, a, b, c):
    """A dies with all its nodes; C is promoted with its own shares; B follows."""
    node = a.active()
    token_a = node.write("auth/token/create", {"policies": ["admin"]})["auth"]["client_token"]
    writer = Writer(a, "drill")
    writer.start()
    writer.until(60)
    writer.stop()
    in_step(a, c, "dr")
    want = every_secret(a.active())
    for node in a.nodes:
        node.kill()
    began = time.monotonic()
    with t.check("the ceremony with C's own shares, and the promotion"):
        equal(raised_status(lambda: c.any().put_kv("x", "1", token=a.root)), 400)
        token = replicas.operation_token(c)
        for given, expected in ((token, 200), ("wrong", 403), ("", 403)):
            code, body, _ = c.standbys()[0].ask("POST", "sys/storage/raft/configuration",
                                                {"dr_operation_token": given}, token="")
            equal(code, expected, body)
        replicas.promote_dr(c, token)
        c.root = a.root
        c.active()
        equal(status(c.active(), "dr")["mode"], "primary")
        equal(status(c.active(), "performance")["mode"], "primary")
    with t.check("C serves: writes are taken, on every node"):
        for node in c.nodes:
            wait_for("a write on " + node.name, lambda: node.put_kv("after/" + node.name, "1"), 20)
        t.note("from the death of A to the first write on C: %.1f s" % (time.monotonic() - began))
    with t.check("every write that A had acknowledged and shipped is on C"):
        got = every_secret(c.active())
        equal([k for k in want if got.get(k) != want[k]], [])
        for node in c.nodes:
            equal(writer.missing(node), [], node.name)
    with t.check("tokens that A issued work on C: the root token and a service token"):
        equal(c.any().ask("GET", "auth/token/lookup-self", token=a.root)[0], 200)
        equal(c.nodes[1].ask("GET", "auth/token/lookup-self", token=token_a)[0], 200)
    with t.check("B follows C by itself"):
        wait_for("B to follow", lambda: b.any().get_kv("after/" + c.nodes[0].name) == "1", 30)
        t.note("B followed %.1f s after the death of A" % (time.monotonic() - began))
        streaming(b, "performance")
        in_step(c, b, "performance")
    with t.check("a write through B reaches C, and is read back at once"):
        for node in b.nodes:  # the first one may come before a connection for writes is up: refused, and nothing written
            wait_for("a write through " + node.name, lambda n=node: n.ask("POST", "secret/data/first", {"data": {}})[0] == 200, 20)
            node.put_kv("via-b/" + node.name, "1")
            equal(node.get_kv("via-b/" + node.name), "1")
            equal(c.active().get_kv("via-b/" + node.name), "1")


def raised_status(call):
    try:
        call()
    except Refused as e:
        return e.status
    return 200


def old_primary_returns(t, a, b, c):
    with t.check("the old primary comes back and fences itself"):
        a.start()
        for node in a.nodes:
            a.unseal(node)

        def refuses():
            return all(raised_status(lambda: n.put_kv("split", n.name, timeout=10)) >= 400 for n in a.nodes)
        wait_for("A to refuse writes", refuses, 60, 0.5)
        for _ in range(5):
            for node in a.nodes:
                true(raised_status(lambda: node.put_kv("split", "again", timeout=10)) >= 400, "A took a write")
    with t.check("B and C know nothing of it, and go on"):
        c.active().put_kv("after-return", "1")
        wait_for("the write on B", lambda: b.any().get_kv("after-return") == "1", 20)
        true(raised_status(lambda: c.active().get_kv("split")) == 404, "a write of the fenced A is on C")
    with t.check("it stays fenced after a restart of all its nodes"):
        for node in a.nodes:
            node.stop()
        a.start()
        for node in a.nodes:
            a.unseal(node)
        wait_for("a leader of A", lambda: any(n.leader()["is_self"] for n in a.nodes), 30)
        for node in a.nodes:
            true(raised_status(lambda: node.put_kv("split", "later", timeout=10)) >= 400, "A took a write")
        wait_for("the state", lambda: status(a.any(), "dr")["state"] == "fenced", 20)
        t.note("health of the nodes of a fenced primary: %s" % [n.health() for n in a.nodes])
    with t.check("A's status says why"):
        seen = str(a.any().ask("GET", "sys/replication/status", token="")[1])
        true("fenc" in seen or "diverged" in seen, seen)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("nine nodes"):
            a = world.cluster("a").up(5, 3)
            b = world.cluster("b").up(1, 1, kv=False)
            c = world.cluster("c").up(5, 3, kv=False)
            fill(a)
            for step in (lambda: performance(t, a, b), lambda: forwarding(t, a, b), lambda: disaster(t, a, c),
                         lambda: deaths(t, a, b, c), lambda: failover(t, a, b, c),
                         lambda: old_primary_returns(t, a, b, c)):
                step()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
