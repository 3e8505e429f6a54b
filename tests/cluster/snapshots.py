#!/usr/bin/env python3
"""Snapshots as files: saved under writes, restored on three nodes, into an empty cluster, under other
keys; archives that were bent; what does not come back with a restore."""
import base64
import gzip
import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, Writer, arguments, binary, wait_for  # noqa: E402

PATH = "sys/storage/raft/snapshot"


def save(node, token=None):
    """The archive as bytes, over plain http.client (ask() decodes text)."""
    import http.client
    conn = http.client.HTTPConnection(node.host, node.port, timeout=60)
    conn.request("GET", "/v1/" + PATH, headers={"X-Vault-Token": token or node.cluster.root})
    answer = conn.getresponse()
    body = answer.read()
    conn.close()
    equal(answer.status, 200, body[:200])
    equal(answer.headers["Content-Type"], "application/gzip")
    return body


def restore(node, archive, query="", force=False, token=None):
    return node.ask("POST", PATH + ("-force" if force else "") + query, raw=archive, token=token,
                    timeout=60)


def meta(archive):
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return json.loads(tar.extractfile("meta.json").read())


def check_archive(archive):
    """As a client checks it: four files, sums that fit."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        equal(tar.getnames(), ["meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"])
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        equal(hashlib.sha256(files[name]).hexdigest(), digest, name)
    true(files["SHA256SUMS.sealed"], "no proof")
    return files


def repack(files):
    """Files as an archive with fitting sums: what somebody without keys can make."""
    sums = "".join("%s  %s\n" % (hashlib.sha256(files[n]).hexdigest(), n)
                   for n in ("meta.json", "state.bin"))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"):
            data = sums.encode() if name == "SHA256SUMS" else files[name]
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue())


def token_works(node, token):
    return node.ask("GET", "auth/token/lookup-self", token=token)[0] == 200


def shows(cluster, key, value):
    for node in cluster.running():
        if value is None:
            equal(node.ask("GET", "secret/data/" + key)[0], 404, node.name)
        else:
            equal(node.get_kv(key), value, node.name)


def over_itself(t, cluster):
    active = cluster.active()
    standby = cluster.standbys()[0]
    state = {}
    with t.check("saved while writers write, by the active node and by a standby: whole, at one index"):
        writers = [Writer(cluster, "s%d" % i) for i in range(3)]
        for writer in writers:
            writer.start()
        wait_for("some writes", lambda: sum(len(w.acknowledged) for w in writers) > 50)
        archives = [save(active), save(standby)]
        for writer in writers:
            writer.stop()
        for archive in archives:
            files = check_archive(archive)
            equal(json.loads(files["meta.json"])["Size"], len(files["state.bin"]))
            status, body, _ = restore(active, archive, "?dry_run=true")
            equal((status, body["data"]["dry_run"], body["data"]["tokens"]), (200, True, "compared"))
    with t.check("restored over the state that it was taken of: all three nodes switch together"):
        active.put_kv("a", "1")
        state["kept"] = active.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        state["gone"] = active.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        state["batch"] = active.write("auth/token/create", {"policies": ["default"], "type": "batch"}
                                      )["auth"]["client_token"]
        _, body, _ = active.ask("GET", "secret/data/a", headers={"X-Vault-Wrap-TTL": "300s"})
        state["wrap"] = body["wrap_info"]["token"]
        state["archive"] = save(active)
        state["later"] = active.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        active.put_kv("a", "2")
        active.put_kv("b", "2")
        active.write("auth/token/revoke", {"token": state["gone"]})
        equal(active.ask("POST", "sys/wrapping/unwrap", token=state["wrap"])[0], 200)
        status, body, _ = restore(active, state["archive"])
        equal(status, 200, body)
        shows(cluster, "a", "1")
        shows(cluster, "b", None)
    with t.check("snap_rollback_fencing: no revoked token, no opened wrap, no batch token came back"):
        for node in cluster.nodes:
            equal([token_works(node, state[k]) for k in ("kept", "gone", "later", "batch")],
                  [True, False, False, False], node.name)
        true(active.ask("POST", "sys/wrapping/unwrap", token=state["wrap"])[0] in (400, 403), "opened twice")
        fresh = active.write("auth/token/create", {"policies": ["default"], "type": "batch"})
        true(token_works(standby, fresh["auth"]["client_token"]), "a new batch token is refused")
    with t.check("a standby sends a restore to the active node; others' requests run on after it"):
        status, _, headers = restore(standby, state["archive"])
        equal((status, headers["Location"]), (307, "%s/v1/%s" % (active.addr, PATH)))
        equal(restore(standby, state["archive"], token="nobody")[0], 403)
        for node in cluster.nodes:
            node.put_kv("after", node.name)
        shows(cluster, "after", cluster.nodes[-1].name)
    with t.check("all nodes killed after a restore come up with what was restored"):
        restore(active, state["archive"])
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        for node in cluster.nodes:
            cluster.unseal(node)
        cluster.active()
        for node in cluster.nodes:
            wait_for("%s to serve" % node.name, lambda: node.health() in (200, 429, 473))
        shows(cluster, "a", "1")
        shows(cluster, "b", None)
    return state["archive"]


def secret_login(node, role, secret):
    return node.ask("POST", "auth/ar/login", {"role_id": role, "secret_id": secret}, token="")[0]


def secret_ids(cluster):
    """AppRole with a shared role and one whose secret-ids are local: (role, [three secret-ids])."""
    node = cluster.active()
    node.write("sys/auth/ar", {"type": "approle"})
    roles = []
    for name, local in (("shared", False), ("local", True)):
        node.write("auth/ar/role/" + name, {"token_policies": "default", "local_secret_ids": local,
                                            "secret_id_ttl": "2h"})
        role = node.read("auth/ar/role/%s/role-id" % name)["data"]["role_id"]
        ids = [node.write("auth/ar/role/%s/secret-id" % name)["data"] for _ in range(2)]
        ids.append(node.write("auth/ar/role/%s/secret-id" % name, {"num_uses": 2})["data"])
        roles.append((name, role, ids))
    return roles


def engines(t, cluster, world):
    node = cluster.active()
    roles = secret_ids(cluster)
    certs = world.certificates("crl")
    node.write("sys/auth/ce", {"type": "cert"})
    crl = crl_of(certs)
    archive = save(node)
    with t.check("snap_rollback_fencing: secret-ids that were destroyed or spent stay so; others go on"):
        for name, role, ids in roles:
            node.write("auth/ar/role/%s/secret-id/destroy" % name, {"secret_id": ids[1]["secret_id"]})
            equal(secret_login(node, role, ids[2]["secret_id"]), 200)
        node.write("auth/ce/crls/mine", {"crl": crl})
        status, body, _ = restore(node, archive)
        equal((status, body["data"]["tokens"]), (200, "compared"), body)
        for name, role, ids in roles:
            for at in cluster.nodes:
                equal([secret_login(at, role, ids[i]["secret_id"]) for i in (0, 1)], [200, 400],
                      name + at.name)
            equal([secret_login(node, role, ids[2]["secret_id"]) for _ in range(2)], [200, 400], name)
            equal(len(node.call("LIST", "auth/ar/role/%s/secret-id" % name)["data"]["keys"]), 1)
    with t.check("a list of revoked certificates that is newer than the snapshot outlives the restore"):
        equal(node.call("LIST", "auth/ce/crls")["data"]["keys"], ["mine"])


def foreign_engines(t, target, roles):
    with t.check("forced under other keys no secret-id is valid; the roles are there, and make new ones"):
        node = target.active()
        for name, role, ids in roles:
            equal([secret_login(node, role, i["secret_id"]) for i in ids], [400] * 3, name)
            fresh = node.write("auth/ar/role/%s/secret-id" % name)["data"]["secret_id"]
            equal(secret_login(node, role, fresh), 200, name)
            equal(len(node.call("LIST", "auth/ar/role/%s/secret-id" % name)["data"]["keys"]), 1)


def crl_of(certs):
    """An empty list of revoked certificates, signed by the folder's CA."""
    folder = os.path.dirname(certs.ca)
    with open(os.path.join(folder, "crl.conf"), "w") as f:
        f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\ncrlnumber=%s/crlnumber\n"
                "default_md=sha256\ndefault_crl_days=30\n" % (folder, folder))
    open(os.path.join(folder, "index.txt"), "w").close()
    with open(os.path.join(folder, "crlnumber"), "w") as f:
        f.write("01\n")
    return subprocess.run(["openssl", "ca", "-gencrl", "-config", os.path.join(folder, "crl.conf"),
                           "-cert", certs.ca, "-keyfile", certs.ca_key], check=True, capture_output=True,
                          text=True).stdout


def bent(t, cluster, archive):
    node = cluster.active()
    node.put_kv("a", "bent")
    files = check_archive(archive)

    def refused(bytes_, what):
        status, body, _ = restore(node, bytes_)
        equal(status, 400, "%s: %r" % (what, body))
        true(body["errors"] and body["errors"][0], "no reason for " + what)

    with t.check("snap_tamper: cut, bent, swapped, foreign archives are 400 and change nothing"):
        for size in (0, 1, 10, 100, len(archive) // 2, len(archive) - 1):
            refused(archive[:size], "cut at %d" % size)
        for at in range(12, len(archive), len(archive) // 20):
            refused(archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1:], "byte %d" % at)
        refused(archive + b"x", "more behind")
        refused(b"no archive at all", "text")
        state = bytearray(files["state.bin"])
        state[-100] ^= 1
        refused(repack(dict(files, **{"state.bin": bytes(state)})), "a record, sums made to fit")
        changed = json.loads(files["meta.json"])
        refused(repack(dict(files, **{"meta.json": json.dumps(dict(changed, Index=1)).encode()})),
                "the index, sums made to fit")
        refused(repack(dict(files, **{"meta.json": json.dumps(dict(changed, format=99)).encode()})),
                "a newer format")
        shows(cluster, "a", "bent")
    with t.check("nothing of them is left in the data directory"):
        left = [f for f in os.listdir(node.data) if f not in ("db", "lock")]
        true(all("snap" not in f and "spool" not in f for f in left), left)


def into_empty(t, world, archive):
    with t.check("snap_wrong_keys_dry_run: other unseal keys are told, and refused unless forced"):
        other = world.cluster("e", nodes=1, seal="shamir").up()
        node = other.nodes[0]
        node.put_kv("own", "1")
        status, body, _ = restore(node, archive, "?dry_run=true")
        equal((status, body["data"]["unseal_keys"], body["data"]["tokens"]),
              (200, "the snapshot's", "void"), body)
        status, body, _ = restore(node, archive)
        equal(status, 400, body)
        true("unseal keys" in body["errors"][0] and "Nothing was changed" in body["errors"][0], body)
        equal(node.get_kv("own"), "1")
        world.end(other)


def root_token(cluster, share):
    """A ceremony with one share; anew when a leader is sought meanwhile."""
    node = cluster.active()
    node.ask("DELETE", "sys/generate-root/attempt", token="")
    start = node.write("sys/generate-root/attempt", {}, token="")
    done = node.write("sys/generate-root/update", {"key": share, "nonce": start["nonce"]}, token="")
    text = done["encoded_root_token"]
    raw = base64.b64decode(text + "=" * (-len(text) % 4))
    cluster.root = bytes(a ^ b for a, b in zip(raw, start["otp"].encode())).decode()
    return True


def foreign(t, world):
    """A Shamir cluster of three is saved, and restored into another Shamir cluster of three."""
    source = world.cluster("f", nodes=1, seal="shamir").up()
    source.nodes[0].put_kv("from", "source")
    roles = secret_ids(source)
    archive = save(source.nodes[0])
    keys, threshold, root = source.keys, source.threshold, source.root
    world.end(source)
    with t.check("snap_restore_empty: forced, the snapshot's seal comes with it, on all three nodes"):
        target = world.cluster("g", nodes=3, seal="shamir", listener_extra=[
            "disable_unauthed_generate_root_endpoints = false"]).up()
        own_root = target.root
        target.active().write("sys/storage/raft/autopilot/configuration", {"max_trailing_logs": 4321})
        status, body, _ = restore(target.active(), archive, force=True)
        equal(status, 200, body)
        true(any("unseal every node" in w for w in body["warnings"]), body)
        true(any("void" in w for w in body["warnings"]), body)
        true(not any("secret ids" in w and "valid as" in w for w in body["warnings"]), body)
        for node in target.nodes:
            wait_for("%s to seal itself" % node.name, node.is_sealed)
        target.keys, target.threshold = keys, threshold
        for node in target.nodes:
            target.unseal(node)
        for node in target.nodes:
            equal([token_works(node, root), token_works(node, own_root)], [False, False], node.name)
    with t.check("a root token by the snapshot's shares opens its secrets; new nodes may still join"):
        wait_for("a root token", lambda: root_token(target, keys[0]))
        wait_for("the token on all nodes", lambda: all(token_works(n, target.root) for n in target.nodes))
        shows(target, "from", "source")
        settings = target.active().read("sys/storage/raft/autopilot/configuration")["data"]
        equal(settings["max_trailing_logs"], 4321)
        target.active().put_kv("from", "target")
        shows(target, "from", "target")
        for node in target.nodes:
            true("put aside were not taken up" not in node.log(), node.name)
        lost = target.standbys()[0]
        lost.stop()
        target.active().write("sys/storage/raft/remove-peer", {"server_id": lost.name})
        shutil.rmtree(lost.data)
        os.mkdir(lost.data, 0o700)
        lost.start()
        target.unseal(lost)
        wait_for("the node to be a voter again", lambda: lost.name in target.voters(), 60)
        target.caught_up(lost)
        equal(lost.get_kv("from"), "target")
    foreign_engines(t, target, roles)
    world.end(target)


def on_terminal(node, *args):
    """The command line with standard error on a terminal: (exit code, standard output, what was shown)."""
    master, slave = pty.openpty()
    env = dict(os.environ, VAULT_ADDR=node.addr, VAULT_TOKEN=node.cluster.root, TERM="xterm", NO_COLOR="")
    with subprocess.Popen([binary(), *args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=slave, text=True) as proc:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the terminal has no other end any more
                break
            if not piece:
                break
            shown += piece
        out = proc.stdout.read()
    os.close(master)
    return proc.returncode, out, shown.decode("utf-8", "replace")


def kept(t, world):
    with t.check("keep_tokens brings tokens back, and says so"):
        cluster = world.cluster("k", nodes=1).up()
        node = cluster.nodes[0]
        token = node.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
        archive = save(node)
        node.write("auth/token/revoke", {"token": token})
        status, body, _ = restore(node, archive, "?keep_tokens=true")
        equal((status, body["data"]["tokens"]), (200, "kept"))
        true(any("keep_tokens" in w for w in body["warnings"]), body)
        true(token_works(node, token), "the token did not come back")
        equal(restore(node, archive, "?keep_tokens=perhaps")[0], 400)
    with t.check("a bar on a terminal, with bytes; nothing on standard output, nothing where there is no terminal"):
        path = os.path.join(cluster.dir, "bar.snap")
        for args, title in ((("save", path), "Saving"), (("inspect", "-format=json", path), "Reading"),
                            (("verify", path), "Reading"),
                            (("restore", "-dry-run", "-format=json", path), "Sending")):
            code, out, shown = on_terminal(node, "operator", "raft", "snapshot", *args)
            equal(code, 0, shown)
            true(title in shown and "iB" in shown and "/s" in shown, "%r: %r" % (args, shown))
            true("\r" not in out and title not in out, out)
            if "-format=json" in args:
                json.loads(out)
            code, out, err = node.cli("operator", "raft", "snapshot", *args)
            equal((code, err), (0, ""), args)
    with t.check("the command line saves and restores"):
        path = os.path.join(cluster.dir, "cli.snap")
        node.put_kv("cli", "1")
        equal(node.cli("operator", "raft", "snapshot", "save", path)[0], 0)
        node.put_kv("cli", "2")
        code, out, err = node.cli("operator", "raft", "snapshot", "restore", path)
        equal(code, 0, out + err)
        equal(node.get_kv("cli"), "1")
    world.end(cluster)


def scheduled(t, world):
    cluster = world.cluster("c", nodes=3)
    folder = os.path.join(cluster.dir, "kept")
    os.makedirs(os.path.join(folder, "daily"))
    cluster.storage_extra.append('snapshot_path = "%s"' % folder)
    cluster.up()
    at = "sys/storage/raft/snapshot-auto/"
    node = cluster.standbys()[0]

    def files(below="daily"):
        return sorted(f for f in os.listdir(os.path.join(folder, below)) if f.endswith(".snap"))

    with t.check("a schedule takes one at once: whole, by the active node alone, with a status"):
        equal(node.ask("POST", at + "config/d", {"interval": "1h", "retain": 2,
                                                 "path_prefix": "daily"})[0], 204)
        wait_for("a file", files)
        status = wait_for("the status", lambda: node.read(at + "status/d")["data"]
                          if node.read(at + "status/d")["data"]["last_snapshot_url"] else None)
        equal((status["consecutive_errors"], status["snapshot_node"], len(files())),
              (0, cluster.active().name, 1))
        path = status["last_snapshot_url"]
        equal(os.path.basename(path), files()[0])
        equal(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, "rb") as f:
            check_archive(f.read())
        equal(node.read(at + "config/d")["data"]["interval"], 3600)
        equal(node.call("LIST", at + "config")["data"]["keys"], ["d"])
        code, out, err = node.cli("operator", "raft", "snapshot", "verify", path)
        equal(code, 0, out + err)
        true("Success! The snapshot is whole" in out, out)
        code, out, err = node.cli("operator", "raft", "snapshot", "inspect", "-format=json", path)
        equal((code, json.loads(out)["index"]), (0, status["last_snapshot_index"]), out + err)
    with t.check("only so many are kept, and nothing that others put there is touched"):
        stranger = os.path.join(folder, "daily", "coffer-snapshot-1.snap")
        open(stranger, "w").close()
        for i in range(3):
            before = files()
            node.call("DELETE", at + "config/d")
            node.write(at + "config/d", {"interval": "1h", "retain": 2, "path_prefix": "daily"})
            wait_for("the next file", lambda: set(files()) - set(before))
        wait_for("the oldest to go", lambda: len(files()) == 3)
        true(os.path.exists(stranger), "a stranger's file is gone")
        equal([f for f in os.listdir(os.path.join(folder, "daily")) if f.endswith(".part")], [])
    with t.check("no other folder, no other name, no shorter interval"):
        for body in ({"interval": "1h", "path_prefix": "/tmp"}, {"interval": "1h", "path_prefix": ".."},
                     {"interval": "1h", "path_prefix": "none"}, {"interval": "1s"}, {},
                     {"interval": "1h", "file_prefix": "../x"}, {"interval": "1h", "retain": 0},
                     {"interval": "1h", "storage_type": "aws-s3"}):
            status, answer, _ = node.ask("POST", at + "config/x", body)
            equal(status, 400, "%r: %r" % (body, answer))
        equal(node.ask("GET", at + "config/x")[0], 404)
    with t.check("what fails is told, and a damaged file does not verify"):
        node.write(at + "config/f", {"interval": "1h", "path_prefix": "daily", "file_prefix": "f"})
        wait_for("its file", lambda: any(f.startswith("f-") for f in files()))
        path = os.path.join(folder, "daily", [f for f in files() if f.startswith("f-")][0])
        with open(path, "r+b") as f:
            f.seek(2000)
            byte = f.read(1)
            f.seek(2000)
            f.write(bytes([byte[0] ^ 4]))
        code, out, err = node.cli("operator", "raft", "snapshot", "verify", path)
        equal(code, 2, out + err)
        os.rename(os.path.join(folder, "daily"), os.path.join(folder, "gone"))
        node.call("DELETE", at + "config/d")
        os.mkdir(os.path.join(folder, "daily"))
        node.write(at + "config/d", {"interval": "1h", "path_prefix": "daily", "file_prefix": "g"})
        os.rmdir(os.path.join(folder, "daily"))
        wait_for("an error or a file", lambda: node.read(at + "status/d")["data"]["last_snapshot_end"])
    world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def shared():
            cluster = world.cluster("n").up()
            archive = over_itself(t, cluster)
            bent(t, cluster, archive)
            engines(t, cluster, world)
            into_empty(t, world, archive)
            world.end(cluster)

        for name, call in (("shared", shared), ("foreign", lambda: foreign(t, world)),
                           ("kept", lambda: kept(t, world)),
                           ("scheduled", lambda: scheduled(t, world))):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
