#!/usr/bin/env python3
"""Restores and recoveries that change history: into a fresh cluster under the same keys, on a primary whose
secondaries stream, and after its quorum was lost. Nobody diverges silently, and no credential comes back."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import attach, every_secret, in_step, status, streaming  # noqa: E402
from snapshots import restore, root_token, save, secret_ids, secret_login, shows, token_works  # noqa: E402

OPEN_CEREMONY = ["disable_unauthed_generate_root_endpoints = false"]


def into_empty(t, world):
    """Two clusters with one static key: what the seal of the new one opens needs no force."""
    source = world.cluster("s", nodes=1).up()
    source.nodes[0].put_kv("from", "source")
    batch = source.nodes[0].write("auth/token/create", {"policies": ["default"], "type": "batch"}
                                  )["auth"]["client_token"]
    roles = secret_ids(source)
    archive = save(source.nodes[0])
    old_root = source.root
    world.end(source)

    def fresh(name, nodes):
        target = world.cluster(name, nodes=nodes, listener_extra=OPEN_CEREMONY)
        shutil.copy(source.seal_key, target.seal_key)
        return target.up()

    with t.check("snap_restore_empty: a fresh cluster on the same seal key, told beforehand what will be"):
        target = fresh("e", 3)
        own_root = target.root
        target.active().put_kv("own", "1")
        code, body, _ = restore(target.active(), archive, "?dry_run=true")
        equal((code, body["data"]["unseal_keys"], body["data"]["tokens"]), (200, "this cluster's", "void"))
        true(any("generate-root" in w for w in body["warnings"]), body)
        equal(target.active().get_kv("own"), "1")
    with t.check("it holds the snapshot's secrets on all nodes; nobody seals, and every token is void"):
        code, body, _ = restore(target.active(), archive)
        equal((code, body["data"]["tokens"]), (200, "void"), body)
        for node in target.nodes:
            equal(node.is_sealed(), False, node.name)
            equal([token_works(node, x) for x in (old_root, own_root, batch)], [False] * 3, node.name)
        wait_for("a root token", lambda: root_token(target, target.keys[0]))
        wait_for("the token on all nodes", lambda: all(token_works(n, target.root) for n in target.nodes))
        shows(target, "from", "source")
        shows(target, "own", None)
        for name, role, ids in roles:
            equal([secret_login(target.active(), role, i["secret_id"]) for i in ids], [400] * 3, name)
        target.active().put_kv("from", "target")
        shows(target, "from", "target")
    with t.check("a node that was down during the restore comes up with it"):
        down = target.standbys()[0]
        down.kill()
        down.start()
        target.unseal(down)
        target.caught_up(down)
        equal(down.get_kv("from"), "target")
    world.end(target)
    with t.check("keep_tokens: the snapshot's root token opens the fresh cluster, and the answer says so"):
        target = fresh("q", 1)
        code, body, _ = restore(target.nodes[0], archive, "?keep_tokens=true")
        equal((code, body["data"]["tokens"]), (200, "kept"), body)
        true(any("valid again" in w for w in body["warnings"]), body)
        own_root, target.root = target.root, old_root
        equal([token_works(target.nodes[0], x) for x in (old_root, own_root)], [True, False])
        equal(target.nodes[0].get_kv("from"), "source")
    world.end(target)


def epoch(cluster, kind):
    return status(cluster.active(), kind)["epoch"]["number"]


def follow_again(a, b, c):
    """Both secondaries stream, with the primary's data."""
    for cluster, kind in ((b, "performance"), (c, "dr")):
        streaming(cluster, kind, 90)
        in_step(a, cluster, kind, 90)


def set_of_three(world, name, nodes):
    """A primary of both kinds, its performance secondary and its DR secondary, all streaming; and a snapshot
    from before that."""
    a = world.cluster(name + "a", nodes=nodes).up()
    b = world.cluster(name + "b", nodes=1).up(kv=False)
    c = world.cluster(name + "c", nodes=1).up(kv=False)
    a.active().put_kv("old", "0")
    replicas.add_operator(a)
    early = save(a.active())
    a.active().put_kv("old", "1")
    replicas.enable_primary(a, "performance")
    attach(a, b, "performance", "b")
    b.root = replicas.login(b)
    replicas.enable_primary(a, "dr")
    attach(a, c, "dr", "c")
    return a, b, c, early


def on_a_primary(t, world):
    a, b, c, early = set_of_three(world, "p", 3)
    node = a.active()
    roles = secret_ids(a)
    make = {"policies": ["default"]}
    kept = node.write("auth/token/create", make)["auth"]["client_token"]
    gone = node.write("auth/token/create", make)["auth"]["client_token"]
    b_gone = b.any().write("auth/token/create", make)["auth"]["client_token"]
    follow_again(a, b, c)
    archive = save(node)
    before = {kind: epoch(a, kind) for kind in ("performance", "dr")}
    node.put_kv("old", "2")
    node.put_kv("new", "1")
    later = node.write("auth/token/create", make)["auth"]["client_token"]
    node.write("auth/token/revoke", {"token": gone})
    b.any().write("auth/token/revoke", {"token": b_gone})
    for name, role, ids in roles:
        node.write("auth/ar/role/%s/secret-id/destroy" % name, {"secret_id": ids[1]["secret_id"]})
    follow_again(a, b, c)
    equal(b.any().get_kv("new"), "1")

    with t.check("a secondary restores nothing, and says where to"):
        code, body, _ = restore(b.active(), archive)
        equal(code, 400, body)
        true("primary" in body["errors"][0], body)
    with t.check("lineage_restored: a restore on a primary is a new epoch"):
        code, body, _ = restore(node, archive)
        equal((code, body["data"]["tokens"]), (200, "compared"), body)
        for kind, number in before.items():
            wait_for("the epoch", lambda k=kind, n=number: epoch(a, k) > n, 20)
        shows(a, "old", "1")
        shows(a, "new", None)
    with t.check("lineage_restored: both secondaries find back to the primary's data, by themselves"):
        follow_again(a, b, c)
        equal(every_secret(b.any()), every_secret(a.any()))
        for kind, cluster in (("performance", b), ("dr", c)):
            equal(epoch(cluster, kind), epoch(a, kind), kind)
        node.put_kv("after", "1")
        wait_for("the stream", lambda: b.any().get_kv("after") == "1", 20)
    with t.check("snap_rollback_fencing: what the present state had no more did not come back, on the secondary neither"):
        for at in a.nodes:
            equal([token_works(at, x) for x in (kept, gone, later)], [True, False, False], at.name)
        equal(token_works(b.any(), b_gone), False)
        true(token_works(b.any(), b.root), "the secondary lost a token of its own")
        shared = [r for r in roles if r[0] == "shared"][0]
        for at in (a.active(), b.any()):
            equal(secret_login(at, shared[1], shared[2][1]["secret_id"]), 400, at.name)
        equal(secret_login(a.active(), shared[1], shared[2][0]["secret_id"]), 200)
    with t.check("lineage_restored: also a snapshot from before the cluster ever was a primary"):
        number = epoch(a, "performance")
        late = save(node)
        code, body, _ = restore(node, early)
        equal(code, 200, body)
        wait_for("the epoch", lambda: epoch(a, "performance") > number, 20)
        follow_again(a, b, c)
        # The entity that logged in on B came later than this snapshot, and went with it.
        b.root = replicas.login(b)
        equal(b.any().get_kv("old"), "0")
        equal(restore(node, late)[0], 200)
        follow_again(a, b, c)
        b.root = replicas.login(b)
        equal((b.any().get_kv("old"), b.any().get_kv("after")), ("1", "1"))
        equal(token_works(a.any(), kept), False)  # the early snapshot did not have it, so it is gone for good
    with t.check("nor on the DR secondary, promoted after it"):
        in_step(a, c, "dr", 60)
        for one in a.nodes:
            one.kill()
        replicas.promote_dr(c, replicas.operation_token(c))
        c.root = a.root
        equal([token_works(c.any(), x) for x in (c.root, kept, gone, later)], [True, False, False, False])
        equal((c.any().get_kv("old"), c.any().get_kv("after")), ("1", "1"))
        for name, role, ids in roles:
            equal(secret_login(c.any(), role, ids[1]["secret_id"]), 400, name)
    for cluster in (a, b, c):
        world.end(cluster)


def after_lost_quorum(t, world):
    """A node that lacks the last writes survives alone; the secondaries had got these writes."""
    a, b, c, _ = set_of_three(world, "l", 3)
    follow_again(a, b, c)
    before = epoch(a, "performance")
    survivor = a.standbys()[0]
    a.caught_up(survivor)
    survivor.stop()
    a.active().put_kv("lost", "1")
    wait_for("the secondary to have it", lambda: b.any().get_kv("lost") == "1", 20)
    for node in a.nodes:
        node.kill()
    with t.check("recover: the survivor is a cluster of one, and a primary under a new epoch"):
        code, out, err = survivor.cli("operator", "raft", "recover", "-config=" + survivor.config)
        equal(code, 0, out + err)
        survivor.start()
        a.unseal(survivor)
        wait_for("it to lead", lambda: survivor.put_kv("alone", "1"), 30)
        wait_for("the epoch", lambda: epoch(a, "performance") > before, 20)
        equal(survivor.ask("GET", "secret/data/lost")[0], 404)
    with t.check("both secondaries give up what the recovery lost, and follow again"):
        follow_again(a, b, c)
        equal(b.any().ask("GET", "secret/data/lost")[0], 404)
        equal(every_secret(b.any()), every_secret(a.any()))
        equal((epoch(b, "performance"), epoch(c, "dr")), (epoch(a, "performance"), epoch(a, "dr")))
        survivor.put_kv("after", "1")
        wait_for("the stream", lambda: b.any().get_kv("after") == "1", 20)
    with t.check("it is one epoch a recovery, also after restarts"):
        number = epoch(a, "performance")
        survivor.stop()
        survivor.start()
        a.unseal(survivor)
        wait_for("it to lead", lambda: survivor.put_kv("again", "1"), 30)
        wait_for("the stream", lambda: b.any().get_kv("again") == "1", 60)
        equal(epoch(a, "performance"), number)
    for cluster in (a, b, c):
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in (into_empty, on_a_primary, after_lost_quorum):
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
