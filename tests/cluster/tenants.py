#!/usr/bin/env python3
"""Namespaces and identity between clusters: a primary and its performance secondary.

Logins at the secondary make their entities at the primary; namespaces reach the secondary with what is in
them, keep its own tokens apart, and leave nothing behind when they are deleted.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, streaming  # noqa: E402

AUDIT = ['audit "file" "main" {', "  options {", '    file_path = "audit.log"', "  }", "}"]
ROBOTS = 20
READS = 'path "secret/data/*" { capabilities = ["read"] }'


def pair(t, a, b):
    with t.check("a primary and its performance secondary"):
        p = a.active()
        p.write("sys/auth/people", {"type": "userpass"})
        for name in ("ann", "ben"):
            p.write("auth/people/users/" + name, {"password": "p"})
        p.write("sys/policies/acl/reads", {"policy": READS})
        p.put_kv("x", "1")
        replicas.add_operator(a)
        replicas.enable_primary(a, "performance")
        token = replicas.secondary_token(a, "performance", "b")
        b.active().write("sys/replication/performance/secondary/enable", {"token": token}, timeout=60)
        streaming(b, "performance")
        in_step(a, b, "performance")
        b.root = replicas.login(b)  # its own root token went with its old data


def login(node, name, namespace=None):
    headers = {"X-Vault-Namespace": namespace} if namespace else {}
    answer = node.write("auth/people/login/" + name, {"password": "p"}, token="", headers=headers)
    return answer["auth"]


def asked_to_ensure(cluster):
    """How often the primary was asked for the entity of a login elsewhere, by its audit log."""
    with open(os.path.join(cluster.active().dir, "audit.log"), encoding="utf-8") as log:
        records = [json.loads(line) for line in log]
    return len([r for r in records if r["type"] == "request" and r["request"]["path"] == "identity/ensure"])


def logins(t, a, b):
    p, s = a.active(), b.active()
    with t.check("a login at the secondary makes its entity at the primary"):
        one = login(s, "ann")
        true(one["entity_id"], "no entity")
        found = p.read("identity/entity/id/" + one["entity_id"])["data"]
        equal(found["aliases"][0]["name"], "ann")
    with t.check("the next login finds it, on either side, and no other is made"):
        equal(login(s, "ann")["entity_id"], one["entity_id"])
        equal(login(p, "ann")["entity_id"], one["entity_id"])
        names = [info["aliases"][0]["name"] for info in
                 p.call("LIST", "identity/entity/id")["data"]["key_info"].values()]
        equal(sorted(names), ["ann", "operator"])
    with t.check("a login at the primary and one at the secondary right after it: its primary is asked once at most"):
        p.write("sys/auth/robots", {"type": "approle"})
        made = []
        for i in range(ROBOTS):
            p.write("auth/robots/role/r%d" % i, {"token_ttl": "1h", "bind_secret_id": False,
                                                 "secret_id_bound_cidrs": "127.0.0.0/8"})
            made.append(p.read("auth/robots/role/r%d/role-id" % i)["data"]["role_id"])
        in_step(a, b, "performance")
        s.set_disk("fsync_delay_ms=50")  # what the primary has, it knows of that much later
        before = asked_to_ensure(a)
        for role in made:
            both = [node.write("auth/robots/login", {"role_id": role}, token="")["auth"]["entity_id"] for node in (p, s)]
            equal(both[0], both[1])
        s.set_disk("")
        asked = asked_to_ensure(a) - before
        true(0 < asked <= ROBOTS, "%d questions for %d logins" % (asked, ROBOTS))
    with t.check("an entity's policies count at the secondary, for tokens of before, too"):
        true(s.ask("GET", "secret/data/x", token=one["client_token"])[0] == 403, "allowed already")
        p.write("identity/entity/id/" + one["entity_id"], {"policies": ["reads"]})
        wait_for("the policy", lambda: s.ask("GET", "secret/data/x", token=one["client_token"])[0] == 200, 20)
    with t.check("a disabled entity is refused at the secondary"):
        p.write("identity/entity/id/" + one["entity_id"], {"disabled": True})
        wait_for("the refusal", lambda: s.ask("GET", "secret/data/x", token=one["client_token"])[0] == 403, 20)
        equal(s.ask("POST", "auth/people/login/ann", {"password": "p"}, token="")[0], 403)
    with t.check("identity/ensure is for clusters alone"):
        equal(s.ask("POST", "identity/ensure", {"name": "eve", "mount_accessor": "x"})[0], 404)
        equal(p.ask("POST", "identity/ensure", {"name": "eve", "mount_accessor": "x"})[0], 404)


def namespaces(t, a, b):
    p, s = a.active(), b.active()
    inside = {"X-Vault-Namespace": "team"}
    with t.check("a namespace made through the secondary is the primary's, and here when it is answered"):
        s.write("sys/namespaces/team", {"custom_metadata": {"k": "v"}})
        equal(s.read("sys/namespaces/team")["data"]["path"], "team/")
        equal(p.read("sys/namespaces/team")["data"]["id"], s.read("sys/namespaces/team")["data"]["id"])
        s.write("sys/auth/people", {"type": "userpass"}, headers=inside)
        s.write("auth/people/users/ann", {"password": "p"}, headers=inside)
        s.write("sys/mounts/kv", {"type": "kv"}, headers=inside)
        s.write("kv/x", {"v": "1"}, headers=inside)
        equal(s.read("team/kv/x")["data"]["v"], "1")
        wait_for("it at the primary", lambda: p.ask("GET", "team/kv/x")[0] == 200, 20)
    with t.check("a token that the secondary makes there is of the namespace"):
        mine = login(s, "ann", "team")
        true(mine["client_token"].endswith("." + s.read("sys/namespaces/team")["data"]["id"]), "no suffix")
        equal(s.ask("GET", "auth/token/lookup-self", token=mine["client_token"], headers=inside)[0], 200)
        equal(s.ask("GET", "auth/token/lookup-self", token=mine["client_token"])[0], 403)
        equal(s.ask("GET", "kv/x", token="", headers={"X-Vault-Namespace": "nobody"})[0], 404)
    with t.check("deleting it ends what both clusters have of it"):
        s.ask("DELETE", "sys/namespaces/team")
        for node in (p, s):
            wait_for("its end", lambda n=node: n.ask("GET", "sys/namespaces/team")[0] == 404, 30)
            equal(node.ask("GET", "team/auth/token/lookup-self", token=mine["client_token"])[0], 403)
        in_step(a, b, "performance")


def moved(node, move, seconds=60):
    def over():
        state = node.read("sys/remount/status/" + move["data"]["migration_id"])["data"]["migration_info"]["status"]
        return state if state != "in-progress" else None
    return wait_for("the move", over, seconds, 0.1)


def moves(t, a, b):
    """sys/remount between namespaces."""
    p, s = a.active(), b.active()
    with t.check("an auth method moves to another namespace: what each cluster keeps of it for itself goes along"):
        for name in ("north", "south"):
            p.write("sys/namespaces/" + name, {})
        p.write("north/sys/auth/apps", {"type": "approle"})
        p.write("north/auth/apps/role/r", {"local_secret_ids": True, "token_ttl": "1h"})
        role = p.read("north/auth/apps/role/r/role-id")["data"]["role_id"]
        wait_for("the role", lambda: s.ask("GET", "north/auth/apps/role/r")[0] == 200, 20)
        ids = {n: n.write("north/auth/apps/role/r/secret-id")["data"]["secret_id"] for n in (p, s)}

        def enter(node, where):
            return node.ask("POST", where + "/auth/apps/login", {"role_id": role, "secret_id": ids[node]}, token="")
        tokens = {}
        for node in (p, s):
            code, body = enter(node, "north")[:2]
            equal(code, 200)
            tokens[node] = body["auth"]["client_token"]
        for node in (p, s):  # what each keeps of it for itself is told
            told = node.read("north/sys/internal/data-classes")["data"]["auth"]["apps/"]
            equal((told["class"], told["classes_stored"]), ("replicated", ["replicated", "cluster"]))
            stored = {r["area"]: r["classes_stored"] for r in node.read("sys/internal/data-classes")["data"]["records"]}
            equal((stored["policy/"], stored["token/"], stored["cluster/"]), (["replicated"], ["cluster"], ["own"]))
            true("replicated" in stored["repl/"] and "own" in stored["repl/"], stored["repl/"])
        s.set_disk("fsync_delay_ms=200")
        move = s.write("sys/remount", {"from": "north/auth/apps", "to": "south/auth/apps"})
        equal(moved(p, move), "success")
        for node in (p, s):
            # What a cluster keeps for itself comes there a moment after the mount. A login in between is no failed
            # one: those are counted, and lock the role out.
            seen = []
            wait_for("a login there", lambda n=node: seen.append(enter(n, "south")[0]) or seen[-1] != 503, 20)
            equal(seen[-1], 200)
            equal(enter(node, "north")[0], 403)
        s.set_disk("")
        for node in (p, s):
            equal(node.ask("GET", "auth/token/lookup-self", token=tokens[node],
                           headers={"X-Vault-Namespace": "north"})[0], 403)
        in_step(a, b, "performance")
    with t.check("a local mount of the secondary moves there, and the primary never hears of it"):
        s.write("north/sys/mounts/own", {"type": "kv", "local": True})
        for i in range(600):
            s.write("north/own/k%d" % i, {"v": str(i)})
        equal(moved(s, s.write("sys/remount", {"from": "north/own", "to": "south/own"})), "success")
        equal(len(s.call("LIST", "south/own")["data"]["keys"]), 600)
        equal(s.read("south/own/k599")["data"]["v"], "599")
        equal(s.ask("GET", "north/own/k1")[0], 404)
        equal(p.ask("GET", "south/own/k1")[0], 404)
    with t.check("kill -9 while it is on its way: the move goes on"):
        p.write("north/sys/mounts/kv", {"type": "kv"})
        for i in range(1500):
            p.write("north/kv/k%d" % i, {"v": str(i)})
        move = p.write("sys/remount", {"from": "north/kv", "to": "kv-of-all"})
        for _ in range(2):
            p.kill()
            p.start()
            p = a.active()
        equal(moved(p, move), "success")
        equal(len(p.call("LIST", "kv-of-all")["data"]["keys"]), 1500)
        equal(p.ask("GET", "north/kv/k1")[0], 404)
        wait_for("it at the secondary", lambda: s.ask("GET", "kv-of-all/k1499")[0] == 200, 30)
        in_step(a, b, "performance")


def main():
    options = arguments(__doc__)
    t = Checks(getattr(options, "only", "") or "")
    with World() as world:
        t.on_failure = world.keep
        a = world.cluster("a", nodes=1, extra=AUDIT)
        b = world.cluster("b", nodes=1)
        b.nodes[0].disk = ""
        a.up()
        b.up()
        pair(t, a, b)
        logins(t, a, b)
        namespaces(t, a, b)
        moves(t, a, b)
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
