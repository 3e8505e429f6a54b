#!/usr/bin/env python3
"""Requests of real clients while leaders change: each has one effect at most, an error means none; reads by session
and stale reads, on every node."""
import base64
import http.client
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, World, arguments, wait_for  # noqa: E402
from counters import LOST, Counter, ask  # noqa: E402

STALE = {"X-Coffer-Consistency": "stale"}
STALE_MAX_MS = 10000


def at_most_once(t, cluster, rounds):
    """P-5, P-54: clients of standbys while the leader is killed: no client hears of it."""
    for i in range(rounds):
        with t.check("session_dedupe_failover, forward_at_most_once, round %d" % (i + 1)):
            leader = cluster.active()
            counters = [Counter(node, "count%d-%s-%d" % (i, node.name, k))
                        for node in cluster.standbys() for k in range(6)]
            for counter in counters:
                counter.start()
            for counter in counters:
                counter.until(5)
            leader.kill()
            for counter in counters:
                counter.until(counter.version + 5)
            for counter in counters:
                counter.stop()
                equal((counter.verdict(cluster.any()), counter.is_unknown), (None, False))
            refused = sum(c.answers.get(503, 0) for c in counters)
            t.note("round %d: %d writes, %d answers 503, none 504" % (
                i + 1, sum(c.version for c in counters), refused))
            leader.start()
            cluster.unseal(leader)
            cluster.caught_up(leader)
    with t.check("forward_at_most_once: the leader is paused in the middle, and wakes up"):
        leader = cluster.active()
        counters = [Counter(node, "paused-%s-%d" % (node.name, k))
                    for node in cluster.standbys() for k in range(6)]
        for counter in counters:
            counter.start()
        for counter in counters:
            counter.until(5)
        leader.pause()
        for counter in counters:
            counter.until(counter.version + 5)
        leader.resume()
        for counter in counters:
            counter.until(counter.version + 5)
        for counter in counters:
            counter.stop()
            equal((counter.verdict(cluster.any()), counter.is_unknown), (None, False))


def errors_mean_nothing(t, cluster):
    """P-4: whatever was answered with an error, and not with 504 or silence, is not there."""
    with t.check("api_error_means_no_effect: kills and step-downs under writes to all nodes"):
        tried = []
        done = threading.Event()

        def write(node, name):
            n = 0
            while not done.is_set():
                key = "error-%s/%d" % (name, n)
                n += 1
                status = ask(node, "POST", "secret/data/" + key, {"data": {"v": "1"}}, timeout=60)[0]
                tried.append((key, status))
                if status == LOST:
                    time.sleep(0.02)
        threads = [threading.Thread(target=write, args=(node, "%s-%d" % (node.name, k)), daemon=True)
                   for node in cluster.nodes for k in range(4)]
        for thread in threads:
            thread.start()
        for i in range(3):
            wanted = len(tried) + 200
            wait_for("200 more answers", lambda: len(tried) >= wanted, 60)
            leader = cluster.active()
            if i == 1:
                leader.write("sys/step-down")
                continue
            leader.kill()
            cluster.active(other_than=leader)
            leader.start()
            cluster.unseal(leader)
        done.set()
        for thread in threads:
            thread.join(90 * SLOW)
        cluster.active()
        failed = [(key, status) for key, status in tried if status not in (200, 504, LOST)]
        there = [(key, status) for key, status in failed
                 if cluster.any().ask("GET", "secret/data/" + key)[0] != 404]
        equal(there, [], "answered with an error, and there")
        gone = [key for key, status in tried if status == 200
                and cluster.any().ask("GET", "secret/metadata/" + key)[0] != 200]
        equal(gone, [], "acknowledged and not there")
        true(all(status in (200, 503, 504, LOST) for _, status in tried),
             "answers %s" % sorted({str(status) for _, status in tried}))
        t.note("%d answers, %d errors, %d unknown" % (
            len(tried), len(failed), sum(status in (504, LOST) for _, status in tried)))


WRITER_POLICY = 'path "%s/*" { capabilities = ["create", "update"] }'


def taken_away(t, cluster):
    """Issue 5.1: clients of every node write while what allows them to is taken away on another one."""
    rng = random.Random(9)

    def on(method, path, body=None, **kwargs):
        return rng.choice(cluster.nodes).call(method, path, body, **kwargs)

    def log_in(mount):
        on("POST", "sys/auth/" + mount, {"type": "approle"})
        on("POST", "auth/%s/role/r" % mount, {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.0/8"],
                                              "token_policies": [mount]})
        role = on("GET", "auth/%s/role/r/role-id" % mount)["data"]["role_id"]
        return on("POST", "auth/%s/login" % mount, {"role_id": role}, token="")["auth"]

    def values(mount):
        """Of the writers' keys, from any node; the mount may be gone."""
        found = {}
        for i in range(6):
            status, body, _ = rng.choice(cluster.nodes).ask("GET", "%s/w%d" % (mount, i))
            found[i] = body["data"]["v"] if status == 200 else status
        return found
    losses = (
        ("the token is revoked", lambda m, auth: on("POST", "auth/token/revoke", {"token": auth["client_token"]})),
        ("the policy says deny", lambda m, auth: on("POST", "sys/policies/acl/" + m, {
            "policy": 'path "%s/*" { capabilities = ["deny"] }' % m})),
        ("the mount is gone", lambda m, auth: on("DELETE", "sys/mounts/" + m)),
        ("the entity is disabled", lambda m, auth: on("POST", "identity/entity/id/" + auth["entity_id"],
                                                      {"disabled": True})),
        ("the auth method is gone", lambda m, auth: on("DELETE", "sys/auth/" + m)))
    for number, (what, take) in enumerate(losses):
        with t.check("no write lands after %s" % what):
            mount = "gone%d" % number
            on("POST", "sys/mounts/" + mount, {"type": "kv"})
            on("POST", "sys/policies/acl/" + mount, {"policy": WRITER_POLICY % mount})
            auth = log_in(mount)
            done, acknowledged, late, refused = threading.Event(), [0] * 6, [], [0] * 6
            over = threading.Event()

            def write(i):
                node, n = cluster.nodes[i % 3], 0
                while not done.is_set():
                    n += 1
                    begins_after = over.is_set()
                    status = ask(node, "POST", "%s/w%d" % (mount, i), {"v": n}, token=auth["client_token"])[0]
                    if status == 204:
                        acknowledged[i] = n
                        if begins_after:
                            late.append((i, n))
                    elif begins_after:
                        refused[i] += 1
            threads = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(6)]
            for thread in threads:
                thread.start()
            wait_for("20 writes of each", lambda: min(acknowledged) >= 20, 60)
            take(mount, auth)
            over.set()
            seen = values(mount)
            wait_for("5 refusals of each", lambda: min(refused) >= 5, 60)
            done.set()
            for thread in threads:
                thread.join(60 * SLOW)
            equal(late, [], "let through")
            equal(values(mount), seen, "changed afterwards")
            if what != "the mount is gone":
                true(all(seen[i] >= acknowledged[i] for i in range(6)), "%s, acknowledged %s" % (seen, acknowledged))


def lease_quota(t, cluster):
    """A limit of leases holds over all nodes and over a change of leaders."""
    rng = random.Random(11)
    node = cluster.nodes[0]
    node.write("sys/auth/limited", {"type": "approle"})
    node.write("auth/limited/role/r", {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.0/8"]})
    role = node.read("auth/limited/role/r/role-id")["data"]["role_id"]

    def log_in(retry=True):
        """While a new leader counts, the answer is 503."""
        for _ in range(200):
            answer = ask(rng.choice(cluster.nodes), "POST", "auth/limited/login", {"role_id": role}, token="")
            if answer[0] not in (503, LOST) or not retry:
                return answer
            time.sleep(0.05)
        return answer
    with t.check("lease-count quota: 10 logins over all nodes, the 11th is told why not"):
        node.write("sys/quotas/lease-count/limited", {"path": "auth/limited", "max_leases": 10})
        answers = [log_in() for _ in range(12)]
        equal([a[0] for a in answers], [200] * 10 + [429] * 2)
        equal(answers[-1][1]["errors"], ['request path "auth/limited/login": lease count quota exceeded'])
        equal([n.read("sys/quotas/lease-count/limited")["data"]["counter"] for n in cluster.nodes], [10] * 3)
    with t.check("lease-count quota: a new leader knows how many there are"):
        leader = cluster.active()
        leader.write("sys/step-down")
        cluster.active(other_than=leader)
        equal(log_in()[0], 429)
        rng.choice(cluster.nodes).write("auth/token/revoke", {"token": answers[3][1]["auth"]["client_token"]})
        equal([log_in()[0] for _ in range(2)], [200, 429])
        equal(cluster.any().read("sys/quotas/lease-count/limited")["data"]["counter"], 10)


def any_node(t, cluster):
    """P-54: what a client does, each step on another node."""
    with t.check("any_node_any_request: a client's day, each request on another node"):
        rng = random.Random(4)

        def on(method, path, body=None, **kwargs):
            return rng.choice(cluster.nodes).call(method, path, body, **kwargs)
        for i in range(10):
            name = "day%d" % i
            on("POST", "sys/mounts/" + name, {"type": "kv", "options": {"version": "2"}})
            on("POST", "sys/policies/acl/" + name,
               {"policy": 'path "%s/*" { capabilities = ["create", "read", "update", "list"] }' % name})
            token = on("POST", "auth/token/create", {"policies": [name], "num_uses": 4})["auth"]["client_token"]
            on("POST", name + "/data/a", {"data": {"v": str(i)}}, token=token)
            equal(on("GET", name + "/data/a", token=token)["data"]["data"]["v"], str(i))
            equal(on("LIST", name + "/metadata", token=token)["data"]["keys"], ["a"])
            on("POST", name + "/data/a", {"data": {"v": "last use"}}, token=token)
            equal(rng.choice(cluster.nodes).ask("GET", name + "/data/a", token=token)[0], 403)
            on("POST", "sys/mounts/%s/tune" % name, {"description": "of " + name})
            equal(on("GET", "sys/mounts/%s/tune" % name)["description"], "of " + name)
            on("DELETE", "sys/policies/acl/" + name)
            on("DELETE", "sys/mounts/" + name)
            equal(rng.choice(cluster.nodes).ask("GET", name + "/data/a")[0], 404)


def sessions(t, cluster):
    """P-3, and what the headers say."""
    rng = random.Random(5)
    with t.check("standby_read_your_writes: 300 writes, each read stale elsewhere with its X-Vault-Index"):
        stale = 0
        for i in range(300):
            a, b = rng.sample(cluster.nodes, 2)
            status, _, headers = a.ask("POST", "secret/data/session", {"data": {"v": str(i)}})
            equal(status, 200)
            seen = headers["X-Vault-Index"]
            status, body, headers = b.ask("GET", "secret/data/session",
                                          headers={"X-Vault-Index": seen, **STALE})
            equal(status, 200)
            equal(body["data"]["data"]["v"], str(i), "%s after %s" % (b.name, a.name))
            true("X-Vault-Index" in headers, "an answer without X-Vault-Index")
            stale += "X-Coffer-Staleness-Ms" in headers
        true(stale > 100, "only %d of 300 were answered without asking" % stale)
        t.note("%d of 300 session reads needed no round" % stale)
    with t.check("standby_read_your_writes: a session never sees less than it saw, wherever it reads"):
        done = threading.Event()

        def write():
            n = 0
            while not done.is_set():
                n += 1
                cluster.nodes[0].put_kv("forward-only", str(n))
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        wait_for("the first write", lambda: cluster.nodes[1].ask("GET", "secret/data/forward-only")[0] == 200)
        seen, last = [], 0
        for i in range(300):
            status, body, headers = rng.choice(cluster.nodes).ask(
                "GET", "secret/data/forward-only",
                headers={**STALE, **({"X-Vault-Index": seen[-1]} if seen else {})})
            equal(status, 200)
            value = int(body["data"]["data"]["v"])
            true(value >= last, "%d after %d" % (value, last))
            last = value
            if "X-Vault-Index" in headers:
                seen.append(headers["X-Vault-Index"])
        done.set()
        writer.join(30 * SLOW)
    with t.check("what is not ours is refused, what is another cluster's asks for nothing"):
        node = cluster.nodes[1]
        text = base64.b64decode(seen[-1]).decode()
        version, cluster_id, local, replicated, mac = text.split(":")
        for bad in ("nonsense", "%%%", base64.b64encode(b"v1:x").decode(),
                    base64.b64encode((":".join([version, cluster_id, "999999999", replicated, mac]))
                                     .encode()).decode()):
            equal(node.ask("GET", "secret/data/session", headers={"X-Vault-Index": bad})[0], 400, bad)
        other = ":".join([version, "00000000-0000-0000-0000-000000000001", "999999999", "0", mac])
        equal(node.ask("GET", "secret/data/session",
                       headers={"X-Vault-Index": base64.b64encode(other.encode()).decode()})[0], 200)
        equal(node.ask("GET", "secret/data/session", headers={"X-Coffer-Consistency": "any"})[0], 400)
        for consistency, code in (("stale", 0), ("any", 2)):
            done = node.cli("read", "-header=X-Coffer-Consistency=" + consistency, "secret/data/session")
            equal(done[0], code, done)
        for headers in ({"X-Vault-Forward": "active-node"}, {"X-Vault-Inconsistent": "forward-active-node"}):
            status, body, _ = node.ask("GET", "secret/data/session", headers=headers)
            equal(status, 400)
            true("disabled in configuration" in body["errors"][0], body)
    with t.check("a mount that is tuned to stale reads, and back"):
        node = cluster.standbys()[0]
        node.write("sys/mounts/tuned", {"type": "kv", "options": {"version": "2"}})
        node.put_kv("a", "1", mount="tuned")
        node.write("sys/mounts/tuned/tune", {"read_consistency": "stale"})
        equal(node.read("sys/mounts/tuned/tune").get("read_consistency"), "stale")
        equal(node.ask("POST", "sys/mounts/tuned/tune", {"read_consistency": "sloppy"})[0], 400)
        wait_for("an answer without asking", lambda: "X-Coffer-Staleness-Ms" in node.ask(
            "GET", "tuned/data/a")[2])
        node.write("sys/mounts/tuned/tune", {"read_consistency": "linearizable"})
        wait_for("the standby to have the tuning", lambda: "X-Coffer-Staleness-Ms" not in node.ask(
            "GET", "tuned/data/a")[2])


def cut_off(t, cluster):
    """A node that hears of nobody any more."""
    with t.check("a node that has not got there: 412, then the answer"):
        left = cluster.standbys()[0]
        others = [n for n in cluster.nodes if n is not left]
        left.pause()
        _, _, headers = others[0].ask("POST", "secret/data/later", {"data": {"v": "later"}}, timeout=30)
        for node in others:
            node.pause()
        left.resume()
        status, body, _ = left.ask("GET", "secret/data/later",
                                   headers={"X-Vault-Index": headers["X-Vault-Index"]})
        for node in others:
            node.resume()
        equal((status, body), (412, {"errors": ["required index state not present"]}))
        wait_for("the write to arrive", lambda: ask(left, "GET", "secret/data/later", headers={
            "X-Vault-Index": headers["X-Vault-Index"]})[0] == 200, 30)
        cluster.active()
    with t.check("standby_staleness_bound: alone, a node answers stale reads for a while, and then none"):
        left = cluster.standbys()[0]
        others = [n for n in cluster.nodes if n is not left]
        wait_for("an answer without asking", lambda: "X-Coffer-Staleness-Ms" in left.ask(
            "GET", "secret/data/later", headers=STALE)[2])
        for node in others:
            node.pause()
        ages, status = [], 200
        for _ in range(4000):
            status, _, headers = left.ask("GET", "secret/data/later", headers=STALE, timeout=60)
            if status != 200:
                break
            ages.append(int(headers.get("X-Coffer-Staleness-Ms", "0")))
            time.sleep(0.01)
        for node in others:
            node.resume()
        equal(status, 503)
        true(len(ages) > 10 and max(ages) <= STALE_MAX_MS, "%d answers, %d ms" % (len(ages), max(ages)))
        true(ages[-1] > ages[0], "the age does not grow: %d, %d" % (ages[0], ages[-1]))
        t.note("alone: %d stale answers, the last one of a state %d ms old" % (len(ages), ages[-1]))
        cluster.active()


def health(t, cluster):
    """sys/health and sys/leader as clients and balancers read them."""
    def code(node, query=""):
        return node.ask("GET", "sys/health" + query, token="")[0]
    active, standby = cluster.active(), cluster.standbys()[0]
    with t.check("sys/health of active and standby, with every parameter"):
        equal([code(active), code(standby)], [200, 429])
        equal(code(active, "?activecode=299"), 299)
        equal(code(active, "?standbycode=299"), 200)
        equal(code(standby, "?standbycode=299"), 299)
        equal(code(standby, "?standbyok=true"), 200)
        equal(code(standby, "?standbyok"), 200)
        equal(code(standby, "?standbyok=true&activecode=298"), 298)
        equal(code(standby, "?standbyok=false"), 429)
        equal(code(standby, "?perfstandbyok=true"), 429)
        equal(code(standby, "?sealedcode=299&uninitcode=299&drsecondarycode=299"
                            "&performancestandbycode=299"), 429)
        for name in ("activecode", "standbycode", "performancestandbycode", "drsecondarycode",
                     "sealedcode", "uninitcode"):
            equal(code(standby, "?%s=nonsense" % name), 400, name)
        equal(standby.ask("HEAD", "sys/health", token="")[0], 429)
        bodies = [n.ask("GET", "sys/health", token="")[1] for n in (active, standby)]
        for body, is_standby in zip(bodies, (False, True)):
            equal((body["initialized"], body["sealed"], body["standby"], body["performance_standby"]),
                  (True, False, is_standby, False))
            equal((body["replication_performance_mode"], body["replication_dr_mode"]),
                  ("disabled", "disabled"))
            true(abs(body["server_time_utc"] - time.time()) < 60, body["server_time_utc"])
            true("cluster_id" in body and "cluster_name" in body and "version" in body, body)
        true(bodies[0]["last_wal"] > 0 and "last_wal" not in bodies[1], "last_wal")
    with t.check("sys/leader of active and standby"):
        of_active, of_standby = active.leader(), standby.leader()
        for answer, is_self in ((of_active, True), (of_standby, False)):
            equal((answer["ha_enabled"], answer["is_self"]), (True, is_self))
            equal((answer["leader_address"], answer["leader_cluster_address"]),
                  (active.addr, active.cluster_addr))
            true(answer["raft_committed_index"] >= 1 and answer["raft_applied_index"] >= 1, answer)
            equal((answer["performance_standby"], answer["performance_standby_last_remote_wal"]), (False, 0))
        true(not of_active["active_time"].startswith("0001") and "last_wal" in of_active, of_active)
        true(of_standby["active_time"].startswith("0001") and "last_wal" not in of_standby, of_standby)


def before_init(t, world):
    with t.check("sys/health and sys/leader of a node that is not initialised, and of a sealed one"):
        cluster = world.cluster("fresh", nodes=1, seal="shamir")
        cluster.start()
        node = cluster.nodes[0]
        status, body, _ = node.ask("GET", "sys/health", token="")
        equal((status, body["initialized"], body["sealed"], body["standby"]), (501, False, True, True))
        equal(body["replication_performance_mode"], "unknown")
        true("cluster_id" not in body, body)
        equal(node.ask("GET", "sys/health?uninitcode=299", token="")[0], 299)
        equal(node.ask("GET", "sys/leader", token="")[0], 503)
        cluster.init()
        status, body, _ = node.ask("GET", "sys/health", token="")
        equal((status, body["initialized"], body["sealed"], body["standby"]), (503, True, True, True))
        equal((body["replication_performance_mode"], body["replication_dr_mode"]), ("unknown", "unknown"))
        equal(node.ask("GET", "sys/health?sealedcode=299&standbyok=true", token="")[0], 299)
        equal(node.ask("GET", "sys/leader", token="")[:2], (503, {"errors": ["Vault is sealed"]}))
        cluster.unseal(node)
        wait_for("the node to be active", lambda: node.health() == 200, 30)
        world.end(cluster)


def forwarded(t, world):
    with t.check("with allow_forwarding_via_header: a lagging node forwards, and so does who is asked to"):
        cluster = world.cluster("fwd", extra=("replication {", "  allow_forwarding_via_header = true", "}"))
        cluster.up()
        standby = cluster.standbys()[0]
        standby.put_kv("a", "1")
        for headers in ({"X-Vault-Forward": "active-node"}, {"X-Vault-Inconsistent": "forward-active-node"}):
            status, body, _ = standby.ask("GET", "secret/data/a", headers=headers)
            equal((status, body["data"]["data"]["v"]), (200, "1"))
        equal(standby.ask("GET", "secret/data/a", token="no token",
                          headers={"X-Vault-Forward": "active-node"})[0], 403)
        standby.pause()
        _, _, headers = cluster.active().ask("POST", "secret/data/a", {"data": {"v": "2"}}, timeout=30)
        standby.resume()
        status, body, _ = standby.ask("GET", "secret/data/a", headers={
            "X-Vault-Index": headers["X-Vault-Index"], "X-Vault-Inconsistent": "forward-active-node"})
        equal((status, body["data"]["data"]["v"]), (200, "2"))
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def shared():
            """The scenarios that use one cluster after each other."""
            cluster = world.cluster("n").up()
            health(t, cluster)
            any_node(t, cluster)
            taken_away(t, cluster)
            lease_quota(t, cluster)
            sessions(t, cluster)
            at_most_once(t, cluster, 5 if opts.long else 2)
            errors_mean_nothing(t, cluster)
            cut_off(t, cluster)
            world.end(cluster)

        for name, call in (("shared", shared), ("fresh", lambda: before_init(t, world)),
                           ("forwarded", lambda: forwarded(t, world))):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
