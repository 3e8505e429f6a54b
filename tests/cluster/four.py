#!/usr/bin/env python3
"""Four clusters (replication.md 5.8, names as there): A performance primary, B its DR secondary, C performance secondary, D the DR
secondary of C. B is promoted and C follows by itself; D is promoted and nobody else notices; both fail back."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

DR = "sys/replication/dr/"
P = "sys/replication/performance/"
POLICY = 'path "sys/replication/*" { capabilities = ["update", "sudo"] }'


def batch_token(node):
    node.write("sys/policies/acl/failover", {"policy": POLICY})
    return node.write("auth/token/create-orphan", {"type": "batch", "ttl": "2h", "policies": ["failover"]}
                      )["auth"]["client_token"]


def modes(cluster):
    both = cluster.active().read("sys/replication/status", token="")["data"]
    return both["performance"]["mode"], both["dr"]["mode"]


def epochs(cluster):
    both = cluster.active().read("sys/replication/status", token="")["data"]
    return {kind: both[kind]["epoch"]["number"] for kind in both if "epoch" in both[kind]}


def move(primary, secondary, kind, name, operation=None):
    """update-primary: the secondary follows that primary from now on, without a wipe."""
    fields = {"token": replicas.secondary_token(primary, kind, name)}
    if operation:
        fields["dr_operation_token"] = operation
    secondary.active().write("sys/replication/%s/secondary/update-primary" % kind, fields,
                             token="" if operation else None, timeout=60)
    streaming(secondary, kind)


def write_through(t, name, via, everywhere):
    # 503: nothing was written, a client tries again; a busy machine may lose the link once more right after a failover.
    wait_for("a write through " + via.name, lambda: via.active().put_kv(name, name), 30)
    for cluster, kind, primary in everywhere:
        in_step(primary, cluster, kind)


def main():
    arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        a, b, c, d = (world.cluster(name, nodes=1) for name in "abcd")
        with t.scenario("four"):
            a.up(1, 1)
            for cluster in (b, c, d):
                cluster.up(1, 1, kv=False)
            replicas.add_operator(a)
            operation = batch_token(a.nodes[0])
            replicas.enable_primary(a, "performance")
            replicas.enable_primary(a, "dr")
            replicas.attach(a, c, "performance", "c")
            replicas.attach(a, b, "dr", "b")
            c.root = replicas.login(c)
            replicas.enable_primary(c, "dr")
            replicas.attach(c, d, "dr", "d")

            with t.check("four clusters: the modes of each"):
                equal([modes(x) for x in (a, b, c, d)], [("primary", "primary"), ("disabled", "secondary"),
                                                         ("secondary", "primary"), ("disabled", "secondary")])
                write_through(t, "one", c, ((c, "performance", a), (b, "dr", a), (d, "dr", c)))
            with t.check("token_matrix: a service token of A on C: 403; an orphan batch token of A on C works"):
                a.nodes[0].write("sys/policies/acl/admin", {"policy": replicas.ADMIN_POLICY})
                service = a.nodes[0].write("auth/token/create", {"policies": ["admin"], "ttl": "2h"})["auth"]["client_token"]
                batch = a.nodes[0].write("auth/token/create-orphan", {"policies": ["admin"], "ttl": "2h", "type": "batch"}
                                         )["auth"]["client_token"]
                child = a.nodes[0].write("auth/token/create", {"policies": ["admin"], "ttl": "2h", "type": "batch"}
                                         )["auth"]["client_token"]
                in_step(a, c, "performance")
                asked = [c.nodes[0].ask("GET", "secret/data/one", token=x)[0] for x in (service, child, batch)]
                equal(asked, [403, 403, 200])
                equal(a.nodes[0].ask("GET", "secret/data/one", token=child)[0], 200)
            with t.check("promote D: it carries on as the performance secondary that C was, and fences nobody but C"):
                before = epochs(a)
                mine = c.nodes[0].write("auth/token/create", {"policies": ["admin"], "ttl": "2h"})["auth"]["client_token"]
                in_step(c, d, "dr")
                identity = status(c.nodes[0], "performance")["secondary_id"]
                d.nodes[0].write(DR + "secondary/promote", {"dr_operation_token": operation}, token="")
                d.root = c.root
                streaming(d, "performance")
                equal(status(d.nodes[0], "performance")["secondary_id"], identity)
                equal(d.nodes[0].ask("GET", "secret/data/one", token=mine)[0], 200)
                write_through(t, "two", d, ((d, "performance", a), (b, "dr", a)))
                equal((epochs(a), a.nodes[0].health(), modes(a)), (before, 200, ("primary", "primary")))
                equal(epochs(d)["dr"], 2)
            with t.check("C heard of it: it answers nobody, until it is demoted and follows D"):
                wait_for("C to be fenced", lambda: status(c.nodes[0], "dr")["state"] == "fenced", 30)
                equal(c.nodes[0].ask("GET", "secret/data/one")[0], 503)
                c.nodes[0].write(DR + "primary/demote")
                move(d, c, "dr", "c", operation)
                in_step(d, c, "dr")
                equal(modes(c), ("disabled", "secondary"))
            with t.check("promote B: D, the performance secondary, follows by itself; A's tokens are good on B"):
                write_through(t, "three", d, ((d, "performance", a), (b, "dr", a), (c, "dr", d)))
                a.nodes[0].kill()
                b.nodes[0].write(DR + "secondary/promote", {"dr_operation_token": operation}, token="")
                b.root = a.root
                equal(b.nodes[0].ask("GET", "secret/data/three", token=service)[0], 200)
                equal(modes(b), ("primary", "primary"))
                wait_for("D to stream from B", lambda: status(d.nodes[0], "performance")["state"] == "stream-wals" and
                         status(d.nodes[0], "performance")["epoch"]["number"] == 2, 60)
                write_through(t, "four", d, ((d, "performance", b), (c, "dr", d)))
                equal((epochs(b), epochs(d)), ({"performance": 2, "dr": 2}, {"performance": 2, "dr": 2}))
            with t.check("A comes back: it is fenced, is demoted and follows B without a wipe"):
                a.nodes[0].start()
                wait_for("A to be fenced", lambda: a.nodes[0].health() == 503 and not a.nodes[0].is_sealed(), 30)
                true(status(a.nodes[0], "dr")["state"] == "fenced", "the status does not say so")
                a.nodes[0].write(P + "primary/demote")
                a.nodes[0].write(DR + "primary/demote")
                move(b, a, "dr", "a", operation)
                in_step(b, a, "dr")
            with t.check("failback of both: A takes over from B, C from D"):
                b.nodes[0].write(P + "primary/demote")
                b.nodes[0].write(DR + "primary/demote")
                a.nodes[0].write(DR + "secondary/promote", {"dr_operation_token": operation}, token="")
                equal(modes(a), ("primary", "primary"))
                wait_for("D to stream from A", lambda: status(d.nodes[0], "performance")["state"] == "stream-wals" and
                         status(d.nodes[0], "performance")["epoch"]["number"] == 3, 60)
                move(a, b, "dr", "b2", operation)
                in_step(d, c, "dr")
                d.nodes[0].write(DR + "primary/demote")
                c.nodes[0].write(DR + "secondary/promote", {"dr_operation_token": operation}, token="")
                streaming(c, "performance")
                move(c, d, "dr", "d2", operation)
                write_through(t, "five", c, ((c, "performance", a), (b, "dr", a), (d, "dr", c)))
                equal([modes(x) for x in (a, b, c, d)], [("primary", "primary"), ("disabled", "secondary"),
                                                         ("secondary", "primary"), ("disabled", "secondary")])
                for key in ("one", "two", "three", "four", "five"):
                    for cluster in (a, c):
                        equal(cluster.nodes[0].get_kv(key), key)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
