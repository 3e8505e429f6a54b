#!/usr/bin/env python3
"""Secrets stay where they belong: unique canaries go through a cluster by every way in, then everything that its nodes have on
disk is searched for them, and the memory of each node after it was sealed (reliability.md P-18, P-22).
"""
import base64
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from canary import canary, in_memory, is_sanitized, on_disk, wanted  # noqa: E402
from checks import Checks, equal  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402

AUDIT = ['audit "file" "main" {', "  options {", '    file_path = "audit.log"', "  }", "}", 'log_level = "trace"']


def memory_of(pid, needles):
    return [] if is_sanitized(pid) else in_memory(pid, needles)


def put_in(cluster):
    """Every secret that a client or the operator gives to or gets from the cluster; name to text."""
    node, standby = cluster.active(), cluster.standbys()[0]
    secrets = {"the value": canary("value"), "the old value": canary("old"), "the password": canary("password"),
               "the cubbyhole": canary("cubbyhole"), "the wrapped": canary("wrapped"), "the metadata": canary("meta")}
    node.put_kv("a", secrets["the old value"])
    standby.put_kv("a", secrets["the value"])
    node.write("secret/metadata/a", {"custom_metadata": {"m": secrets["the metadata"]}})
    node.write("sys/auth/people", {"type": "userpass"})
    node.write("auth/people/users/ann", {"password": secrets["the password"]})
    token = standby.write("auth/people/login/ann", {"password": secrets["the password"]}, token="")["auth"]["client_token"]
    node.write("cubbyhole/c", {"c": secrets["the cubbyhole"]})
    wrapped = node.write("sys/wrapping/wrap", {"w": secrets["the wrapped"]}, headers={"X-Vault-Wrap-TTL": "1h"})
    node.write("sys/auth/apps", {"type": "approle"})
    node.write("auth/apps/role/r", {})
    secret_id = standby.write("auth/apps/role/r/secret-id")["data"]["secret_id"]
    role = node.read("auth/apps/role/r/role-id")["data"]["role_id"]
    app = standby.write("auth/apps/login", {"role_id": role, "secret_id": secret_id}, token="")["auth"]["client_token"]
    for each in cluster.nodes:
        for _ in range(3):
            equal(each.get_kv("a"), secrets["the value"])
            each.read("auth/token/lookup-self", token=token)
            each.read("auth/token/lookup-self", token=app)
        each.read("cubbyhole/c")
        equal(each.ask("POST", "secret/data/a", raw=b'{"data":{"v":"%s' % secrets["the value"].encode())[0], 400)
        equal(each.ask("GET", "secret/data/a", token="hvs." + secrets["the value"])[0], 403)
    secrets.update({"the user's token": token, "the app's token": app, "the secret-id": secret_id, "the root token": cluster.root,
                    "the wrapping token": wrapped["wrap_info"]["token"]})
    return secrets


def between_clusters(t, world):
    """The same across a link: writes that a secondary forwards, the activation token, a DR operation token."""
    tls = world.certificates("pair")
    a, b, d = (world.cluster(name, nodes=1, seal="shamir", tls=tls, extra=AUDIT if name == "a" else ()) for name in "abd")
    for cluster in (a, b, d):
        cluster.up()
    p, s = a.active(), b.active()
    secrets = {}
    with t.check("canaries go through a performance secondary to its primary, and to a DR secondary"):
        replicas.add_operator(a)
        for kind, secondary in (("performance", b), ("dr", d)):
            replicas.enable_primary(a, kind)
            token = replicas.secondary_token(a, kind, secondary.name)
            secrets["the token for %s" % secondary.name] = token
            secondary.active().write("sys/replication/%s/secondary/enable" % kind,
                                     {"token": token, "ca_file": tls.ca}, timeout=60)
            replicas.streaming(secondary, kind)
        b.root = replicas.login(b)
        for name in ("forwarded", "old", "password", "own"):
            secrets["the %s" % name] = canary(name)
        s.put_kv("f", secrets["the old"])
        s.put_kv("f", secrets["the forwarded"])
        equal(s.get_kv("f"), secrets["the forwarded"])
        equal(p.get_kv("f"), secrets["the forwarded"])
        s.write("sys/auth/people", {"type": "userpass"})
        s.write("auth/people/users/ann", {"password": secrets["the password"]})
        for node in (s, p):
            secrets["the login at %s" % node.name] = node.write(
                "auth/people/login/ann", {"password": secrets["the password"]}, token="")["auth"]["client_token"]
        s.write("sys/mounts/own", {"type": "kv", "local": True})
        s.write("own/o", {"o": secrets["the own"]})
        replicas.in_step(a, b, "performance")
        replicas.in_step(a, d, "dr")
        operation = replicas.operation_token(d)
        equal(replicas.status(d.active(), "dr")["mode"], "secondary")
        equal(d.active().ask("POST", "sys/replication/dr/secondary/update-primary",
                             {"dr_operation_token": operation, "token": "x"})[0], 400)
        secrets.update({"the operation token": operation, "the root of a": a.root, "the operator of b": b.root})
    needles = wanted(secrets)
    with t.check("nothing of them is on the disk of a cluster"):
        equal({c.name: on_disk(c.dir, needles) for c in (a, b, d)}, {"a": [], "b": [], "d": []})
    with t.check("nothing of them is in the memory of a secondary that was sealed, nor of its primary then"):
        s.write("sys/seal")
        p.write("sys/seal")
        for node in (s, p):
            wait_for("the seal", node.is_sealed, 10)
        time.sleep(1)
        equal({n.name: memory_of(n.proc.pid, needles) for n in (s, p)}, {"b1": [], "a1": []})
    with t.check("nor in that of a DR secondary, which handed on what it cannot read"):
        equal(memory_of(d.active().proc.pid, needles), [])


def main():
    options = arguments(__doc__)
    t = Checks(getattr(options, "only", "") or "")
    with World() as world:
        t.on_failure = world.keep
        cluster = world.cluster("c", nodes=3, seal="shamir", tls=world.certificates(), extra=AUDIT)
        cluster.up()
        if is_sanitized(cluster.nodes[0].proc.pid):
            t.note("memory is not searched: a sanitizer keeps copies of its own. Files are")
        needles = {}
        with t.check("canaries go in by every way"):
            secrets = put_in(cluster)
            needles.update(wanted(secrets))
            needles["the share as it was given"] = cluster.keys[0].encode()
            needles["the share"] = base64.b64decode(cluster.keys[0])  # of one: the key that the seal protects
        with t.check("the search finds what is there: an open node has its key, and the names of secrets"):
            names = dict(needles, name=b"a-name-that-is-found")
            cluster.active().put_kv("a-name-that-is-found", "x")
            pid = cluster.active().proc.pid
            equal({what for _, what in memory_of(pid, names)}, set() if is_sanitized(pid) else {"the share", "name"})
        with t.check("nothing of them is on any disk: data, logs at level trace, audit trail"):
            equal(on_disk(cluster.dir, needles), [])
        with t.check("a process that falls leaves no core"):
            for node in cluster.nodes:
                with open("/proc/%d/limits" % node.proc.pid, encoding="ascii") as limits:
                    core = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
                equal(core, [["0", "0"]])
        for node in list(cluster.nodes):
            with t.check("a second after it was sealed, %s has nothing of them in its memory" % node.name):
                node.write("sys/seal")
                wait_for("the seal", node.is_sealed, 10)
                time.sleep(1)
                equal(memory_of(node.proc.pid, needles), [])
            with t.check("unsealed again, %s reads what it had" % node.name):
                cluster.unseal(node)
                equal(wait_for("the value", lambda: node.get_kv("a"), 20), secrets["the value"])
        between_clusters(t, world)
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
