#!/usr/bin/env python3
"""Clients of a performance secondary while its primary dies, and while another cluster is promoted: each write has one
effect at most, an error means none; X-Vault-Index there; sys/health and sys/leader of secondaries."""
import base64
import os
import random
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, World, arguments, disk_tool, wait_for  # noqa: E402
from counters import Counter, ask  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

STALE = {"X-Coffer-Consistency": "stale"}


def under_writes(t, a, b, name, disturb):
    """Counters over every node of B, while the primary is disturbed."""
    counters = [Counter(node, "%s-%s-%d" % (name, node.name, k)) for node in b.nodes for k in range(6)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.until(5)
    disturb(counters)
    for counter in counters:
        counter.until(counter.version + 5)
    for counter in counters:
        counter.stop()
    equal([v for v in (counter.verdict(a.any()) for counter in counters) if v], [])
    t.note("%s: %d writes, %d answers 503, %d answers 504" % (
        name, sum(c.version for c in counters), sum(c.answers.get(503, 0) for c in counters),
        sum(c.is_unknown for c in counters)))
    return counters


def older_primary(t, a, b):
    """What was sent to a node that keeps no records is never sent again: 504, where others hear nothing."""
    with t.check("a primary of the level before: kill -9 of its leader, no write twice"):
        leader = a.active()

        def kill(_):
            leader.kill()
        counters = under_writes(t, a, b, "older", kill)
        true(sum(c.version for c in counters) > 5 * len(counters), "too few writes")


def primary_dies(t, a, b, rounds):
    for i in range(rounds):
        with t.check("forward_at_most_once: kill -9 of the primary's leader under the secondary's writes, round %d"
                     % (i + 1)):
            leader = a.active()

            def kill(_):
                leader.kill()
            counters = under_writes(t, a, b, "kill%d" % i, kill)
            leader.start()
            a.unseal(leader)
            a.caught_up(leader)
            in_step(a, b, "performance")
            for node in b.nodes:
                equal([v for v in (counter.verdict(node) for counter in counters) if v], [], node.name)
    with t.check("forward_at_most_once: the primary's leader is paused in the middle, and wakes up"):
        leader = a.active()

        def pause(counters):
            leader.pause()
            a.active(other_than=leader)
            for counter in counters:
                counter.until(counter.version + 5)
            leader.resume()
        under_writes(t, a, b, "pause", pause)
    with t.check("forward_at_most_once: the primary's leader steps down, three times"):
        def step_down(counters):
            for _ in range(3):
                a.active().write("sys/step-down")
                for counter in counters:
                    counter.until(counter.version + 3)
        under_writes(t, a, b, "down", step_down)


class Approle:
    """A role of a shared method, whose secret-ids are counted in the primary."""

    def __init__(self, cluster, mount, **fields):
        self.node, self.path = cluster.active(), "auth/%s/role/r" % mount
        self.login_path = "auth/%s/login" % mount
        self.node.write("sys/auth/" + mount, {"type": "approle"})
        self.node.write("sys/auth/%s/tune" % mount, {"user_lockout_config": {"lockout_disable": True}})
        self.node.write(self.path, dict({"token_policies": "default", "token_ttl": "1h"}, **fields))
        self.role_id = self.node.read(self.path + "/role-id")["data"]["role_id"]

    def secret(self, uses, known_to=None):
        secret = self.node.write(self.path + "/secret-id",
                                 {"num_uses": uses, "metadata": '{"for": "b"}'})["data"]["secret_id"]
        for node in known_to.nodes if known_to else ():
            wait_for("%s to know the secret-id" % node.name, lambda: self.left(node, secret) == uses, 30)
        return secret

    def login(self, node, secret, **kwargs):
        return ask(node, "POST", self.login_path, {"role_id": self.role_id, "secret_id": secret}, token="", **kwargs)

    def left(self, node, secret):
        """Uses, as a node knows them; 0: the secret-id is gone."""
        status, body, _ = node.ask("POST", self.path + "/secret-id/lookup", {"secret_id": secret})
        return body["data"]["secret_id_num_uses"] if status == 200 else 0


def counted_logins(t, a, b):
    """Design 5.4: a use is spent in the primary, the token is made in the secondary."""
    role = Approle(a, "counted")
    in_step(a, b, "performance")
    with t.check("a counted secret-id logs in through every node of the secondary, as often as it may"):
        secret = role.secret(3, b)
        for node in (b.active(), b.standbys()[0]):
            status, body, _ = role.login(node, secret)
            equal((status, body.get("errors")), (200, None))
            auth = body["auth"]
            equal((auth["metadata"], auth["lease_duration"], auth["policies"], auth["renewable"]),
                  ({"role_name": "r", "for": "b"}, 3600, ["default"], True))
            for own in b.nodes:
                equal(own.ask("GET", "auth/token/lookup-self", token=auth["client_token"])[0], 200, own.name)
            equal(node.ask("POST", "auth/token/renew-self", {}, token=auth["client_token"])[0], 200)
            equal(a.any().ask("GET", "auth/token/lookup-self", token=auth["client_token"])[0], 403, "known to A")
            equal(a.any().read("identity/entity/id/" + auth["entity_id"])["data"]["id"], auth["entity_id"])
        equal(role.left(a.any(), secret), 1)
        status, body, _ = role.login(b.standbys()[0], secret, headers={"X-Vault-Wrap-TTL": "60s"})
        equal((status, body["auth"], body["wrap_info"]["creation_path"]), (200, None, role.login_path))
        unwrapped = b.any().write("sys/wrapping/unwrap", {"token": body["wrap_info"]["token"]})
        equal(b.any().ask("GET", "auth/token/lookup-self", token=unwrapped["auth"]["client_token"])[0], 200)
        for node in b.nodes:
            equal(role.login(node, secret)[0], 400, node.name)
        equal((role.left(a.any(), secret), role.left(b.any(), secret)), (0, 0))
        equal([n.ask("POST", role.login_path, {"role_id": role.role_id, "secret_id": "wrong"}, token="")[0]
               for n in b.nodes], [400] * len(b.nodes))
    with t.check("of 30 logins at once through both clusters, with 10 uses, 10 get a token"):
        secret, answers = role.secret(10, b), []
        threads = [threading.Thread(target=lambda n: answers.append(role.login(n, secret)[0]), args=(node,))
                   for node in 5 * (a.nodes + b.nodes + b.nodes[:1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 * SLOW)
        equal((answers.count(200), answers.count(400)), (10, len(threads) - 10), str(answers))
        equal(role.left(a.any(), secret), 0)
    with t.check("a use is spent once while the primary's leader dies, and what was not answered is unknown"):
        uses = 100000
        secret, answers, done = role.secret(uses, b), [], threading.Event()

        def log_in(node):
            while not done.is_set():
                answers.append(role.login(node, secret, timeout=80)[0])
        threads = [threading.Thread(target=log_in, args=(node,), daemon=True) for node in 3 * b.nodes]
        for thread in threads:
            thread.start()
        wait_for("20 logins", lambda: answers.count(200) >= 20, 60)
        leader = a.active()
        leader.kill()
        a.active(other_than=leader)
        wanted = answers.count(200) + 20
        wait_for("20 more", lambda: answers.count(200) >= wanted, 60)
        done.set()
        for thread in threads:
            thread.join(90 * SLOW)
        leader.start()
        a.unseal(leader)
        a.caught_up(leader)
        in_step(a, b, "performance")
        spent = uses - role.left(a.any(), secret)
        unknown = sum(status in (504, "lost") for status in answers)
        true(answers.count(200) <= spent <= answers.count(200) + unknown,
             "%d spent, %d answered, %d unknown" % (spent, answers.count(200), unknown))
        true(set(answers) <= {200, 503, 504}, "answers %s" % sorted(map(str, set(answers))))
        t.note("%d logins, %d answers 503, %d answers 504" % (answers.count(200), answers.count(503), unknown))


def indexes(t, a, b):
    """replication.md, acceptance 10."""
    rng = random.Random(6)
    with t.check("standby_read_your_writes: 200 forwarded writes, each read stale with its X-Vault-Index"):
        late, without = 0, 0
        for i in range(200):
            one, two = rng.sample(b.nodes, 2)
            code, body, headers = one.ask("POST", "secret/data/session", {"data": {"v": str(i)}})
            equal(code, 200, body)
            seen = headers["X-Vault-Index"]
            code, body, headers = two.ask("GET", "secret/data/session", headers={"X-Vault-Index": seen, **STALE})
            true(code in (200, 412), body)
            if code == 412:
                late += 1
                continue
            equal(body["data"]["data"]["v"], str(i), "%s after %s" % (two.name, one.name))
            without += "X-Coffer-Staleness-Ms" in headers
        true(late < 100, "%d of 200 answers 412" % late)
        t.note("%d of 200 answers 412, %d needed no round" % (late, without))
    with t.check("a secondary that cannot take what its primary took: 412, then the value, and never the old one"):
        node, standby = b.active(), b.standbys()[0]
        node.put_kv("late", "old")
        in_step(a, b, "performance")
        standby.pause()
        code, body, headers = ask(node, "POST", "secret/data/late", {"data": {"v": "new"}}, timeout=60)
        seen = headers.get("X-Vault-Index", "")
        answers = []
        for _ in range(6):  # each waits for half a second
            answers.append(ask(node, "GET", "secret/data/late", headers={"X-Vault-Index": seen, **STALE})[:2])
        standby.resume()
        equal(code, 200, body)
        true(int(base64.b64decode(seen).split(b":")[3]) > 0, "no index of the primary in %r" % seen)
        equal({str(s) for s, _ in answers} - {"412", "503"}, set(), "answers without a quorum")
        true(any(s == 412 for s, _ in answers), answers[0])
        for reader in b.nodes:
            def arrived():
                code, body, _ = ask(reader, "GET", "secret/data/late", headers={"X-Vault-Index": seen, **STALE})
                true(code in (200, 412, 503), body)
                if code == 200:
                    equal(body["data"]["data"]["v"], "new")
                return code == 200
            wait_for("%s to have the write" % reader.name, arrived, 30)
        b.active()
        streaming(b, "performance")


# ---------------------------------------------------------------- what nodes say of themselves

CODES = ("activecode", "standbycode", "performancestandbycode", "drsecondarycode", "sealedcode", "uninitcode")


def says(node, query="", method="GET"):
    return node.ask(method, "sys/health" + query, token="")[0]


def health(t, primary, performance, recovery):
    """replication.md 3.6, 3.7: code, the parameter that overrides it, the modes; every other parameter is without
    effect."""
    rows = (("the primary, active", primary.active(), 200, "activecode", "primary", "primary"),
            ("a performance secondary, active", performance.active(), 200, "activecode", "secondary", "disabled"),
            ("a performance secondary, standby", performance.standbys()[0], 429, "standbycode", "secondary",
             "disabled"),
            ("a DR secondary, active", recovery.active(), 472, "drsecondarycode", None, "secondary"),
            ("a DR secondary, standby", recovery.standbys()[0], 472, "drsecondarycode", None, "secondary"))
    for name, node, code, own, performance_mode, dr_mode in rows:
        with t.check("sys/health of %s" % name):
            active = node.leader()["is_self"]
            equal((says(node), says(node, method="HEAD")), (code, code))
            for parameter in CODES:
                equal(says(node, "?%s=299" % parameter), 299 if parameter == own else code, parameter)
                equal(says(node, "?%s=299" % parameter, "HEAD"), 299 if parameter == own else code, parameter)
                for bad in ("nonsense", "99", "600", "-1", "2.5", "0x"):
                    equal(says(node, "?%s=%s" % (parameter, bad)), 400, "%s=%s" % (parameter, bad))
            equal(says(node, "?" + "&".join("%s=299" % c for c in CODES)), 299)
            ok = 200 if own == "standbycode" else code
            for query, want in (("standbyok=true", ok), ("standbyok", ok), ("standbyok=false", code),
                                ("perfstandbyok=true", code), ("standbyok=true&perfstandbyok=true", ok)):
                equal(says(node, "?" + query), want, query)
            equal(says(node, "?standbyok=true&activecode=298"), 298 if own in ("standbycode", "activecode") else code)
            body = node.ask("GET", "sys/health", token="")[1]
            equal((body["initialized"], body["sealed"], body["standby"], body["performance_standby"]),
                  (True, False, not active, False))
            equal(body["replication_dr_mode"], dr_mode)
            if performance_mode is not None:
                equal(body["replication_performance_mode"], performance_mode)
            equal("last_wal" in body, active)
            true("cluster_id" in body and "cluster_name" in body and "version" in body, body)
            true(abs(body["server_time_utc"] - time.time()) < 60, body["server_time_utc"])
        with t.check("sys/leader of %s" % name):
            cluster = node.cluster
            leader, answer = cluster.active(), node.leader()
            equal((answer["ha_enabled"], answer["is_self"]), (True, node is leader))
            equal((answer["leader_address"], answer["leader_cluster_address"]), (leader.addr, leader.cluster_addr))
            equal((answer["performance_standby"], answer["performance_standby_last_remote_wal"]), (False, 0))
            true(answer["raft_committed_index"] >= 1 and answer["raft_applied_index"] >= 1, answer)
            equal(answer["active_time"].startswith("0001"), node is not leader)
            equal("last_wal" in answer, node is leader)
            equal(node.ask("GET", "sys/leader", token="nonsense")[0], 200)


# ---------------------------------------------------------------- a promotion in the middle of a write

class Relay(threading.Thread):
    """Bytes between a port of its own and another one; hold() keeps what comes back."""

    def __init__(self, port, to):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.to = to
        self.pairs = {}     # socket -> (its other end, whether it is the near one)
        self.holds = threading.Event()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            ready = [s for s in [self.listener, *self.pairs]
                     if s is self.listener or self.pairs[s][1] or not self.holds.is_set()]
            for one in select.select(ready, [], [], 0.02)[0]:
                if one is self.listener:
                    self._accept()
                elif one in self.pairs:
                    self._pass_on(one)
        for one in [self.listener, *self.pairs]:
            one.close()

    def _accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(self.to, timeout=5)
        except OSError:
            near.close()
            return
        self.pairs[near] = (far, True)
        self.pairs[far] = (near, False)

    def _pass_on(self, one):
        other = self.pairs[one][0]
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (one, other):
            self.pairs.pop(end, None)
            end.close()

    def stop(self):
        self.ended.set()
        self.join(10)


def promotion(t, a, b, c, relay):
    """A runs a write of B's client and ships it; its answer never arrives; A dies, C is promoted."""
    tried = []

    def write(key, cas):
        tried.append((key, ask(b.nodes[0], "POST", "secret/data/" + key,
                               {"data": {"v": "mine"}, "options": {"cas": cas}}, timeout=80)))

    def version(cluster, key):
        code, body, _ = cluster.any().ask("GET", "secret/metadata/" + key)
        return body["data"]["current_version"] if code == 200 else 0
    keys = ["cut-%d" % i for i in range(5)]
    role, logins = Approle(a, "cut"), []
    secrets = [role.secret(1), role.secret(3)]  # the last use of one is spent by the first try
    with t.check("writes of B's clients run on A and reach C; their answers don't come"):
        b.nodes[0].put_kv("warm", "1")
        in_step(a, b, "performance")
        in_step(a, c, "dr")
        relay.holds.set()
        writers = [threading.Thread(target=write, args=(key, 0), daemon=True) for key in keys]
        writers += [threading.Thread(target=lambda s: logins.append((s, role.login(b.nodes[0], s, timeout=80))),
                                     args=(secret,), daemon=True) for secret in secrets]
        for writer in writers:
            writer.start()
        wait_for("A to have them", lambda: all(version(a, key) == 1 for key in keys), 15)
        wait_for("A to have spent the uses", lambda: [role.left(a.any(), s) for s in secrets] == [0, 2], 15)
        in_step(a, c, "dr")
        equal((tried, logins), ([], []))
    with t.check("session_dedupe_failover: A dies, C is promoted: B's retries find what C has of the first tries"):
        for node in a.nodes:
            node.kill()
        relay.stop()
        replicas.promote_dr(c, replicas.operation_token(c))
        c.root = a.root
        c.active()
        b.active().ask("POST", "sys/replication/performance/secondary/update-primary",
                       {"update_primary_addrs": [n.cluster_addr for n in c.nodes]})
        for writer in writers:
            writer.join(80 * SLOW)
        equal({key: answer[0] for key, answer in tried}, {key: 200 for key in keys},
              "answers %r" % [answer[:2] for _, answer in tried])
        equal([answer[1]["data"]["version"] for _, answer in tried], [1] * len(keys))
        equal([version(c, key) for key in keys], [1] * len(keys), "on C")
        equal([(answer[0], answer[1].get("errors")) for _, answer in logins], [(200, None)] * 2)
        equal([role.left(c.any(), s) for s in secrets], [0, 2], "uses on C")
        equal([b.nodes[0].ask("GET", "auth/token/lookup-self", token=answer[1]["auth"]["client_token"])[0]
               for _, answer in logins], [200, 200])
    with t.check("B goes on with C"):
        streaming(b, "performance")
        in_step(c, b, "performance")
        equal([version(b, key) for key in keys], [1] * len(keys), "on B")
        counter = Counter(b.nodes[-1], "after")
        counter.start()
        counter.until(10)
        counter.stop()
        equal(counter.verdict(c.any()), None)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def primary_of_three():
            a, b = world.cluster("a").up(), world.cluster("b", nodes=2).up(kv=False)
            replicas.add_operator(a)
            replicas.enable_primary(a, "performance")
            replicas.attach(a, b, "performance", "b")
            b.root = replicas.login(b)
            primary_dies(t, a, b, 5 if opts.long else 2)
            indexes(t, a, b)
            counted_logins(t, a, b)
            world.end(a)
            world.end(b)

        def level_before():
            a, b = world.cluster("o"), world.cluster("n", nodes=1).up(kv=False)
            for node in a.nodes:
                node.binary = disk_tool("coffer-previous")
            a.up()
            replicas.add_operator(a)
            replicas.enable_primary(a, "performance")
            replicas.attach(a, b, "performance", "n")
            b.root = replicas.login(b)
            older_primary(t, a, b)
            world.end(a)
            world.end(b)

        def three_clusters():
            a = world.cluster("p", nodes=1).up(1, 1)
            b, c = (world.cluster(name, nodes=2).up(kv=False) for name in ("q", "r"))
            relay = Relay(world.ports.take(), (a.nodes[0].host, a.nodes[0].cluster_port))
            relay.start()
            replicas.add_operator(a)
            replicas.enable_primary(a, "performance",
                                    primary_cluster_addr="https://127.0.0.1:%d" % relay.listener.getsockname()[1])
            replicas.enable_primary(a, "dr")
            replicas.attach(a, b, "performance", "q")
            replicas.attach(a, c, "dr", "r")
            b.root = replicas.login(b)
            health(t, a, b, c)
            promotion(t, a, b, c, relay)
            for cluster in (a, b, c):
                world.end(cluster)

        for name, call in (("deaths", primary_of_three), ("promotion", three_clusters),
                           ("older", level_before)):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
