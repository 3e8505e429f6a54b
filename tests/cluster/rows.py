#!/usr/bin/env python3
"""Data class by data class (replication.md 5.2): what is made on a primary (A) or through its performance secondary (B) is where
it belongs and nowhere else, also on the DR secondaries of both (C of A, D of B), which are promoted for that at the end."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, on_disk, status  # noqa: E402

DR = "sys/replication/dr/"
GRANT = 'path "sys/replication/*" { capabilities = ["update", "sudo"] }'
FORWARDS = ("replication {", "  allow_forwarding_via_header = true", "}")


def code(node, *args, **kwargs):
    return node.ask(*args, **kwargs)[0]


def log_in(node, method, user, password="password"):
    """On a machine under load the primary may be late with the entity of a first login, and a node with counting what is
    there under a new quota: 503, nothing has happened, asked again."""
    def enter():
        answer = node.ask("POST", "auth/%s/login/%s" % (method, user), {"password": password}, token="")
        return answer[0] != 503 and answer
    return wait_for("an answer to the login of " + user, enter, 30)


def logged_in(node, method, user):
    status, body, _ = log_in(node, method, user)
    equal(status, 200, str(body))
    return body["auth"]


def userpass(node, method, users, local=False):
    node.write("sys/auth/" + method, {"type": "userpass", "local": local})
    for user in users:
        node.write("auth/%s/users/%s" % (method, user), {"password": "password", "token_policies": "default"})
    return node.read("sys/auth")["data"][method + "/"]["accessor"]


def accessors(node):
    return set(node.call("LIST", "auth/token/accessors")["data"]["keys"])


def policies(t, a, b):
    with t.check("password policies made through B make passwords on both, and are gone from both"):
        rule = 'length = 20\nrule "charset" { charset = "abcdef" min-chars = 1 }'
        b.nodes[1].write("sys/policies/password/hex", {"policy": rule})
        for node in b.nodes + a.nodes:
            made = node.read("sys/policies/password/hex/generate")["data"]["password"]
            true(len(made) == 20 and not made.strip("abcdef"), made)
        equal(code(b.nodes[0], "DELETE", "sys/policies/password/hex"), 204)
        equal([code(n, "GET", "sys/policies/password/hex") for n in b.nodes + a.nodes], [404] * 3)
    with t.check("the policy default is the primary's"):
        was = a.any().read("sys/policies/acl/default")["data"]["policy"]
        text = was + '\npath "secret/data/for-all" { capabilities = ["read"] }\n'
        b.nodes[0].write("sys/policies/acl/default", {"policy": text})
        equal([n.read("sys/policies/acl/default")["data"]["policy"] for n in b.nodes + a.nodes], [text] * 3)
        a.any().write("sys/policies/acl/default", {"policy": was})
        in_step(a, b, "performance")
        equal([n.read("sys/policies/acl/default")["data"]["policy"] for n in b.nodes], [was] * 2)


def quotas(t, a, b):
    with t.check("rate-limit quotas made through B hold on both, and each cluster counts its own requests"):
        b.nodes[0].write("sys/mounts/slow", {"type": "kv"})
        b.nodes[1].write("sys/quotas/rate-limit/slow", {"path": "slow", "rate": 5, "interval": "60s"})
        equal(a.any().read("sys/quotas/rate-limit/slow")["data"]["rate"], 5)
        in_step(a, b, "performance")
        equal([code(b.nodes[0], "GET", "slow/x") for _ in range(7)], [404] * 5 + [429] * 2)
        equal([code(a.any(), "GET", "slow/x") for _ in range(7)], [404] * 5 + [429] * 2)
        equal(code(b.nodes[0], "DELETE", "sys/quotas/rate-limit/slow"), 204)
        equal(code(a.any(), "GET", "sys/quotas/rate-limit/slow"), 404)
        equal(code(b.nodes[0], "GET", "slow/x"), 404)
    with t.check("lease-count quotas made on A hold on B, and each cluster counts its own leases"):
        userpass(a.any(), "counted", ["u"])
        a.any().write("sys/quotas/lease-count/few", {"path": "auth/counted", "max_leases": 2})
        in_step(a, b, "performance")
        equal([log_in(n, "counted", "u")[0] for n in b.nodes + b.nodes[:1]], [200, 200, 429])
        wait_for("A to have counted", lambda: "counter" in a.any().read("sys/quotas/lease-count/few")["data"], 10)
        equal([log_in(a.any(), "counted", "u")[0] for _ in range(3)], [200, 200, 429])
        equal([n.read("sys/quotas/lease-count/few")["data"]["counter"] for n in b.nodes + a.nodes], [2, 2, 2])
        equal(code(b.nodes[1], "DELETE", "sys/quotas/lease-count/few"), 204)
        equal(log_in(b.nodes[0], "counted", "u")[0], 200)


def tokens(t, a, b):
    with t.check("accessors, leases and their counts are each cluster's own"):
        mine = log_in(b.nodes[1], "userpass", "operator", "operator-password")[1]["auth"]
        true(mine["accessor"] in accessors(b.nodes[0]) and mine["accessor"] not in accessors(a.any()), "accessors")
        equal(accessors(b.any()) & accessors(a.any()), set())
        found = b.nodes[0].call("LIST", "sys/leases/lookup/auth/userpass/login/operator")["data"]["keys"]
        there = a.any().ask("LIST", "sys/leases/lookup/auth/userpass/login/operator")[1].get("data", {"keys": []})["keys"]
        true(found and not set(found) & set(there), (found, there))
        true(code(a.any(), "POST", "auth/token/lookup-accessor", {"accessor": mine["accessor"]}) in (400, 403, 404), "on A")
    with t.check("a token with two uses has two on B, whichever node is asked, also for forwarded writes"):
        made = b.nodes[0].write("auth/token/create", {"policies": ["admin"], "num_uses": 2})["auth"]["client_token"]
        equal(code(b.nodes[1], "POST", "secret/data/used", {"data": {"v": "1"}}, token=made), 200)
        equal(code(b.nodes[0], "GET", "secret/data/used", token=made), 200)
        equal(code(b.nodes[1], "GET", "secret/data/used", token=made), 403)
    with t.check("keys of the cubbyhole, root and in a namespace, stay with their token and cluster"):
        equal(code(b.nodes[0], "POST", "sys/namespaces/box", {}), 200)
        inside = b.nodes[1].write("box/auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        equal(code(b.nodes[1], "POST", "box/cubbyhole/k", {"v": "b"}, token=inside), 204)
        equal(b.nodes[0].read("box/cubbyhole/k", token=inside)["data"]["v"], "b")
        equal(code(a.any(), "GET", "box/cubbyhole/k", token=inside), 403)


def wrapping(t, a, b):
    header = {"X-Vault-Wrap-TTL": "60s"}
    with t.check("what B wraps is B's: read on any of its nodes, unknown on A, once"):
        for path in ("secret/data/used", "sys/mounts"):
            body = b.nodes[1].ask("GET", path, headers=header)[1]
            equal(body["wrap_info"]["creation_path"], path)
            token = body["wrap_info"]["token"]
            equal(code(a.any(), "POST", "sys/wrapping/unwrap", {"token": token}), 400)
            equal(b.nodes[0].write("sys/wrapping/lookup", {"token": token})["data"]["creation_path"], path)
            true(b.nodes[0].write("sys/wrapping/unwrap", {}, token=token)["data"], "nothing inside")
            equal([code(n, "POST", "sys/wrapping/unwrap", {"token": token}) for n in b.nodes], [400, 400])
    with t.check("the answer of a forwarded write is wrapped by B, not by A"):
        before = accessors(a.any())
        answer = b.nodes[1].ask("POST", "secret/data/wrapped", {"data": {"v": "1"}}, headers=header)
        equal((answer[0], answer[1]["wrap_info"]["creation_path"]), (200, "secret/data/wrapped"))
        inner = b.nodes[0].write("sys/wrapping/unwrap", {"token": answer[1]["wrap_info"]["token"]})
        equal(inner["data"]["version"], 1)
        equal(accessors(a.any()), before)
    with t.check("wrap and rewrap on B; what A wraps is A's"):
        token = b.nodes[0].ask("POST", "sys/wrapping/wrap", {"k": "v"}, headers=header)[1]["wrap_info"]["token"]
        again = b.nodes[1].write("sys/wrapping/rewrap", {"token": token})["wrap_info"]["token"]
        equal(b.nodes[0].write("sys/wrapping/unwrap", {"token": again})["data"], {"k": "v"})
        token = a.any().ask("POST", "sys/wrapping/wrap", {"k": "v"}, headers=header)[1]["wrap_info"]["token"]
        equal([code(n, "POST", "sys/wrapping/unwrap", {"token": token}) for n in b.nodes], [400, 400])
        equal(a.any().write("sys/wrapping/unwrap", {"token": token})["data"], {"k": "v"})
    with t.check("a wrapped secondary token for a second one is opened by nobody but who redeems it"):
        answer = a.any().write(DR + "primary/secondary-token", {"id": "another"})
        token = answer["wrap_info"]["token"]
        for node in b.nodes + a.nodes:
            equal(code(node, "POST", "sys/wrapping/unwrap", {"token": token}), 400, node.name)
        a.any().write(DR + "primary/revoke-secondary", {"id": "another"})


def identity(t, a, b):
    with t.check("a first login on B makes the entity on A; it is one and the same for both"):
        accessor = userpass(a.any(), "people", ["ann", "bob"])
        in_step(a, b, "performance")
        entity = logged_in(b.nodes[1], "people", "ann")["entity_id"]
        equal(logged_in(a.any(), "people", "ann")["entity_id"], entity)
        for node in b.nodes + a.nodes:
            seen = node.read("identity/entity/id/" + entity)["data"]["aliases"]
            equal([(x["name"], x["mount_accessor"]) for x in seen], [("ann", accessor)], node.name)
    with t.check("entities and groups are made, merged and removed through B"):
        other = logged_in(b.nodes[0], "people", "bob")["entity_id"]
        kept = b.nodes[1].write("identity/entity", {"name": "both", "metadata": {"team": "x"}})["data"]["id"]
        group = b.nodes[1].write("identity/group", {"name": "team", "policies": ["admin"],
                                                    "member_entity_ids": [kept]})["data"]["id"]
        equal(code(b.nodes[1], "POST", "identity/entity/merge", {"from_entity_ids": [other], "to_entity_id": kept}), 204)
        for node in b.nodes + a.nodes:
            equal(node.read("identity/entity/id/" + kept)["data"]["merged_entity_ids"], [other], node.name)
            equal([x["name"] for x in node.read("identity/entity/id/" + kept)["data"]["aliases"]], ["bob"])
            equal(node.read("identity/group/id/" + group)["data"]["member_entity_ids"], [kept])
        auth = logged_in(b.nodes[0], "people", "bob")
        equal((auth["entity_id"], auth["identity_policies"]), (kept, ["admin"]))
        equal(code(b.nodes[1], "GET", "secret/data/used", token=auth["client_token"]), 200)
        equal(code(a.any(), "POST", "identity/group/id/" + group, {"policies": []}), 204)
        wait_for("the group's policies to go on B", lambda: code(b.nodes[1], "GET", "secret/data/used",
                                                                 token=auth["client_token"]) == 403, 10)
        equal(code(b.nodes[0], "DELETE", "identity/entity/id/" + kept), 204)
        equal([code(n, "GET", "identity/entity/id/" + kept) for n in b.nodes + a.nodes], [404] * 3)
    with t.check("a login at a local auth mount of B has a shared entity, and an alias that says that it is local"):
        accessor = userpass(b.nodes[0], "near-users", ["zoe"], local=True)
        equal("near-users/" in a.any().read("sys/auth")["data"], False)
        entity = logged_in(b.nodes[1], "near-users", "zoe")["entity_id"]
        for node in b.nodes:
            aliases = node.read("identity/entity/id/" + entity)["data"]["aliases"]
            equal([(x["name"], x["mount_accessor"], x["local"]) for x in aliases], [("zoe", accessor, True)], node.name)
        equal(logged_in(b.nodes[0], "near-users", "zoe")["entity_id"], entity)
        return entity


def lockout(t, a, b):
    with t.check("a user who fails on B is locked out on B, on all of its nodes, and not on A"):
        userpass(a.any(), "guarded", ["eve"])
        a.any().write("sys/auth/guarded/tune", {"user_lockout_config": {"lockout_threshold": "3",
                                                                        "lockout_duration": "10m"}})
        in_step(a, b, "performance")
        for i in range(3):
            equal(log_in(b.nodes[i % 2], "guarded", "eve", "wrong")[0], 400)
        equal([log_in(n, "guarded", "eve")[0] for n in b.nodes], [403, 403])
        equal(log_in(a.any(), "guarded", "eve")[0], 200)
        locked = b.nodes[1].read("sys/locked-users")["data"]
        equal(locked["total"], 1, locked)
        equal(a.any().read("sys/locked-users")["data"]["total"], 0)
        accessor = b.nodes[0].read("sys/auth")["data"]["guarded/"]["accessor"]
        equal(code(b.nodes[1], "POST", "sys/locked-users/%s/unlock/eve" % accessor), 204)
        equal([log_in(n, "guarded", "eve")[0] for n in b.nodes], [200, 200])


def settings(t, a, b):
    with t.check("CORS, UI headers and audited headers, set through B, hold on both"):
        origin = {"Origin": "https://ui.example.com"}
        b.nodes[1].write("sys/config/cors", {"allowed_origins": ["https://ui.example.com"]})
        equal(a.any().read("sys/config/cors")["data"]["enabled"], True)
        for node in b.nodes + a.nodes:
            headers = node.ask("GET", "sys/seal-status", headers=origin)[2]
            equal(headers.get("Access-Control-Allow-Origin"), "https://ui.example.com", node.name)
        equal(code(b.nodes[0], "DELETE", "sys/config/cors"), 204)
        equal(a.any().read("sys/config/cors")["data"]["enabled"], False)
        b.nodes[1].write("sys/config/ui/headers/X-Team", {"values": ["red"]})
        equal(a.any().read("sys/config/ui/headers/X-Team")["data"]["value"], "red")
        b.nodes[1].write("sys/config/auditing/request-headers/X-Trace", {"hmac": False})
        equal(a.any().read("sys/config/auditing/request-headers/X-Trace")["data"]["X-Trace"]["hmac"], False)
    with t.check("Raft members and autopilot are each cluster's own, and so are name and id"):
        path = "sys/storage/raft/autopilot/configuration"
        a.any().write(path, {"max_trailing_logs": 777})
        b.nodes[1].write(path, {"max_trailing_logs": 888})
        in_step(a, b, "performance")
        equal([c.any().read(path)["data"]["max_trailing_logs"] for c in (a, b)], [777, 888])
        seen = [c.active().read("sys/health", token="") for c in (a, b)]
        equal([x["cluster_name"] for x in seen], ["a", "b"])
        true(seen[0]["cluster_id"] != seen[1]["cluster_id"], "one id")
        set_id = status(a.any(), "performance")["cluster_id"]
        equal((status(b.any(), "performance")["cluster_id"], set_id in [x["cluster_id"] for x in seen]), (set_id, False))


def keys(t, a, b):
    with t.check("rekey on B gives B new shares and leaves A's alone; rotate is A's"):
        before = a.any().read("sys/seal-status", token="")
        begun = b.active().call("PUT", "sys/rekey/init", {"secret_shares": 3, "secret_threshold": 2})
        done = b.active().call("PUT", "sys/rekey/update", {"key": b.keys[0], "nonce": begun["nonce"]})
        equal((done["complete"], len(done["keys"])), (True, 3))
        b.keys, b.threshold = done["keys_base64"], 2
        after = a.any().read("sys/seal-status", token="")
        equal((after["t"], after["n"]), (before["t"], before["n"]))
        for node in b.nodes:
            wait_for("the new threshold on " + node.name,
                     lambda n=node: n.read("sys/seal-status", token="")["t"] == 2, 10)
        for node in b.nodes:
            answer = node.ask("POST", "sys/rotate")
            equal((answer[0], answer[1]["errors"]), (400, ["cannot rotate on a replication secondary"]))
        a.active().write("sys/rotate")
        term = a.any().read("sys/key-status")["data"]["term"]
        wait_for("the key on B", lambda: [n.read("sys/key-status")["data"]["term"] for n in b.nodes] == [term] * 2, 10)


def in_the_way(t, a, b):
    with t.check("a local mount in the way of a shared one: the stream goes on, B keeps its own, and gets the shared one after"):
        b.any().write("sys/mounts/mine", {"type": "kv", "local": True})
        wait_for("the mount", lambda: code(b.any(), "POST", "mine/x", {"v": "b"}) == 204, 10)
        a.any().write("sys/mounts/mine", {"type": "kv"})
        wait_for("the mount", lambda: code(a.any(), "POST", "mine/x", {"v": "a"}) == 204, 10)
        in_step(a, b, "performance")
        equal(status(b.any(), "performance")["state"], "stream-wals")
        equal(code(b.any(), "POST", "secret/data/way", {"data": {"v": "1"}}), 200)
        equal([n.read("mine/x")["data"]["v"] for n in a.nodes + b.nodes], ["a", "b", "b"])
        equal(code(b.any(), "DELETE", "sys/mounts/mine"), 204)
        wait_for("the shared one", lambda: [n.read("mine/x")["data"]["v"] for n in b.nodes] == ["a", "a"], 10)
        equal(a.any().read("mine/x")["data"]["v"], "a")


def local_in_shared(t, a, b):
    with t.check("local secret-ids of a shared role are of the cluster that made them"):
        a.any().write("sys/auth/near-ids", {"type": "approle"})
        a.any().write("auth/near-ids/role/r", {"local_secret_ids": True, "token_policies": "default"})
        in_step(a, b, "performance")
        role = b.any().read("auth/near-ids/role/r/role-id")["data"]["role_id"]
        secret = b.nodes[1].write("auth/near-ids/role/r/secret-id", {})["data"]["secret_id"]
        form = {"role_id": role, "secret_id": secret}
        made = b.nodes[0].ask("POST", "auth/near-ids/login", form, token="")
        equal(made[0], 200)
        equal(code(a.any(), "POST", "auth/near-ids/login", form, token=""), 400)
        return made[1]["auth"]["client_token"]


def removed(t, a, b, d, token):
    """What B keeps for a shared mount goes with the mount, whoever removes it."""
    def gone(what, call):
        wait_for(what, call, 10)
    with t.check("a shared auth method is removed on A: B's tokens of it end, its local data goes"):
        equal(code(b.nodes[0], "GET", "auth/token/lookup-self", token=token), 200)
        equal(code(a.any(), "DELETE", "sys/auth/near-ids"), 204)
        gone("the token to end on B", lambda: [code(n, "GET", "auth/token/lookup-self", token=token) for n in b.nodes]
             == [403, 403])
        gone("the leases to end", lambda: not b.any().ask("LIST", "sys/leases/lookup/auth/near-ids/login")[1].get(
            "data", {}).get("keys"))
    with t.check("what B kept for it goes from every disk of B and of its DR secondary"):
        userpass(a.any(), "short", ["marker-mallory"])
        in_step(a, b, "performance")
        equal([log_in(n, "short", "marker-mallory", "wrong")[0] for n in b.nodes], [400, 400])
        in_step(b, d, "dr")
        true(on_disk(b, "marker-mallory") and on_disk(d, "marker-mallory"), "names are not found on disks at all")
        equal(code(a.any(), "DELETE", "sys/auth/short"), 204)
        # RocksDB's list of files names the first and last key of files that are gone until the next start begins a new one.
        for cluster in (b, d):
            wait_for("the bytes to be gone from " + cluster.name, lambda: not [
                x for x in on_disk(cluster, "marker-mallory") if "MANIFEST" not in x], 60, 0.5)
    with t.check("removed and made again while B is away: tokens of the old one end, those of the new one live"):
        a.any().write("sys/auth/again", {"type": "userpass"})
        a.any().write("auth/again/users/u", {"password": "password"})
        in_step(a, b, "performance")
        old = logged_in(b.nodes[0], "again", "u")["client_token"]
        wait_for("B to have noted the mount", lambda: code(b.nodes[1], "GET", "auth/token/lookup-self", token=old) == 200, 10)
        time.sleep(1.2)  # two rounds of the background work
        for node in b.nodes:
            node.kill()
        equal(code(a.any(), "DELETE", "sys/auth/again"), 204)
        a.any().write("sys/auth/again", {"type": "userpass"})
        a.any().write("auth/again/users/u", {"password": "password"})
        for node in b.nodes:
            node.start()
            b.unseal(node)
        b.active()
        equal(on_disk(b, "marker-mallory"), [])
        gone("the old token to end on B", lambda: code(b.any(), "GET", "auth/token/lookup-self", token=old) == 403)
        fresh = wait_for("a login on B", lambda: log_in(b.nodes[1], "again", "u")[1].get("auth"), 30)["client_token"]
        time.sleep(1.2)
        equal([code(n, "GET", "auth/token/lookup-self", token=fresh) for n in b.nodes], [200, 200])
    with t.check("moved on A: B's tokens of the old path end, as they do on A"):
        on_a = logged_in(a.any(), "again", "u")["client_token"]
        a.any().write("sys/remount", {"from": "auth/again", "to": "auth/elsewhere"})
        gone("the tokens to end", lambda: [code(n, "GET", "auth/token/lookup-self", token=x) for n, x in
                                           ((a.any(), on_a), (b.nodes[0], fresh), (b.nodes[1], fresh))] == [403] * 3)


def headers(t, a, b):
    node, standby = b.active(), b.standbys()[0]
    with t.check("headers: forwarding by header is as configured: on B within B, on A refused with words"):
        for header in ({"X-Vault-Forward": "active-node"}, {"X-Vault-Inconsistent": "forward-active-node"}):
            equal(standby.ask("GET", "secret/data/used", headers=header)[0], 200)
            got = a.any().ask("GET", "secret/data/used", headers=header)
            equal((got[0], "disabled in configuration" in got[1]["errors"][0]), (400, True), str(got[1]))
        equal(code(standby, "GET", "secret/data/used", headers={"X-Vault-Inconsistent": "fail"}), 200)
        moved = standby.ask("POST", "cubbyhole/redirected", {"v": "1"}, headers={"X-Vault-No-Request-Forwarding": "1"})
        equal((moved[0], moved[2].get("Location")), (307, node.addr + "/v1/cubbyhole/redirected"))
        equal(code(node, "GET", "cubbyhole/redirected"), 404)
        equal(code(standby, "GET", "secret/data/used", headers={"X-Vault-No-Request-Forwarding": "1"}), 200)
    with t.check("headers: X-Vault-Index of a forwarded write: B's own position and the primary's; A takes none of B's"):
        got = node.ask("POST", "secret/data/indexed", {"data": {"v": "1"}})
        index = got[2]["X-Vault-Index"]
        for reader in b.nodes:
            seen = reader.ask("GET", "secret/data/indexed", headers={"X-Vault-Index": index})
            equal((seen[0], seen[1]["data"]["data"]["v"]), (200, "1"), reader.name)
        equal(code(a.any(), "GET", "secret/data/indexed", headers={"X-Vault-Index": index}), 200)


def unreachable(t, a, b):
    with t.check("the primary stops while a write is on its way: 504, outcome unknown; what follows is 503 at once, with"
                 " Retry-After"):
        a.any().pause()
        node = b.active()
        first = node.ask("POST", "secret/data/unknown", {"data": {"v": "1"}}, timeout=90)
        equal(first[0], 504, str(first[1]))
        true("outcome" in first[1]["errors"][0], first[1])

        def refused():
            return node.ask("POST", "secret/data/no", {"data": {"v": "1"}}, timeout=90)
        wait_for("503", lambda: refused()[0] == 503, 30)
        took = []
        for _ in range(5):
            began = time.monotonic()
            got = refused()
            took.append(time.monotonic() - began)
            equal(got[0], 503, str(got[1]))
            true(int(got[2].get("Retry-After", "0")) > 0, got[2])
        t.note("refused after %s s" % ", ".join("%.2f" % x for x in took))
        equal(code(b.standbys()[0], "POST", "secret/data/no", {"data": {"v": "1"}}, timeout=90), 503)
        equal(node.get_kv("used"), "1")
        a.nodes[0].resume()
        wait_for("writes again", lambda: code(node, "POST", "secret/data/yes", {"data": {"v": "1"}}, timeout=90) == 200, 30)
        equal(code(a.any(), "GET", "secret/data/no"), 404)


def promoted(t, a, b, c, d, operation, entity):
    """What the DR secondaries have of class cluster is their own primary's."""
    with t.check("promoted, D has B's local mounts, aliases, tokens and cubbyholes, C has A's, and neither the other's"):
        mine = {x: x.any().write("auth/token/create", {"policies": ["admin"]})["auth"]["client_token"] for x in (a, b)}
        index = {}
        for x in (a, b):
            answer = x.any().ask("POST", "cubbyhole/whose", {"v": x.name}, token=mine[x])
            equal(answer[0], 204)
            index[x] = answer[2]["X-Vault-Index"]
        a.any().write("sys/mounts/near-a", {"type": "kv", "local": True})
        b.any().write("sys/mounts/near-b", {"type": "kv", "local": True})
        for x in (a, b):
            wait_for("the mount", lambda: code(x.any(), "POST", "near-%s/x" % x.name, {"v": x.name}) == 204, 10)
        limits = a.any().read("sys/storage/raft/autopilot/configuration")["data"]["max_trailing_logs"]
        for one, other in ((a, c), (b, d)):
            in_step(one, other, "dr")
        for node in a.nodes + b.nodes:
            node.kill()
        # Each on its own: nobody of the four has to follow anybody.
        for old, new in ((a, c), (b, d)):
            new.any().write(DR + "secondary/promote", {"dr_operation_token": operation, "force": True}, token="")
            new.root = old.root
            wait_for("%s to serve" % new.name, lambda: new.any().health() == 200, 30)
            equal(new.any().read("cubbyhole/whose", token=mine[old])["data"]["v"], old.name)
            # What a client remembers of the former primary: no 412 for ever.
            equal(code(new.any(), "GET", "cubbyhole/whose", token=mine[old], headers={"X-Vault-Index": index[old]}), 200)
            equal(new.any().read("near-%s/x" % old.name)["data"]["v"], old.name)
        equal([code(x.any(), "GET", "auth/token/lookup-self", token=mine[y]) for x, y in ((c, b), (d, a))], [403, 403])
        mounts = [set(x.any().read("sys/mounts")["data"]) for x in (c, d)]
        equal([("near-a/" in m, "near-b/" in m) for m in mounts], [(True, False), (False, True)])
        aliases = [x.any().read("identity/entity/id/" + entity)["data"]["aliases"] for x in (c, d)]
        equal([[x["name"] for x in one] for one in aliases], [["zoe"], ["zoe"]])
        true(c.any().read("sys/storage/raft/autopilot/configuration")["data"]["max_trailing_logs"] != limits,
             "autopilot of A is on C")
        equal([x.any().read("sys/health", token="")["cluster_name"] for x in (c, d)], ["c", "d"])


def main():
    arguments(__doc__)
    t = Checks()
    began = time.monotonic()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("rows"):
            a, c, d = (world.cluster(name, nodes=1) for name in "acd")
            b = world.cluster("b", nodes=2, extra=FORWARDS, seal="shamir")
            a.up(1, 1)
            for cluster in (b, c, d):
                cluster.up(1, 1, kv=False)
            replicas.add_operator(a)
            a.any().write("sys/policies/acl/failover", {"policy": GRANT})
            operation = a.any().write("auth/token/create-orphan", {"type": "batch", "ttl": "2h", "policies": ["failover"]}
                                      )["auth"]["client_token"]
            for kind, cluster in (("performance", b), ("dr", c)):
                replicas.enable_primary(a, kind)
                replicas.attach(a, cluster, kind, cluster.name)
            b.root = replicas.login(b)
            with t.check("nobody of B was sealed by becoming a secondary, and its shares are its own"):
                equal([n.is_sealed() for n in b.nodes], [False, False])
                standby = b.standbys()[0]
                standby.kill()
                standby.start()
                true(standby.is_sealed(), "it needs no share")
                b.unseal(standby)
                b.caught_up(standby)
            replicas.enable_primary(b, "dr")
            replicas.attach(b, d, "dr", "d")
            for part in (policies, quotas, tokens, wrapping):
                part(t, a, b)
            entity = identity(t, a, b)
            for part in (lockout, settings, keys, in_the_way):
                part(t, a, b)
            removed(t, a, b, d, local_in_shared(t, a, b))
            headers(t, a, b)
            unreachable(t, a, b)
            promoted(t, a, b, c, d, operation, entity)
            for cluster in (a, b, c, d):
                world.end(cluster)
    t.note("took %.0f s" % (time.monotonic() - began))
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
