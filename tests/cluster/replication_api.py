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
ENTRY = {"api_address": STRING, "clock_skew_ms": STRING, "cluster_address": STRING, "connection_status": STRING,
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

def dry(t, a, c):
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
        answer = node.write(DR + "enable", {"token": token, "dry_run": True,
                                            "primary_api_addr": "https://127.0.0.1:1"})["data"]
        equal(answer["would_succeed"], False)
        true(any("127.0.0.1:1" in one for one in answer["missing"]), answer["missing"])
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
            dry(t, a, c)
            fields(t, a, b, "performance")
            fields(t, a, c, "dr")
            operation_tokens(t, a, c)
            closed(t, a, c)
            for cluster in (a, b, c):
                world.end(cluster)

        def command_line():
            a, b = (world.cluster(name, nodes=1).up(kv=False) for name in "xy")
            replicas.add_operator(a)
            commands(t, a, b)
            for cluster in (a, b):
                world.end(cluster)

        for name, call in (("api", api), ("command_line", command_line)):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
