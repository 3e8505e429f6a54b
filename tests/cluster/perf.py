#!/usr/bin/env python3
"""A performance secondary, row by row (replication.md 5.2, 5.4): what is its own, what is the primary's, and what both
write down; keys that were rotated while it was away; builds of two levels on the two sides."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, disk_tool, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, streaming  # noqa: E402

FILE = ['audit "file" "main" {', "  options {", '    file_path = "audit.log"', "  }", "}"]


def records(cluster, path):
    """Audit records of a path on all nodes of a cluster."""
    found = []
    for node in cluster.nodes:
        with open(os.path.join(node.dir, "audit.log")) as f:
            found += [r for r in map(json.loads, f.read().splitlines()) if r["request"].get("path") == path]
    return found


def tokens(t, a, b):
    with t.check("tokens: service tokens are each cluster's own"):
        equal(a.any().ask("GET", "auth/token/lookup-self", token=b.root)[0], 403)
        equal(b.any().ask("GET", "auth/token/lookup-self", token=a.root)[0], 403)
        made = b.any().write("auth/token/create", {"policies": ["admin"], "ttl": "1h"})["auth"]["client_token"]
        equal(b.nodes[1].ask("GET", "auth/token/lookup-self", token=made)[0], 200)
        equal(a.any().ask("GET", "auth/token/lookup-self", token=made)[0], 403)
        equal(b.nodes[0].ask("POST", "auth/token/renew-self", {}, token=made)[0], 200)
        equal(b.nodes[1].ask("POST", "auth/token/revoke-self", token=made)[0], 204)
        equal(b.nodes[0].ask("GET", "auth/token/lookup-self", token=made)[0], 403)
    with t.check("token roles are shared, cubbyholes are not"):
        b.nodes[1].write("auth/token/roles/shared", {"allowed_policies": ["admin"]})
        equal(a.any().read("auth/token/roles/shared")["data"]["allowed_policies"], ["admin"])
        equal(b.nodes[0].ask("POST", "cubbyhole/mine", {"v": "1"})[0], 204)
        equal(b.nodes[1].read("cubbyhole/mine")["data"]["v"], "1")
        equal(a.any().ask("GET", "cubbyhole/mine")[0], 404)


def mounts(t, a, b):
    with t.check("mounts, policies and namespaces made through a secondary are there when it answers"):
        for i, node in enumerate(b.nodes):
            equal(node.ask("POST", "sys/mounts/through-%d" % i, {"type": "kv"})[0], 204)
            true("through-%d/" % i in node.read("sys/mounts")["data"], node.name)
            equal("through-%d/" % i in a.any().read("sys/mounts")["data"], True)
            node.write("sys/policies/acl/through-%d" % i, {"policy": 'path "x" { capabilities = ["read"] }'})
            equal(a.any().read("sys/policies/acl/through-%d" % i)["data"]["name"], "through-%d" % i)
            equal(node.ask("POST", "sys/namespaces/space-%d" % i, {})[0], 200)
            equal(node.ask("GET", "sys/namespaces/space-%d" % i)[0], 200)
    with t.check("a local mount stays where it was made, also while the primary has one of that name"):
        equal(b.nodes[1].ask("POST", "sys/mounts/near", {"type": "kv", "local": True})[0], 204)
        equal(b.nodes[0].ask("POST", "near/x", {"v": "b"})[0], 204)
        equal(b.nodes[1].read("near/x")["data"]["v"], "b")
        equal("near/" in a.any().read("sys/mounts")["data"], False)
    with t.check("what belongs to the primary is refused with words"):
        for path in ("secondary-token", "revoke-secondary", "disable", "demote"):
            code, body, _ = b.any().ask("POST", "sys/replication/performance/primary/" + path, {"id": "x"})
            equal((code, "not a performance primary" in str(body)), (400, True), (path, body))
        code, body, _ = b.active().ask("POST", "sys/rotate")
        equal((code, body["errors"]), (400, ["cannot rotate on a replication secondary"]))


def authority(t, a, b):
    with t.check("policies of the caller are evaluated by the primary, by its own state"):
        a.any().write("sys/policies/acl/writer", {"policy": 'path "secret/data/w/*" { capabilities = ["create", "update"] }'})
        a.any().write("auth/userpass/users/writer", {"password": "writer-password", "token_policies": "writer"})
        in_step(a, b, "performance")
        token = replicas.login(b, "writer", "writer-password")
        equal(b.any().ask("POST", "secret/data/w/one", {"data": {"v": "1"}}, token=token)[0], 200)
        equal(b.any().ask("POST", "secret/data/other", {"data": {"v": "1"}}, token=token)[0], 403)
        a.any().call("DELETE", "sys/policies/acl/writer")
        wait_for("the end of the permission", lambda: b.any().ask(
            "POST", "secret/data/w/two", {"data": {"v": "1"}}, token=token)[0] == 403, 10)
        equal(a.any().ask("GET", "secret/data/w/two")[0], 404)


def audit(t, a, b):
    with t.check("audit: a forwarded write is recorded by both clusters under one request id"):
        answer = b.standbys()[0].write("secret/data/audited", {"data": {"v": "1"}})
        here, there = records(b, "secret/data/audited"), records(a, "secret/data/audited")
        true(here and there, "%d records on B, %d on A" % (len(here), len(there)))
        equal({r["request"]["id"] for r in here + there}, {answer["request_id"]})
        equal({r["type"] for r in there}, {"request", "response"})
        for record in here + there:
            equal(record["auth"]["display_name"], "userpass-operator")
    with t.check("audit: a local read is recorded where it was answered, and nowhere else"):
        b.any().read("secret/data/audited")
        reads = [r for r in records(a, "secret/data/audited") if r["request"]["operation"] == "read"]
        equal(reads, [])


def cut_off(t, a, b):
    with t.check("the primary dies: reads and what is local go on, shared writes get 503 with Retry-After at once"):
        for node in a.nodes:
            node.kill()
        for node in b.nodes:
            equal(node.read("secret/data/audited")["data"]["data"]["v"], "1", node.name)
            equal(node.ask("POST", "cubbyhole/alone", {"v": "1"})[0], 204)
            equal(node.ask("POST", "near/alone", {"v": "1"})[0], 204)
            wait_for("503", lambda n=node: n.ask("POST", "secret/data/no", {"data": {"v": "1"}}, timeout=60)[0] == 503,
                     30)
            code, body, headers = node.ask("POST", "secret/data/no", {"data": {"v": "1"}}, timeout=60)
            equal(code, 503, body)
            true(int(headers.get("Retry-After", "0")) > 0, headers)
        equal(b.any().ask("POST", "auth/userpass/login/operator", {"password": "operator-password"}, token="")[0], 200)
    with t.check("it comes back: writes go on, and none of the refused ones happened"):
        for node in a.nodes:
            node.start()
            a.unseal(node)
        a.active()
        wait_for("a write through B", lambda: b.any().ask("POST", "secret/data/yes", {"data": {"v": "1"}})[0] == 200, 30)
        equal(a.any().ask("GET", "secret/data/no")[0], 404)


def rotated(t, a, b):
    with t.check("keys are rotated twice while the secondary is away: all is readable, and its own data, too"):
        for node in b.nodes:
            node.kill()
        for i in range(2):
            a.active().write("sys/rotate")
            a.any().put_kv("rotated-%d" % i, str(i))
        term = a.any().read("sys/key-status")["data"]["term"]
        for node in b.nodes:
            node.start()
            b.unseal(node)
        b.active()
        streaming(b, "performance")
        for node in b.nodes:
            for i in range(2):
                wait_for("it on " + node.name, lambda n=node, k=i: n.get_kv("rotated-%d" % k) == str(k), 30)
            equal(node.read("near/x")["data"]["v"], "b")
            equal(node.get_kv("audited"), "1")
        equal(b.any().read("sys/key-status")["data"]["term"], term)
        equal(b.any().ask("POST", "secret/data/after-rotation", {"data": {"v": "1"}})[0], 200)
        in_step(a, b, "performance")


def unseen(t, world):
    """A rotates, B sees it, C does not; A dies, C is promoted: whatever B has stays readable."""
    a, b, c = (world.cluster(name, nodes=1) for name in ("ka", "kb", "kc"))
    a.up(1, 1)
    for cluster in (b, c):
        cluster.up(1, 1, kv=False)
    replicas.add_operator(a)
    for kind, cluster in (("performance", b), ("dr", c)):
        replicas.enable_primary(a, kind)
        replicas.attach(a, cluster, kind, cluster.name)
    b.root = replicas.login(b)
    with t.check("a rotation that the DR secondary has not seen, then its promotion"):
        a.any().put_kv("early", "1")
        in_step(a, c, "dr")
        c.nodes[0].kill()
        a.active().write("sys/rotate")
        b.any().put_kv("late", "1")
        equal(b.any().ask("POST", "cubbyhole/own", {"v": "1"})[0], 204)
        in_step(a, b, "performance")
        a.nodes[0].kill()
        c.nodes[0].start()
        c.unseal(c.nodes[0])
        c.active()
        replicas.promote_dr(c, replicas.operation_token(c))
        c.root = a.root
        equal(c.any().get_kv("early"), "1")
        equal(c.any().ask("GET", "secret/data/late")[0], 404)
        c.active().write("sys/rotate")
        c.any().put_kv("newer", "1")
    with t.check("the performance secondary follows it: keyrings are joined, nothing is unreadable"):
        b.active().ask("POST", "sys/replication/performance/secondary/update-primary",
                       {"update_primary_addrs": [c.nodes[0].cluster_addr]})
        wait_for("B to have what C wrote", lambda: b.any().get_kv("newer") == "1", 60)
        equal(b.any().get_kv("early"), "1")
        equal(b.any().ask("GET", "secret/data/late")[0], 404)
        equal(b.any().read("cubbyhole/own")["data"]["v"], "1")
        equal(b.any().ask("POST", "secret/data/on", {"data": {"v": "1"}})[0], 200)
        in_step(c, b, "performance")
    for cluster in (a, b, c):
        world.end(cluster)


def levels(t, world, old):
    """One side is of the level before."""
    a, b = world.cluster("va" + old, nodes=1), world.cluster("vb" + old, nodes=1)
    for node in (a if old == "primary" else b).nodes:
        node.binary = disk_tool("coffer-previous")
    a.up(1, 1)
    b.up(1, 1, kv=False)
    with t.check("the %s is of the level before: copy, stream, forwarded writes and logins" % old):
        replicas.add_operator(a)
        replicas.enable_primary(a, "performance")
        replicas.attach(a, b, "performance", "vb")
        b.root = replicas.login(b)
        for i in range(20):
            a.any().put_kv("down-%d" % i, str(i))
            b.any().put_kv("up-%d" % i, str(i))
            equal(b.any().get_kv("up-%d" % i), str(i))
        in_step(a, b, "performance")
        equal(replicas.every_secret(a.any()), replicas.every_secret(b.any()))
    with t.check("the %s is upgraded: both go on" % old):
        node = (a if old == "primary" else b).nodes[0]
        equal(node.stop(), 0)
        node.binary = None
        node.start()
        node.cluster.unseal(node)
        node.cluster.active()
        wait_for("a write through B", lambda: b.any().ask("POST", "secret/data/then", {"data": {"v": "1"}})[0] == 200, 30)
        in_step(a, b, "performance")
    for cluster in (a, b):
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks(opts.only)
    began = time.monotonic()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("perf"):
            a, b = world.cluster("a", nodes=1), world.cluster("b", nodes=2)
            for cluster in (a, b):
                cluster.extra = FILE
            a.up(1, 1)
            b.up(kv=False)
            replicas.add_operator(a)
            replicas.enable_primary(a, "performance")
            replicas.attach(a, b, "performance", "b")
            b.root = replicas.login(b)
            for part in (tokens, mounts, authority, audit, cut_off, rotated):
                part(t, a, b)
            for cluster in (a, b):
                world.end(cluster)
        with t.scenario("unseen"):
            unseen(t, world)
        for old in ("primary", "secondary"):
            with t.scenario("levels"):
                levels(t, world, old)
    t.note("took %.0f s" % (time.monotonic() - began))
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
