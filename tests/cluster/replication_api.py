#!/usr/bin/env python3
"""The calls of sys/replication on real clusters of one node: tokens in both forms, DR operation tokens by ceremony and as
batch tokens, dry runs, the status in every mode, and what answers on which role."""
import base64
import json
import os
import random
import string
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from between import Api, Throttle  # noqa: E402
from checks import Checks, equal, raises, true  # noqa: E402
from cluster import Refused, World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import DISABLED_TEXT, in_step, status, streaming  # noqa: E402

DR = "sys/replication/dr/secondary/"
P = "sys/replication/performance/"


def refused(code, text, call, *args, **kwargs):
    """The call is refused with that status and a text that holds `text`."""
    e = raises(Refused, call, *args, **kwargs)
    equal(e.status, code, str(e))
    true(text in "; ".join(map(str, e.errors)), "%r is not in %r" % (text, e.errors))


def claims(token):
    parts = token.split(".")
    equal(len(parts), 3)
    return json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))


# ---------------------------------------------------------------- secondary tokens

def tokens(t, a, b):
    primary, other = a.nodes[0], b.nodes[0]
    with t.check("token_forms: the wrapped token is a JWT of three parts with addr, exp and type"):
        answer = primary.write(P + "primary/secondary-token", {"id": "one", "ttl": "10m"})
        equal(answer["data"], None)
        wrap = answer["wrap_info"]
        body = claims(wrap["token"])
        equal((body["type"], body["addr"]), ("wrapping", primary.addr))
        true(abs(body["exp"] - time.time() - 600) < 60, body)
        equal((wrap["ttl"], wrap["creation_path"], wrap["wrapped_accessor"]),
              (600, P + "primary/secondary-token", ""))
        true(wrap["accessor"] and wrap["creation_time"].startswith("20"), wrap)
        equal(status(primary, "performance")["known_secondaries"], ["one"])
    with t.check("token_forms: used by one cluster, it is refused to the next, which stays as it was"):
        form = {"token": wrap["token"], "cluster_id": "somebody", "public_key": base64.b64encode(os.urandom(32)).decode()}
        primary.write(P + "primary/redeem", form, token="")
        refused(400, "was redeemed already", other.write, P + "secondary/enable", {"token": wrap["token"]})
        equal(status(other, "performance"), {"mode": "disabled"})
        primary.write(P + "primary/revoke-secondary", {"id": "one"})
        equal(status(primary, "performance")["known_secondaries"], [])
    with t.check("token_forms: what cannot work is refused with the cause, and nothing has changed"):
        for fields, text in (({}, "missing token"), ({"token": "x"}, "malformed"),
                             ({"token": wrap["token"], "primary_api_addr": "https://127.0.0.1:1"},
                              "error unwrapping secondary token"),
                             ({"token": wrap["token"], "client_cert_pem": "x"}, "go together"),
                             ({"token": "coffer-sealed.AAAA"}, "generate-public-key")):
            refused(400, text, other.write, P + "secondary/enable", fields)
        equal(status(other, "performance"), {"mode": "disabled"})
        equal(other.read("sys/health")["replication_performance_mode"], "disabled")


def sealed(t, a, b):
    """replication.md 7.1, second form: only the cluster port is used."""
    primary, other = a.nodes[0], b.nodes[0]
    with t.check("token_forms: sealed to a public key: no wrapping, enabled without the primary's API"):
        key = other.write(P + "secondary/generate-public-key")["data"]["secondary_public_key"]
        answer = primary.write(P + "primary/secondary-token", {"id": "b", "secondary_public_key": key})
        equal(answer["wrap_info"], None)
        token = answer["data"]["token"]
        answer = other.write(P + "secondary/enable", {"token": token, "dry_run": True})["data"]
        equal((answer["would_succeed"], answer["missing"]), (True, []), answer)
        equal(status(other, "performance"), {"mode": "disabled"})
        other.write(P + "secondary/enable", {"token": token, "primary_api_addr": "https://127.0.0.1:1"})
        streaming(b, "performance")
        in_step(a, b, "performance")
        b.root = replicas.login(b)
    with t.check("repeated: the same token again changes nothing"):
        before = status(other, "performance")["last_start"]
        answer = other.write(P + "secondary/update-primary", {"token": token})
        true("nothing was changed" in answer["warnings"][0], answer)
        equal(status(other, "performance")["last_start"], before)


# ---------------------------------------------------------------- status

STRING, INT, BOOL, LIST = str, int, bool, list
COMMON = {"cluster_id": STRING, "corrupted_merkle_tree": BOOL, "last_corruption_check_epoch": STRING,
          "last_reindex_epoch": STRING, "merkle_root": STRING, "mode": STRING, "state": STRING,
          "primary_cluster_addr": STRING, "ssct_generation_counter": INT}
PRIMARY = dict(COMMON, known_secondaries=LIST, last_wal=INT, secondaries=LIST)
SECONDARY = dict(COMMON, connection_state=STRING, known_primary_cluster_addrs=LIST, last_remote_wal=INT,
                 last_start=STRING, primaries=LIST, secondary_id=STRING)
ENTRY = {"api_address": STRING, "feature_level": INT, "clock_skew_ms": STRING, "cluster_address": STRING, "connection_status": STRING,
         "last_heartbeat": STRING, "last_heartbeat_duration_ms": STRING, "replication_primary_canary_age_ms": STRING}


def typed(got, want, what):
    for name, kind in want.items():
        true(name in got, "%s lacks %s" % (what, name))
        equal(type(got[name]), kind, "%s.%s = %r" % (what, name, got[name]))
        if kind is STRING and (name.endswith("_ms") or name.endswith("_epoch")):
            int(got[name])


def fields(t, primary, secondary, kind):
    with t.check("status_fields: %s primary and secondary: every field with its type" % kind):
        in_step(primary, secondary, kind)
        one, two = status(primary.active(), kind), status(secondary.active(), kind)
        typed(one, dict(PRIMARY, **{"last_dr_wal" if kind == "dr" else "last_performance_wal": INT}), "primary")
        typed(two, SECONDARY, "secondary")
        equal((one["mode"], one["state"], two["mode"], two["state"], two["connection_state"]),
              ("primary", "running", "secondary", "stream-wals", "ready"))
        equal(one["cluster_id"], two["cluster_id"])
        true(len(one["merkle_root"]) == 40 and one["merkle_root"] == two["merkle_root"], one["merkle_root"])
        int(one["merkle_root"], 16)
        equal((one["last_corruption_check_epoch"], one["corrupted_merkle_tree"]), ("-62135596800", False))
        equal(len(one["secondaries"]), 1)
        entry, known = one["secondaries"][0], two["primaries"][0]
        typed(entry, dict(ENTRY, node_id=STRING), "secondaries[0]")
        typed(known, ENTRY, "primaries[0]")
        true("node_id" not in known, known)
        equal(entry["node_id"], two["secondary_id"])
        equal((entry["connection_status"], known["connection_status"]), ("connected", "connected"))
        for address in two["known_primary_cluster_addrs"] + [two["primary_cluster_addr"]]:
            true(address.startswith("https://"), address)
        equal(two["known_primary_cluster_addrs"], [primary.nodes[0].cluster_addr])
        true("merkle_sync_progress" not in two, two)
    with t.check("status_fields: %s: last_remote_wal reaches the primary's index of that kind after a write" % kind):
        primary.active().put_kv("mark", "x")
        want = status(primary.active(), kind)["last_dr_wal" if kind == "dr" else "last_performance_wal"]
        wait_for("the index", lambda: status(secondary.active(), kind)["last_remote_wal"] >= want, 20)
    with t.check("status_fields: %s: the frame: both kinds, each kind alone, without a token" % kind):
        both = primary.active().read("sys/replication/status", token="nonsense")["data"]
        equal(sorted(both), ["dr", "performance"])
        equal(primary.active().ask("GET", "sys/replication/other/status", token="")[0], 404)


def community(t, world, node):
    """A server without the feature answers a flat object: the command line copes with that and with what is not known."""
    forms = [({"mode": "disabled"}, "disabled"), ({"mode": "unsupported"}, "disabled"), ({}, "disabled"),
             ({"dr": {"mode": ""}, "performance": {"mode": "disabled"}}, "disabled"),
             ({"dr": {"mode": "primary", "state": "running", "known_secondaries": None, "secondaries": None}}, "primary")]
    with t.check("status_fields: the community form, and halves of the other, read by the command line"):
        for data, text in forms:
            with Api(world.ports.take(), node, lambda method, path, d=data: (200, {"data": d})) as api:
                for args in (("status",), ("watch", "-count=1", "-interval=10ms")):
                    code, out, err = node.cli("replication", *args, env={"VAULT_ADDR": api.addr})
                    equal((code, text in out), (0, True), "%r: %s%s" % (data, out, err))
                code, out, err = node.cli("replication", "status", "-format=json", env={"VAULT_ADDR": api.addr})
                equal((code, json.loads(out)), (0, data), err)


# ---------------------------------------------------------------- DR operation tokens

POLICY = "".join('path "%s" { capabilities = ["update"] }\n' % p for p in
                 (DR + "update-primary", DR + "disable", DR + "promote"))
RAFT_POLICY = 'path "sys/storage/raft/configuration" { capabilities = ["read"] }'


def batch_token(a, name, policy):
    node = a.active()
    node.write("sys/policies/acl/" + name, {"policy": policy})
    node.write("auth/token/roles/" + name, {"allowed_policies": [name], "orphan": True, "renewable": False,
                                            "token_type": "batch"})
    token = node.write("auth/token/create/" + name, {"ttl": "1h"})["auth"]["client_token"]
    return token


def ceremony(c):
    """Over plain HTTP with an OTP that the client made."""
    node, base = c.active(), DR + "generate-operation-token/"
    before = node.read(base + "attempt", token="")
    equal((before["started"], before["nonce"], before["progress"], before["complete"]), (False, "", 0, False))
    refused(400, "wrong length", node.write, base + "attempt", {"otp": "short"}, token="")
    otp = "".join(random.choice(string.ascii_letters + string.digits) for _ in range(before["otp_length"]))
    begun = node.write(base + "attempt", {"otp": otp}, token="")
    equal((begun["started"], begun["otp"], begun["required"]), (True, "", c.threshold))
    refused(400, "already in progress", node.write, base + "attempt", {}, token="")
    refused(403, "nonce", node.call, "DELETE", base + "attempt", token="")
    for i, key in enumerate(c.keys[:c.threshold]):
        last = node.write(base + "update", {"key": key, "nonce": begun["nonce"]}, token="")
        equal(last["progress"], i + 1)
    equal(last["complete"], True)
    return replicas.decode_token(last["encoded_token"], otp)


def by_command_line(c):
    node = c.active()
    code, out, err = node.cli("operator", "generate-root", "-dr-token", "-init", "-format=json", token="")
    equal(code, 0, err)
    begun = json.loads(out)
    for key in c.keys[:c.threshold]:
        code, out, err = node.cli("operator", "generate-root", "-dr-token", "-format=json",
                                  "-nonce=" + begun["nonce"], key, token="")
        equal(code, 0, err)
    last = json.loads(out)
    code, out, err = node.cli("operator", "generate-root", "-dr-token", "-decode=" + last["encoded_token"],
                              "-otp=" + begun["otp"], token="")
    equal(code, 0, err)
    return out.strip().split()[-1]


def operation_tokens(t, a, c):
    node = c.active()
    with t.check("dr_operation_token: the ceremony over plain HTTP, with the client's OTP and this cluster's shares"):
        token = ceremony(c)
        refused(403, "permission denied", node.write, DR + "operation-token/delete", {"dr_operation_token": "s.wrong"},
                token="")
        true(node.write("sys/storage/raft/configuration", {"dr_operation_token": token}, token="")["data"], "no peers")
        node.write(DR + "operation-token/delete", {"dr_operation_token": token}, token="")
        refused(403, "deleted", node.write, DR + "operation-token/delete", {"dr_operation_token": token}, token="")
    with t.check("dr_operation_token: the ceremony by the command line"):
        time.sleep(1.1)  # starts are limited to one a second
        token = by_command_line(c)
        answer = node.write(DR + "promote", {"dr_operation_token": token, "dry_run": True}, token="")["data"]
        equal((answer["dry_run"], answer["would_succeed"]), (True, True), answer)
        node.write(DR + "operation-token/delete", {"dr_operation_token": token}, token="")
    with t.check("dr_operation_token: batch tokens work on the paths of their policy alone, without the primary"):
        failover, raft = batch_token(a, "failover", POLICY), batch_token(a, "raft", RAFT_POLICY)
        in_step(a, c, "dr")
        a.nodes[0].pause()
        try:
            true(node.write("sys/storage/raft/configuration", {"dr_operation_token": raft}, token="")["data"], "no peers")
            refused(403, "policies", node.write, "sys/storage/raft/configuration", {"dr_operation_token": failover},
                    token="")
            refused(403, "policies", node.write, DR + "disable", {"dr_operation_token": raft}, token="")
            answer = node.write(DR + "update-primary", {"dr_operation_token": failover, "dry_run": True, "token": ""},
                                token="")["data"]
            equal(answer["would_succeed"], True)
        finally:
            a.nodes[0].resume()
    with t.check("dr_operation_token: a service or root token of the primary is none"):
        refused(403, "orphan batch token", node.write, DR + "promote", {"dr_operation_token": a.root}, token="")
    return failover


def closed(t, a, c):
    node = c.active()
    with t.check("dr_secondary_calls: everything else is 400 with the text, whatever token comes with it"):
        for token in ("", a.root, c.root, "nonsense"):
            for method, path in (("GET", "secret/data/ready"), ("POST", "auth/userpass/login/operator"),
                                 ("GET", "sys/mounts"), ("POST", P + "primary/enable"),
                                 ("POST", P + "secondary/disable"), ("POST", P + "secondary/promote"),
                                 ("POST", "sys/replication/dr/primary/demote"), ("LIST", "auth/token/accessors"),
                                 ("POST", "sys/generate-root/attempt"), ("GET", "nowhere/at/all"),
                                 ("POST", "sys/replication/recover"), ("POST", "sys/replication/secondary/disable")):
                code, body, _ = node.ask(method, path, {} if method == "POST" else None, token=token)
                equal((code, (body.get("errors") or [""])[0]), (400, DISABLED_TEXT), "%s %s" % (method, path))
    with t.check("dr_secondary_calls: what stays open"):
        for path in ("sys/seal-status", "sys/leader", "sys/init", "sys/replication/status", "sys/replication/dr/status",
                     "sys/replication/performance/status", DR + "license/status",
                     DR + "generate-operation-token/attempt"):
            equal(node.ask("GET", path, token="")[0], 200, path)
        equal(node.health(), 472)
        equal(status(node, "performance"), {"mode": "disabled"})
        for path in ("promote", "disable", "update-primary", "operation-token/delete", "generate-public-key"):
            refused(403, "dr_operation_token", node.write, DR + path, {}, token=a.root)
        for path in ("sys/seal", "sys/step-down", "sys/storage/raft/remove-peer", "sys/storage/raft/autopilot/state"):
            refused(403, "dr_operation_token", node.write, path, {}, token="")
        for path in ("promote", "disable", "update-primary", "operation-token/delete"):
            refused(400, "Not a DR secondary.", a.active().write, DR + path, {"dr_operation_token": "x"}, token="")
            equal(node.ask("GET", DR + path, token="")[0], 405, path)


# ---------------------------------------------------------------- dry runs

def missing(node, fields, check, text, path=DR + "enable", **kwargs):
    """Of all that is checked that alone is missing, and says so; nothing has changed."""
    before = node.read("sys/replication/status", token="")["data"]["dr"]["mode"]
    answer = node.write(path, dict(fields, dry_run=True), **kwargs)["data"]
    equal((answer["dry_run"], answer["would_succeed"]), (True, False), str(answer))
    bad = [one for one in answer["checks"] if not one["ok"]]
    equal([one["check"] for one in bad], [check], str(answer["checks"]))
    equal(answer["missing"], ["%s: %s" % (check, bad[0]["text"])])
    true(text in bad[0]["text"], "%r is not in %r" % (text, bad[0]["text"]))
    true(answer["effects"], "no effects")
    equal(node.read("sys/replication/status", token="")["data"]["dr"]["mode"], before)
    return answer


def one_missing_each(t, world, a, node, token):
    """Each prerequisite is taken away alone."""
    with t.check("dry_run: clocks that are apart, versions that are, no room on the disk: each is named, alone"):
        for field, change, check, text in (
                ("server_time_ms", lambda v: v + 90000, "clock", "set the clocks"),
                ("server_time_ms", lambda v: v - 90000, "clock", "set the clocks"),
                ("feature_level", lambda v: v + 2, "version", "upgrade the older side"),
                ("bytes", lambda v: 1 << 60, "space", "MiB free")):
            with Api(world.ports.take(), a.nodes[0], {field: change}) as api:
                missing(node, {"token": token, "primary_api_addr": api.addr}, check, text)
    with t.check("dry_run: cluster addresses that nobody answers at, each with its own error"):
        dead = ["127.0.0.1:1", "nowhere.invalid:8201"]
        with Api(world.ports.take(), a.nodes[0], {"addresses": lambda _: dead}) as api:
            answer = missing(node, {"token": token, "primary_api_addr": api.addr}, "cluster addresses", "0 of 2 accept")
            equal([(one["address"], one["reached"], bool(one["error"])) for one in answer["addresses"]],
                  [(one, False, True) for one in dead])
        with Api(world.ports.take(), a.nodes[0], {"addresses": lambda x: dead + x}) as api:
            answer = node.write(DR + "enable", {"token": token, "primary_api_addr": api.addr, "dry_run": True})["data"]
            equal((answer["would_succeed"], [one["reached"] for one in answer["addresses"]]), (True, [False, False, True]))
    with t.check("dry_run: a token whose time is up, and one that was revoked"):
        old = replicas.secondary_token(a, "dr", "old", ttl="1s")
        gone = replicas.secondary_token(a, "dr", "gone")
        a.active().write("sys/replication/dr/primary/revoke-secondary", {"id": "gone"})
        wait_for("the end of the token", lambda: time.time() > claims(old)["exp"] + 1, 10)
        answer = node.write(DR + "enable", {"token": old, "dry_run": True})["data"]
        equal([one["check"] for one in answer["checks"] if not one["ok"]], ["token", "primary API"])
        true("time is up" in answer["missing"][0], answer["missing"])
        missing(node, {"token": gone}, "primary API", "gone")
        a.active().write("sys/replication/dr/primary/revoke-secondary", {"id": "old"})
    with t.check("dry_run: primary/enable says what tokens will name, and what is no address"):
        answer = a.active().write("sys/replication/dr/primary/enable", {"dry_run": True})
        true("already" in answer["warnings"][0], answer)
        enable = P + "primary/enable"
        answer = missing(node, {"primary_cluster_addr": "https://nowhere"}, "primary_cluster_addr", "no host:port", enable)
        answer = node.write(enable, {"primary_cluster_addr": "https://10.0.0.1:8201", "dry_run": True})["data"]
        equal((answer["would_succeed"], answer["checks"][0]["text"]), (True, "tokens name 10.0.0.1:8201"))


def dry_moves(t, a, b, c, operation):
    """Of those that have a part in replication already."""
    primary, second, recovery = a.active(), b.active(), c.active()
    with t.check("dry_run: demote says who has to follow another, and changes nothing"):
        for kind in ("performance", "dr"):
            if kind == "dr":
                refused(400, "demote the performance primary first", primary.write,
                        "sys/replication/dr/primary/demote", {"dry_run": True})
                continue
            answer = primary.write("sys/replication/%s/primary/demote" % kind, {"dry_run": True})["data"]
            equal((answer["would_succeed"], answer["checks"][0]["check"]), (True, "secondaries"))
            true("1 registered" in answer["checks"][0]["text"] and len(answer["effects"]) == 2, answer)
            equal(status(primary, kind)["mode"], "primary")
    with t.check("dry_run: promote says how far it is, and who answers"):
        for node, path, fields, token in ((second, P + "secondary/promote", {}, None),
                                          (recovery, DR + "promote", {"dr_operation_token": operation}, "")):
            answer = node.write(path, dict(fields, dry_run=True), token=token)["data"]
            texts = {one["check"]: one["text"] for one in answer["checks"]}
            true({"state", "lag", "primary"} <= set(texts), texts)
            equal((answer["would_succeed"], texts["state"]), (True, "stream-wals"))
            true("demote it first" in texts["primary"], texts)
            equal([type(answer[x]) for x in ("last_remote_wal", "lag_entries", "lag_bytes", "lag_ms")], [int] * 4)
            true(len(answer["effects"]) >= 2, answer["effects"])
    with t.check("dry_run: update-primary, with addresses that do not answer, with none, and with a token"):
        path, fields = DR + "update-primary", {"dr_operation_token": operation}
        missing(recovery, dict(fields, update_primary_addrs=["127.0.0.1:1"]), "cluster addresses", "0 of 1 accept", path,
                token="")
        answer = recovery.write(path, dict(fields, update_primary_addrs=[primary.cluster_addr], dry_run=True), token="")
        equal((answer["data"]["would_succeed"], answer["data"]["addresses"][0]["reached"]), (True, True))
        token = replicas.secondary_token(a, "dr", "again")
        answer = recovery.write(path, dict(fields, token=token, dry_run=True), token="")["data"]
        equal((answer["would_succeed"], sorted(one["check"] for one in answer["checks"])),
              (True, ["clock", "cluster addresses", "primary API", "space", "token", "version"]))
        true("only what differs moves" in answer["effects"][0], answer["effects"])
        primary.write("sys/replication/dr/primary/revoke-secondary", {"id": "again"})
        equal(status(recovery, "dr")["state"], "stream-wals")
    with t.check("dry_run: filters have the form of all"):
        path = P + "primary/paths-filter/b"
        answer = primary.write(path, {"mode": "deny", "paths": ["secret/", "nowhere/"], "dry_run": True})
        data = answer["data"]
        equal((data["dry_run"], data["would_succeed"], data["missing"], data["would_be_removed"]),
              (True, True, [], ["secret/"]))
        equal([one["check"] for one in data["checks"]], ["path", "path", "secondary"])
        true(any("secret/" in one for one in data["effects"]) and "nowhere/" in answer["warnings"][0], answer)
        answer = primary.call("DELETE", path + "?dry_run=true")["data"]
        equal((answer["dry_run"], answer["effects"]), (True, ["nothing that is there now comes or goes"]))
        equal(primary.ask("GET", path)[0], 404)
        primary.write(path, {"mode": "deny", "paths": ["secret/"]})
        for asked in True, "true":  # in the body, where nothing else of a deletion is read
            answer = primary.call("DELETE", path, {"dry_run": asked})["data"]
            equal((answer["dry_run"], primary.ask("GET", path)[0]), (True, 200), answer)
        equal(primary.ask("DELETE", path, raw=b"{")[0], 400)
        equal(primary.ask("GET", path)[0], 200)
        primary.call("DELETE", path, {"dry_run": False})
        equal(primary.ask("GET", path)[0], 404)
        refused(400, "no secondary", primary.write, P + "primary/paths-filter/nobody", {"dry_run": True})


def dry(t, world, a, c):
    node, token = c.nodes[0], replicas.secondary_token(a, "dr", "c")
    with t.check("dry_run: enable says what would happen, and takes nothing: the token works afterwards"):
        answer = node.write(DR + "enable", {"token": token, "dry_run": True})["data"]
        equal((answer["would_succeed"], answer["missing"]), (True, []), answer)
        checks = {one["check"]: one for one in answer["checks"]}
        equal(sorted(checks), ["clock", "cluster addresses", "primary API", "space", "token", "version"])
        equal([(one["address"], one["reached"]) for one in answer["addresses"]],
              [("127.0.0.1:%d" % a.nodes[0].cluster_port, True)])
        true(any("replaced" in one for one in answer["effects"]), answer["effects"])
        equal(status(node, "dr"), {"mode": "disabled"})
    with t.check("dry_run: nobody at the primary's address"):
        missing(node, {"token": token, "primary_api_addr": "https://127.0.0.1:1"}, "primary API", "127.0.0.1:1")
    one_missing_each(t, world, a, node, token)
    with t.check("dry_run: cannot promote, demote or move what is nothing of the kind: refused as the call would be"):
        refused(400, "Not a DR secondary.", node.write, DR + "promote", {"dry_run": True})
        refused(400, "cluster is not a dr primary", node.write, "sys/replication/dr/primary/demote", {"dry_run": True})
        refused(400, "Not a DR secondary.", node.write, DR + "update-primary", {"dry_run": True, "token": ""})
    node.write(DR + "enable", {"token": token})
    streaming(c, "dr")
    with t.check("repeated: a DR secondary takes the token that made it one, and no other call"):
        answer = node.write(DR + "enable", {"token": token}, token="")
        true("nothing was changed" in answer["warnings"][0], answer)
        other = replicas.secondary_token(a, "dr", "other")
        refused(400, DISABLED_TEXT, node.write, DR + "enable", {"token": other}, token="")
        refused(400, DISABLED_TEXT, node.write, DR + "enable", {}, token="")
        a.active().write("sys/replication/dr/primary/revoke-secondary", {"id": "other"})


# ---------------------------------------------------------------- a promotion in the middle of a copy

SHORT_LOG = ["trailing_logs = 20", 'snapshot_interval = "1s"']
SHORT_TIMES = ["replication {", '  log_retention = "2s"', "}"]


def forget_log(node):
    """Writes until everything that is in the log now has left it."""
    index = node.applied()

    def gone():
        for i in range(30):
            node.put_kv("hot", str(i))
        return {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]}["coffer_raft_first_index"] > index
    wait_for("the log to be cut", gone, 90, 0.3)


def later_sync(t, world):
    """Acceptance 7, in the first copy and in a later one; the status on the way. A relay decides how fast."""
    a = world.cluster("la", nodes=1, storage_extra=SHORT_LOG, extra=SHORT_TIMES)
    c = world.cluster("lc", nodes=1)
    with Throttle(world.ports.take(), a.nodes[0].cluster_port) as relay:
        a.nodes[0].cluster_addr = "https://127.0.0.1:%d" % relay.port
        a.up(1, 1)
        c.up(1, 1, kv=False)
        node = c.nodes[0]
        replicas.enable_primary(a, "dr")
        operation = batch_token(a, "failover", POLICY)
        promote = {"dr_operation_token": operation}
        relay.rate = 0
        with t.check("promote_during_sync: in the first copy 503, with and without force; the status says bootstrapping"):
            node.write(DR + "enable", {"token": replicas.secondary_token(a, "dr", "c")})
            seen = status(node, "dr")
            typed(seen, dict(SECONDARY), "bootstrapping")
            equal((seen["mode"], seen["last_remote_wal"], seen["ready_to_promote"]), ("bootstrapping", 0, False))
            health = node.read("sys/health?sealedcode=200", token="")
            equal(health["replication_dr_mode"], "bootstrapping")
            for fields in (promote, dict(promote, force=True)):
                refused(503, "catching up", node.write, DR + "promote", fields, token=c.root)
        relay.rate = None
        streaming(c, "dr")
        a.any().put_kv("before", "1")
        in_step(a, c, "dr")
        node.stop()
        for i in range(16):
            a.any().put_kv("big-%d" % i, os.urandom(1 << 19).hex(), timeout=60)
        forget_log(a.any())
        relay.rate = 2 << 20
        node.start()
        c.unseal(node)
        with t.check("promote_during_sync: in a later one 503 with the text, and the status shows how far it is"):
            wait_for("the copy to begin", lambda: status(node, "dr")["state"] in ("merkle-diff", "merkle-sync"), 60)
            refused(503, 'replication is still catching up, try again later or provide the "force" argument', node.write,
                    DR + "promote", promote, token="")
            seen = wait_for("its progress", lambda: status(node, "dr")["state"] == "merkle-sync" and status(node, "dr"), 60)
            relay.rate = 1 << 20
            typed(seen, SECONDARY, "merkle-sync")
            typed(seen["merkle_sync_progress"], {"sync_total_keys": INT, "sync_progress": INT}, "merkle_sync_progress")
            equal((seen["mode"], seen["state"]), ("secondary", "merkle-sync"))
            answer = node.write(DR + "promote", dict(promote, dry_run=True), token="")["data"]
            equal((answer["would_succeed"], "force=true" in answer["missing"][0]), (False, True))
        with t.check("promote_during_sync: with force 200, on the data from before the copy, whole"):
            answer = node.write(DR + "promote", dict(promote, force=True), token="")
            true("promoted to a replication primary" in answer["warnings"][0], answer)
            c.root = a.root
            wait_for("the cluster to serve", lambda: node.health() == 200, 30)
            equal(node.get_kv("before"), "1")
            equal([node.ask("GET", "secret/data/big-%d" % i)[0] for i in range(16)], [404] * 16)
            node.put_kv("after", "1")
            equal(status(node, "dr")["mode"], "primary")
        for cluster in (a, c):
            world.end(cluster)


# ---------------------------------------------------------------- the command line

def commands(t, a, b):
    """On two clusters that have no part in replication yet: the whole life of a secondary by commands."""
    def run(cluster, *args, code=0, stdin=None, token=None):
        got, out, err = cluster.nodes[0].cli("replication", *args, stdin=stdin, token=token)
        equal(got, code, "%s: %s%s" % (" ".join(args), out, err))
        return out
    with t.check("command_line: enable, token, join with a dry run before, watch, promote, demote, disable"):
        out = run(a, "enable", "-dry-run")
        true("The call would succeed." in out and "authority" in out, out)
        equal(status(a.nodes[0], "performance"), {"mode": "disabled"})
        run(a, "enable")
        key = run(b, "public-key", "-field=secondary_public_key").strip()
        wrapped = json.loads(run(a, "token", "-format=json", "one"))["wrap_info"]["token"]
        token = run(a, "token", "-public-key=" + key, "-field=token", "b").strip()
        out = run(b, "join", "-dry-run", "-primary-api-addr=https://127.0.0.1:1", wrapped, code=2)
        true("primary API" in out and "Nothing was changed." in out, out)
        checks = json.loads(run(b, "join", "-dry-run", "-format=json", wrapped))
        equal((checks["dry_run"], checks["would_succeed"]), (True, True))
        run(b, "join", "-", stdin=token + "\n")
        streaming(b, "performance")
        b.root = replicas.login(b)
        lines = run(b, "watch", "-count=2", "-interval=100ms", "-format=json").splitlines()
        equal([json.loads(one)[b.nodes[0].addr]["performance"]["mode"] for one in lines], ["secondary"] * 2)
        true("stream-wals" in run(b, "status"), "no table")
        run(a, "revoke", "one")
        run(b, "update-primary", "-addr=" + a.nodes[0].cluster_addr)
        run(b, "update-primary", code=1)
        run(b, "update-primary", "-detach")
        run(a, "demote")
        run(b, "promote")
        equal(status(b.nodes[0], "performance")["mode"], "primary")
        run(a, "disable", "-secondary")
        run(b, "disable")
        run(b, "disable", "-kind=other", code=1)
        equal([status(x.nodes[0], "performance") for x in (a, b)], [{"mode": "disabled"}] * 2)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def api():
            a, b, c = (world.cluster(name, nodes=1) for name in "abc")
            a.up(3, 2)
            b.up(kv=False)
            c.up(3, 2, kv=False)
            replicas.add_operator(a)
            with t.check("status_fields: off: exactly the mode, of each kind"):
                equal(status(a.active(), "dr"), {"mode": "disabled"})
                equal(a.active().read("sys/replication/status", token="")["data"],
                      {"dr": {"mode": "disabled"}, "performance": {"mode": "disabled"}})
            community(t, world, a.active())
            replicas.enable_primary(a, "performance")
            replicas.enable_primary(a, "dr")
            with t.check("status_fields: a primary that nobody follows"):
                for kind in ("performance", "dr"):
                    seen = status(a.active(), kind)
                    typed(seen, PRIMARY, kind)
                    equal(seen["registered_secondaries"], [])
                    equal((seen["known_secondaries"], seen["secondaries"], seen["state"], seen["primary_cluster_addr"]),
                          ([], [], "running", ""))
            tokens(t, a, b)
            sealed(t, a, b)
            dry(t, world, a, c)
            fields(t, a, b, "performance")
            fields(t, a, c, "dr")
            dry_moves(t, a, b, c, operation_tokens(t, a, c))
            closed(t, a, c)
            for cluster in (a, b, c):
                world.end(cluster)

        def command_line():
            a, b = (world.cluster(name, nodes=1).up(kv=False) for name in "xy")
            replicas.add_operator(a)
            commands(t, a, b)
            for cluster in (a, b):
                world.end(cluster)

        for name, call in (("api", api), ("later_sync", lambda: later_sync(t, world)), ("command_line", command_line)):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
