#!/usr/bin/env python3
"""A performance secondary is promoted while the primary is off: the primary comes back, is shown a proof and fences itself, and
follows. Claims that are made up, and those of a revoked secondary, fence nobody and are seen."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, disk_tool, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

P = "sys/replication/performance/"
KIND = "performance"


def metric(node, name):
    text = node.ask("GET", "sys/metrics?format=prometheus", token=node.cluster.root)[1]
    text = text if isinstance(text, str) else json.dumps(text)
    found = re.search(r"%s(?:\{[^}]*\})? ([0-9.e+]+)" % name, text)
    return float(found.group(1)) if found else None


def certificate(cluster):
    return status(cluster.active(), KIND)["promotion_certificate"]


def certified(cluster):
    return wait_for("a promotion certificate on " + cluster.name, lambda: certificate(cluster), 30)


def leader(cluster):
    """Of a fenced cluster: health tells nobody to go there."""
    return wait_for("a leader of " + cluster.name,
                    lambda: next((n for n in cluster.running() if n.leader()["is_self"]), None), 30)


def is_fenced(cluster):
    return status(leader(cluster), KIND)["state"] == "fenced"


def epoch(cluster):
    return status(cluster.active(), KIND)["epoch"]


def stranger(cluster, name, number, proof):
    """Redeems a token as a secondary would, and claims an epoch with the credentials."""
    token = replicas.secondary_token(cluster, KIND, name)
    node = cluster.active()
    with subprocess.Popen([disk_tool("stranger")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        public_key = process.stdout.readline().strip()
        package = node.write(P + "primary/redeem", {"token": token, "cluster_id": "stranger-" + name,
                                                    "public_key": public_key})["data"]["package"]
        process.stdin.write(package + "\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdin.write("%d %s %s\n" % (number, epoch(cluster)["id"], proof))
        process.stdin.flush()
        try:
            answer = process.stdout.readline().strip()
        finally:
            process.kill()
    return answer


def alarmed(cluster, name):
    """What the node that heard the claim says: each counts its own."""
    return next((seen for seen in (status(node, KIND) for node in cluster.running()) if name in seen["last_alarm"]), None)


def claims(t, a):
    for i, proof in enumerate(("none", "made-up", "certified")):
        with t.check("a claim of epoch 2 with proof \"%s\" fences nobody, and is seen" % proof):
            names = ["x%d%d" % (i, n) for n in range(8)]

            def refused():  # a leader may change in the middle
                name = names.pop(0)
                answer = stranger(a, name, 2, proof)
                true(not answer.startswith("fenced"), answer)
                return name if answer.startswith("refused: the claim is not proved") else None
            name = wait_for("a refusal", refused, 60, 0.5)
            seen = wait_for("the alarm", lambda: alarmed(a, name), 10)
            true(seen["alarms"] > 0 and "epoch 2" in seen["last_alarm"] and seen["last_alarm_time"], seen)
            equal(seen["state"], "running")
            wait_for("the metric", lambda: any(metric(n, "coffer_replication_alarms") > 0 for n in a.nodes), 10)
            true(any("ALARM: performance: secondary \"%s\" claims epoch 2" % name in n.log() for n in a.nodes), "no line in the log")
            wait_for("A to take writes", lambda: a.any().put_kv("claimed/" + name, "1"), 30)
            t.note(seen["last_alarm"])
            a.active().write(P + "primary/revoke-secondary", {"id": name})


def come_back(t, a, b, c):
    with t.check("both secondaries hold a promotion certificate; a dry run says so"):
        true(certified(b) > 0 and certified(c) > 0, "none")
        told = b.active().write(P + "secondary/promote", {"dry_run": True})["data"]
        true([x for x in told["checks"] if x["check"] == "proof" and "will prove the new epoch" in x["text"]], told)
    with t.check("A goes on alone, then is gone; B is promoted and writes"):
        for cluster in (b, c):
            for node in cluster.nodes:
                node.kill()
        wait_for("the surplus", lambda: a.any().put_kv("surplus", "1"), 30)
        for node in a.nodes:
            node.kill()
        for cluster in (b, c):
            for node in cluster.nodes:
                node.start()
            for node in cluster.nodes:
                cluster.unseal(node)
        b.active().write(P + "secondary/promote", {}, timeout=60)
        wait_for("B to be the primary", lambda: status(b.active(), KIND)["mode"] == "primary", 30)
        equal(epoch(b)["number"], 2)
        wait_for("B to take writes", lambda: b.any().put_kv("after", "1"), 30)
        equal(b.active().ask("GET", "secret/data/surplus")[0], 404)
    with t.check("C, which has heard of nothing, follows B by token: the proof is enough for it"):
        move(b, c, "c2")
        equal(epoch(c)["number"], 2)
        in_step(b, c, KIND)
        true(certified(c) > 0, "no certificate by B")
    with t.check("A comes back and is fenced by the proof; it alarms of nothing"):
        for node in a.nodes:
            node.start(wait=False)
        for node in a.nodes:
            wait_for("%s to answer" % node.name, node.answers, 30)
            a.unseal(node)
        wait_for("A to be fenced", lambda: is_fenced(a), 60)
        code = leader(a).ask("POST", "secret/data/late", {"data": {"v": "1"}})[0]
        true(code >= 400, "a fenced primary took a write: %d" % code)
        equal(status(leader(a), KIND)["alarms"], 0)
        true(any("this cluster is now fenced" in node.log() for node in a.nodes), "nothing in the log")
    with t.check("A is demoted, follows B, and has what B has; what only it had is gone"):
        leader(a).write(P + "primary/demote", {}, timeout=60)
        wait_for("A to be a secondary", lambda: status(a.active(), KIND)["mode"] == "secondary", 30)
        move(b, a, "a")
        a.root = replicas.login(a)
        equal(epoch(a)["number"], 2)
        in_step(b, a, KIND)
        equal(a.any().get_kv("after"), "1")
        equal(a.any().ask("GET", "secret/data/surplus")[0], 404)


def back_again(t, a, b, c):
    with t.check("A is promoted again, on a certificate by B: C and B hear of it with a chain of proofs"):
        true(certified(a) > 0, "no certificate by B")
        for node in b.nodes:
            node.kill()
        a.active().write(P + "secondary/promote", {}, timeout=60)
        wait_for("A to take writes", lambda: a.any().put_kv("third", "1"), 30)
        equal(epoch(a)["number"], 3)
        for node in b.nodes:
            node.start()
            b.unseal(node)
        wait_for("B to be fenced", lambda: is_fenced(b), 60)
        equal(status(leader(b), KIND)["alarms"], 0)
        move(a, c, "c3")
        in_step(a, c, KIND)
        equal(epoch(c)["number"], 3)


def revoked(t, a, c):
    with t.check("a revoked secondary is promoted by force of its operator: it proves nothing, A goes on"):
        true(certified(c) > 0, "no certificate by A")
        a.active().write(P + "primary/revoke-secondary", {"id": "c3"})
        wait_for("C to be cut", lambda: status(c.active(), KIND)["state"] != "stream-wals", 30)
        c.active().write(P + "secondary/promote", {"force": True}, timeout=60)
        wait_for("C to be a primary", lambda: status(c.active(), KIND)["mode"] == "primary", 30)
        equal(epoch(c)["number"], 4)
        wait_for("A to have refused it", lambda: any("of secondary \"c3\" was revoked" in n.log() for n in a.nodes + c.nodes), 60)
        equal(status(a.active(), KIND)["state"], "running")
        wait_for("A to take writes", lambda: a.any().put_kv("still", "1"), 30)
    with t.check("A's operator demotes it and gives it a token of C: that is his word, and it follows without a proof"):
        c.active().put_kv("of-c", "1")
        leader(a).write(P + "primary/demote", {}, timeout=60)
        wait_for("A to be a secondary", lambda: status(a.active(), KIND)["mode"] == "secondary", 30)
        move(c, a, "a4")
        equal(epoch(a)["number"], 4)
        in_step(c, a, KIND)
        equal(a.any().ask("GET", "secret/data/of-c", token=replicas.login(a))[0], 200)
        wait_for("it to be certified by C", lambda: certified(a) > 0, 30)


def move(primary, secondary, name):
    token = replicas.secondary_token(primary, KIND, name)
    secondary.active().write(P + "secondary/update-primary", {"token": token}, timeout=60)
    streaming(secondary, KIND)


def main():
    arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("promotion"):
            a = world.cluster("a").up()
            b, c = (world.cluster(name, nodes=1).up(kv=False) for name in "bc")
            replicas.add_operator(a)
            replicas.enable_primary(a, KIND)
            for cluster in (b, c):
                replicas.attach(a, cluster, KIND, cluster.name)
                cluster.root = replicas.login(cluster)
            claims(t, a)
            come_back(t, a, b, c)
            back_again(t, a, b, c)
            revoked(t, a, c)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
