#!/usr/bin/env python3
"""Paths filters: what is held back never comes to a performance secondary, or goes from every disk of it and of its DR
secondary; what is let through again is fetched (replication.md 2.3, acceptance 11)."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import on_disk, status, streaming  # noqa: E402

PERF = "sys/replication/performance/"

FILTER = "sys/replication/performance/primary/paths-filter/"
DYNAMIC = "sys/replication/performance/primary/dynamic-filter/"


def mount(node, path, ns=None):
    headers = {"X-Vault-Namespace": ns} if ns else {}
    code, body, _ = node.ask("POST", "sys/mounts/" + path, {"type": "kv", "options": {"version": "1"}},
                             headers=headers)
    equal(code, 204, body)


def namespace(node, path):
    """Nested ones from the outside in."""
    parent, _, name = path.rstrip("/").rpartition("/")
    headers = {"X-Vault-Namespace": parent} if parent else {}
    code, body, _ = node.ask("POST", "sys/namespaces/" + name, {}, headers=headers)
    equal(code, 200, body)


def put(node, path, value="v", ns=None):
    headers = {"X-Vault-Namespace": ns} if ns else {}
    code, body, _ = node.ask("POST", path, {"v": value}, headers=headers)
    equal(code, 204, body)


def get(node, path, ns=None):
    """(code, value or errors)"""
    headers = {"X-Vault-Namespace": ns} if ns else {}
    code, body, _ = node.ask("GET", path, headers=headers)
    return code, body["data"]["v"] if code == 200 else body.get("errors")


def has(cluster, path, value="v", ns=None, seconds=30):
    for node in cluster.nodes:
        wait_for("%s on %s" % (path, node.name), lambda: get(node, path, ns) == (200, value), seconds)


def has_not(cluster, path, ns=None, seconds=30):
    for node in cluster.nodes:
        wait_for("no %s on %s" % (path, node.name), lambda: get(node, path, ns)[0] in (403, 404), seconds)


def in_step_by(a, b, name):
    """A marker that passes all filters came from A to B: so did what was before it."""
    node = a.active()
    node.write("sys/policies/acl/step", {"policy": 'path "%s" { capabilities = ["read"] }' % name})

    def arrived():
        return name in b.active().read("sys/policies/acl/step")["data"]["policy"]
    wait_for("B to be in step", arrived, 30)


def answers(t, a):
    """The exact answers of 2.3."""
    node = a.active()
    with t.check("paths-filter: read, write, delete"):
        equal(node.ask("GET", FILTER + "b")[:2], (404, {"errors": []}))
        equal(node.ask("POST", FILTER + "b", {"mode": "deny", "paths": ["/kept", "eu/", "kept/"]})[0], 200)
        equal(node.read(FILTER + "b")["data"], {"mode": "deny", "paths": ["eu/", "kept/"]})
        equal(node.ask("DELETE", FILTER + "b")[0], 204)
        equal(node.ask("DELETE", FILTER + "b")[0], 204)
        equal(node.ask("GET", FILTER + "b")[0], 404)
        equal(node.ask("POST", FILTER + "b", {"mode": "allow", "paths": "secret/, auth/userpass"})[0], 204)
        equal(node.read(FILTER + "b")["data"], {"mode": "allow", "paths": ["auth/userpass/", "secret/"]})
        node.call("DELETE", FILTER + "b")
    with t.check("paths-filter: what is refused, and why"):
        for path, body, words in (
                ("other", {"mode": "deny", "paths": ["eu/"]}, 'no secondary "other" is registered'),
                ("b", {"mode": "blacklist", "paths": ["eu/"]}, "mode must be"),
                ("b", {"mode": "deny", "paths": ["sys/"]}, "cannot be filtered"),
                ("b", {"mode": "deny", "paths": ["auth/token"]}, "cannot be filtered"),
                ("b", {"mode": "deny", "paths": ["team/identity/"]}, "cannot be filtered"),
                ("b", {"mode": "deny", "paths": ["/"]}, "1 to"),
                ("b", {"mode": "deny", "paths": [{}]}, "paths")):
            code, answer, _ = node.ask("POST", FILTER + path, body)
            equal(code, 400, answer)
            true(words in answer["errors"][0], answer)
        equal(node.ask("GET", FILTER + "b")[0], 404)
        code, answer, _ = node.ask("GET", "sys/replication/performance/primary/mount-filter/b")
        equal(code, 404)
        true("paths-filter" in answer["errors"][0], answer)
    with t.check("paths-filter for one to come, and its dynamic filter"):
        equal(node.ask("POST", FILTER + "later", {"mode": "deny", "paths": ["team/"], "force": True})[0], 204)
        equal(node.read(DYNAMIC + "later")["data"]["dynamic_filtered_namespaces"], ["team/", "team/inner/"])
        node.call("DELETE", FILTER + "later")
        equal(node.ask("GET", DYNAMIC + "later")[0], 404)
        equal(node.read(DYNAMIC + "b")["data"], {"dynamic_filtered_mounts": [], "dynamic_filtered_namespaces": []})


def before(t, a, b):
    """Filter, then enable: nothing of it ever comes."""
    node = a.active()
    with t.check("before: deny a mount and a namespace; the token is made first, as operators do"):
        token = replicas.secondary_token(a, "performance", "b")
        equal(node.ask("POST", FILTER + "b", {"mode": "deny", "paths": ["eu/", "team/"]})[0], 204)
        equal(node.read(DYNAMIC + "b")["data"], {
            "mode": "deny", "paths": ["eu/", "team/"],
            "dynamic_filtered_mounts": ["eu/", "team/kv/", "team/inner/kv/"],
            "dynamic_filtered_namespaces": ["team/", "team/inner/"]})
        for i in range(200):
            put(node, "eu/marker-before-%d" % i)
            put(node, "us/open-%d" % i)
        b.active().write("sys/replication/performance/secondary/enable", {"token": token}, timeout=60)
        streaming(b, "performance")
        b.root = replicas.login(b)
    with t.check("before: the copy has what passes and nothing else, and so has the stream"):
        put(node, "eu/marker-stream")
        put(node, "kv/marker-team", ns="team/")
        put(node, "kv/marker-inner", ns="team/inner/")
        mount(node, "kv2", ns="team/")
        put(node, "kv2/marker-new", ns="team/")
        put(node, "us/open-last")
        in_step_by(a, b, "one")
        has(b, "us/open-last")
        has(b, "us/open-7")
        for path, ns in (("eu/marker-before-1", None), ("eu/marker-stream", None), ("kv/marker-team", "team/"),
                         ("kv/marker-inner", "team/inner/"), ("kv2/marker-new", "team/")):
            equal(get(b.any(), path, ns)[0], 404, path)
        for marker in ("marker-before", "marker-stream", "marker-team", "marker-inner", "marker-new"):
            true(on_disk(a, marker), "%s is not on A's disks either: the test finds nothing" % marker)
            equal(on_disk(b, marker), [], marker)
        true(on_disk(b, "open-"), "names are not found on B's disks at all")
        equal("eu/" in b.any().read("sys/mounts")["data"], False)
    with t.check("before: a filtered mount does not exist on the secondary: 404, not forwarded"):
        code, body, _ = b.any().ask("POST", "eu/marker-sent", {"v": "x"})
        equal(code, 404, body)
        equal(get(node, "eu/marker-sent")[0], 404)
    with t.check("before: the secondary has its filter, and no other's"):
        here = "sys/replication/performance/secondary/dynamic-filter/"
        equal(b.any().read(here + "b")["data"]["paths"], ["eu/", "team/"])
        equal(b.any().read(here + "b")["data"]["dynamic_filtered_mounts"], ["eu/", "team/"])
        equal(b.any().ask("GET", here + "c")[0], 404)
        equal(b.any().ask("GET", FILTER + "b")[0], 400)


def after(t, a, b, d):
    node = a.active()
    with t.check("after: dry_run says what would happen, and nothing does"):
        put(node, "us/still")
        answer = node.write(FILTER + "b", {"mode": "deny", "paths": ["us/", "team/"], "dry_run": True})["data"]
        equal((answer["would_be_removed"], answer["would_be_copied"]), (["us/"], ["eu/"]))
        equal(node.read(FILTER + "b")["data"]["paths"], ["eu/", "team/"])
        has(b, "us/still")
    with t.check("after: a mount that was there is gone on every node"):
        equal(node.ask("POST", FILTER + "b", {"mode": "deny", "paths": ["eu/", "us/", "team/"]})[0], 204)
        has_not(b, "us/open-7")
        put(node, "us/marker-after")
        in_step_by(a, b, "two")
        equal(get(b.any(), "us/marker-after")[0], 404)
        equal(get(node, "us/marker-after"), (200, "v"))
        equal("us/" in b.any().read("sys/mounts")["data"], False)
        equal(on_disk(b, "marker-after"), [])
    with t.check("after: and from every disk of the secondary and of its DR secondary: state, logs, all files"):
        for cluster in (b, d):
            wait_for("the bytes to be gone from " + cluster.name, lambda: not on_disk(cluster, "open-"), 60, 0.5)
        true(on_disk(a, "open-"), "A has them")
    with t.check("after: secondary and DR secondary go on, also over a restart"):
        b.nodes[1].stop()
        b.nodes[1].start()
        b.unseal(b.nodes[1])
        put(node, "eu/quiet")
        in_step_by(a, b, "three")
        equal(on_disk(b, "open-") + on_disk(d, "open-"), [])
        replicas.in_step(b, d, "dr")
    with t.check("after: what is let through again is copied, with what came meanwhile"):
        equal(node.ask("POST", FILTER + "b", {"mode": "deny", "paths": ["team/"]})[0], 204)
        has(b, "us/open-7", seconds=60)
        has(b, "us/marker-after")
        has(b, "eu/marker-before-9")
        put(node, "eu/marker-follows")
        has(b, "eu/marker-follows")
        equal(status(b.any(), "performance")["state"], "stream-wals")
        equal(on_disk(b, "marker-team"), [])
    with t.check("after: without a filter everything is there"):
        node.call("DELETE", FILTER + "b")
        has(b, "kv/marker-inner", ns="team/inner/", seconds=60)
        has(b, "kv2/marker-new", ns="team/")
    with t.check("after: mode allow: a namespace that holds something listed comes with it"):
        equal(node.ask("POST", FILTER + "b", {"mode": "allow", "paths": ["eu/", "auth/userpass/", "team/kv2/"]})[0],
              204)
        has_not(b, "us/open-7")
        has_not(b, "kv/marker-team", ns="team/")
        has_not(b, "kv/marker-inner", ns="team/inner/")
        has(b, "kv2/marker-new", ns="team/")
        has(b, "eu/marker-follows")
        b.root = replicas.login(b)


def moves(t, a, b):
    node = a.active()
    with t.check("a mount is not moved past a filter"):
        code, body, _ = node.ask("POST", "sys/remount", {"from": "us/", "to": "other/"})
        equal(code, 200, body)  # neither goes to b
        code, body, _ = node.ask("POST", "sys/remount", {"from": "eu/", "to": "us/"})
        equal(code, 400, body)
        true('secondary "b"' in body["errors"][0] and "change the filter first" in body["errors"][0], body)
    with t.check("a mount that is made, filled and removed while the secondary is away leaves nothing there"):
        for n in b.nodes:
            n.kill()
        equal(node.ask("POST", FILTER + "b", {"mode": "deny", "paths": ["gone/", "us/", "other/", "team/"]})[0], 200)
        mount(node, "gone")
        mount(node, "seen")
        for i in range(20):
            put(node, "gone/marker-gone-%d" % i)
            put(node, "seen/short-%d" % i)
        node.call("DELETE", "sys/mounts/gone")
        node.call("DELETE", "sys/mounts/seen")
        put(node, "eu/back")
        for n in b.nodes:
            n.start()
            b.unseal(n)
        b.active()
        streaming(b, "performance")
        has(b, "eu/back", seconds=60)
        equal(on_disk(b, "marker-gone"), [])
        mounts = b.any().read("sys/mounts")["data"]
        equal([m for m in ("gone/", "seen/") if m in mounts], [])


def another_identity(t, world):
    """update-primary with a token of another id, which has another filter: its data is compared at once, not with the next
    periodic comparison."""
    a, b = (world.cluster(name, nodes=1) for name in ("ia", "ib"))
    a.up()
    b.up(kv=False)
    replicas.add_operator(a)
    replicas.enable_primary(a, "performance")
    a.any().write("sys/mounts/held", {"type": "kv", "options": {"version": "2"}})
    for i in range(20):
        a.any().put_kv("heldname-%d" % i, "1", mount="held")
    token = replicas.secondary_token(a, "performance", "one")
    a.any().write(PERF + "primary/paths-filter/one", {"mode": "deny", "paths": ["held/"]})
    b.any().write(PERF + "secondary/enable", {"token": token}, timeout=60)
    streaming(b, "performance")
    b.root = replicas.login(b)

    def move(name, rules):
        a.any().write(PERF + "primary/revoke-secondary", {"id": status(b.any(), "performance")["secondary_id"]})
        token = replicas.secondary_token(a, "performance", name)
        if rules:
            a.any().write(PERF + "primary/paths-filter/" + name, rules)
        b.any().write(PERF + "secondary/update-primary", {"token": token}, timeout=60)
        streaming(b, "performance")
    with t.check("another identity: without a filter what was held back is there within seconds"):
        wait_for("the mount's answer", lambda: b.any().ask("GET", "held/data/heldname-7")[0] == 404, 10)
        move("two", None)
        wait_for("what was held back", lambda: b.any().get_kv("heldname-7", mount="held") == "1", 20)
        true(status(b.any(), "performance")["repair"]["comparisons"] >= 1, "nothing was compared")
    with t.check("another identity: with a filter it is gone, from the disk, too"):
        move("three", {"mode": "deny", "paths": ["held/"]})
        wait_for("it to go", lambda: b.any().ask("GET", "held/data/heldname-7")[0] == 404, 20)
        wait_for("the bytes to go", lambda: not on_disk(b, "heldname-"), 60)
    world.end(b)
    world.end(a)


def main():
    opts = arguments(__doc__)
    t = Checks(opts.only)
    began = time.monotonic()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("filters"):
            a = world.cluster("a", nodes=1).up(1, 1)
            b = world.cluster("b", nodes=2).up(kv=False)
            replicas.add_operator(a)
            node = a.active()
            for path in ("eu", "us"):
                mount(node, path)
            for path in ("team", "team/inner"):
                namespace(node, path)
                mount(node, "kv", ns=path + "/")
            replicas.enable_primary(a, "performance")
            replicas.secondary_token(a, "performance", "b")
            answers(t, a)
            node.write("sys/replication/performance/primary/revoke-secondary", {"id": "b"})
            before(t, a, b)
            d = world.cluster("d", nodes=1).up(1, 1, kv=False)
            replicas.enable_primary(b, "dr")
            replicas.attach(b, d, "dr", "d")
            after(t, a, b, d)
            moves(t, a, b)
        with t.scenario("identity"):
            another_identity(t, world)
    t.note("took %.0f s" % (time.monotonic() - began))
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
