#!/usr/bin/env python3
"""The drill: A (primary) and its DR secondary B change places again and again under load, with a performance secondary P that
nobody touches. What its clients see is refusals that say that nothing was written, and nothing acknowledged is lost.

Planned: the primary is demoted under writes in the documented order, its secondary is promoted and followed. Unplanned: all nodes of
the primary die, in a moment when nothing is written: what a primary had acknowledged and not shipped is lost with it, by design.
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import replicas  # noqa: E402
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, Writer, arguments, wait_for  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

P, DR = "sys/replication/performance/", "sys/replication/dr/"
NODES = 3


class Logins(threading.Thread):
    """Logs in at the performance secondary, which takes a step on the primary, and uses the token there at once."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.done, self.count, self.wrong = cluster, threading.Event(), 0, []
        self.refused = {}

    def run(self):
        while not self.done.wait(0.05):
            node = self.cluster.nodes[self.count % len(self.cluster.nodes)]
            try:
                token = node.write("auth/userpass/login/operator", {"password": "operator-password"},
                                   token="")["auth"]["client_token"]
            except (OSError, Refused) as e:
                kind = str(getattr(e, "status", type(e).__name__))
                self.refused[kind] = self.refused.get(kind, 0) + 1
                continue
            try:
                equal(node.read("auth/token/lookup-self", token=token)["data"]["meta"]["username"], "operator")
                node.write("auth/token/revoke-self", token=token)
            except (AssertionError, OSError, Refused) as e:
                self.wrong.append(repr(e))
            self.count += 1


class Load:
    """Writers at all nodes of a cluster."""

    def __init__(self, cluster):
        self.cluster, self.running, self.ended = cluster, [], []

    def start(self):
        self.running = [Writer(self.cluster, "%d-%d" % (len(self.ended), i)) for i in range(3)]
        for writer in self.running:
            writer.start()

    def go_on(self, count):
        for writer in self.running:
            writer.until(len(writer.times) + count)

    def stop(self):
        for writer in self.running:
            writer.stop()
        self.ended += self.running
        self.running = []


def attach_again(primary, secondary, name, operation):
    """The former primary follows the new one, without a wipe."""
    fields = {"token": replicas.secondary_token(primary, "dr", name), "dr_operation_token": operation}
    secondary.active().write(DR + "secondary/update-primary", fields, token="", timeout=60)
    streaming(secondary, "dr")
    want = status(primary.active(), "dr")["last_dr_wal"]
    wait_for("%s to have what %s has" % (secondary.name, primary.name),
             lambda: status(secondary.active(), "dr")["last_remote_wal"] >= want, 60)


def operation_policy(cluster):
    """A batch token for the calls of a failover, made beforehand, good on every cluster of the line."""
    cluster.active().write("sys/policies/acl/dr", {"policy": "".join(
        'path "%s" { capabilities = ["update"] }\n' % path
        for path in (DR + "secondary/promote", DR + "secondary/update-primary"))})
    cluster.active().write("auth/token/roles/failover", {"allowed_policies": "dr", "orphan": True, "renewable": False,
                                                         "token_type": "batch"})
    return cluster.active().write("auth/token/create/failover", {"ttl": "8h"})["auth"]["client_token"]


def planned(t, old, new, p, load, operation, number):
    with t.check("planned %d: %s hands over to %s and follows it" % (number, old.name, new.name)):
        began = time.monotonic()
        old.active().write(P + "primary/demote", timeout=60)  # writes are refused from here on
        wait_for("%s to be level with %s" % (new.name, old.name), lambda: status(new.active(), "dr")["last_remote_wal"] ==
                 status(old.active(), "dr")["last_dr_wal"], 30)
        old.active().write(DR + "primary/demote", timeout=60)
        replicas.promote_dr(new, operation)
        new.root = old.root
        served = time.monotonic()
        wait_for("a write through P", lambda: p.any().ask("POST", "secret/data/handed-over", {"data": {"v": "1"}})[0] == 200, 30)
        t.note("%s serves after %.2f s, writes through P go on after %.2f s" % (
            new.name, served - began, time.monotonic() - began))
        attach_again(new, old, "%s-%d" % (old.name, number), operation)
        equal([n.health() for n in old.nodes], [472] * len(old.nodes))


def unplanned(t, old, new, p, load, operation, number):
    with t.check("unplanned %d: all nodes of %s die, %s takes over, %s comes back and follows it" % (
            number, old.name, new.name, old.name)):
        load.stop()
        in_step(old, new, "dr")
        for node in old.nodes:
            node.kill()
        load.start()
        began = time.monotonic()
        replicas.promote_dr(new, operation)
        new.root = old.root
        wait_for("a write through P", lambda: p.any().ask("POST", "secret/data/taken-over", {"data": {"v": "1"}})[0] == 200, 30)
        t.note("writes through P go on %.2f s after the death of %s" % (time.monotonic() - began, old.name))
        old.start()
        for node in old.nodes:
            old.unseal(node)
        wait_for("%s to be fenced" % old.name, lambda: status(old.any(), "dr")["state"] == "fenced", 60)
        wait_for("a leader", lambda: any(n.leader()["is_self"] for n in old.nodes), 30)
        leader = [n for n in old.nodes if n.leader()["is_self"]][0]  # it answers these calls alone
        leader.write(P + "primary/demote", timeout=60)
        leader.write(DR + "primary/demote", timeout=60)
        attach_again(new, old, "%s-%d" % (old.name, number), operation)


def drill(t, world, rounds):
    a, b, p = (world.cluster(name, nodes=NODES) for name in ("a", "b", "p"))
    for cluster in (a, b, p):
        cluster.up(kv=cluster is a)
    replicas.add_operator(a)
    operation = operation_policy(a)
    for kind in ("performance", "dr"):
        replicas.enable_primary(a, kind)
    replicas.attach(a, p, "performance", "p")
    replicas.attach(a, b, "dr", "b")
    p.root = replicas.login(p)
    service = a.active().write("auth/token/create", {"policies": ["admin"], "ttl": "4h"})["auth"]["client_token"]
    load = Load(p)
    logins = Logins(p)
    wait_for("P to know of B", lambda: any(x["address"].endswith(":%d" % b.nodes[0].cluster_port)
                                           for x in status(p.active(), "performance")["addresses"]), 30)
    load.start()
    logins.start()
    primary, secondary, copies = a, b, status(p.active(), "performance")["bootstraps"]
    try:
        for number in range(rounds):
            load.go_on(30)
            (unplanned if number % 3 == 2 else planned)(t, primary, secondary, p, load, operation, number + 1)
            primary, secondary = secondary, primary
            with t.check("after %d: tokens of before are good, P never took a second copy" % (number + 1)):
                equal(primary.any().ask("GET", "auth/token/lookup-self", token=service)[0], 200)
                equal(status(p.active(), "performance")["bootstraps"], copies)
    finally:
        load.stop()
        logins.done.set()
        logins.join()
    with t.check("no acknowledged write is missing, on the primary and on P"):
        in_step(primary, p, "performance")
        for writer in load.ended:
            for cluster in (primary, p):
                equal(writer.missing(cluster.any()), [], cluster.name)
    with t.check("every login was good"):
        equal(logins.wrong, [])
        true(logins.count >= 5 * rounds, logins.count)
    t.note("%d writes, %d logins; refused and tried again: writes %s, logins %s" % (
        sum(len(w.acknowledged) for w in load.ended), logins.count, [w.errors for w in load.ended], logins.refused))
    for cluster in (a, b, p):
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks(opts.only)
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("drill"):
            drill(t, world, 12 if opts.long else 4)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
