"""hvac: what is left of the system backend."""
import io
import os

import hvac
from hvac import exceptions

from checks import equal, raises, true
from cluster import wait_for


def everything(t, target):
    for part in (leases, mounts, namespaces, quotas, elsewhere):
        with t.scenario(part.__name__):
            part(t, target)


def leases(t, target):
    c, mount = target.client, target.name("le")
    c.sys.enable_auth_method("userpass", path=mount)
    c.auth.userpass.create_or_update_user("u", "pw", policies="default", mount_point=mount)
    where = "auth/%s/login/u" % mount

    def enter():
        own = target.other("")
        own.auth.userpass.login("u", "pw", mount_point=mount)
        return own
    with t.check("list, read, revoke a lease"):
        own = enter()
        keys = c.sys.list_leases(where)["data"]["keys"]
        equal(len(keys), 1)
        lease = "%s/%s" % (where, keys[0])
        equal(c.sys.read_lease(lease)["data"]["id"], lease)
        raises(exceptions.InvalidRequest, c.sys.renew_lease, where + "/none")
        raises(exceptions.InvalidRequest, c.sys.renew_lease, lease, increment=60)  # tokens renew themselves
        c.sys.revoke_lease(lease)
        wait_for("the revocation", lambda: not own.is_authenticated(), 10)
        raises(exceptions.InvalidRequest, c.sys.read_lease, lease)
    with t.check("revoke by prefix, and by force"):
        for revoke in (c.sys.revoke_prefix, c.sys.revoke_force):
            own = enter()
            equal(own.is_authenticated(), True)
            revoke(where)
            wait_for("the revocation", lambda: not own.is_authenticated(), 10)
    c.sys.disable_auth_method(mount)


def mounts(t, target):
    c, path = target.client, target.name("mo")
    with t.check("retrieve_mount_option"):
        c.sys.enable_secrets_engine("kv", path=path, options={"version": "2"})
        equal(c.sys.retrieve_mount_option(path, "version"), "2")
        equal(c.sys.retrieve_mount_option(path, "none", "else"), "else")
        c.sys.disable_secrets_engine(path)


def namespaces(t, target):
    c, name = target.client, target.name("ns")
    with t.check("create, list, use, delete a namespace"):
        equal(c.sys.create_namespace(name)["data"]["path"], name + "/")
        true(name + "/" in c.sys.list_namespaces()["data"]["keys"], "not listed")
        inside = hvac.Client(url=c.url, token=c.token, namespace=name, verify=c.adapter._kwargs["verify"])
        inside.sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
        inside.secrets.kv.v1.create_or_update_secret("x", {"v": "1"}, mount_point="kv")
        equal(c.read(name + "/kv/x")["data"], {"v": "1"})
        true("kv/" not in c.sys.list_mounted_secrets_engines()["data"], "it is of the namespace alone")
        inside.sys.create_namespace("child")
        raises(exceptions.VaultError, c.sys.delete_namespace, name)
        inside.sys.delete_namespace("child")
        wait_for("the end of the child", lambda: ended(inside), 20)
        c.sys.delete_namespace(name)
        wait_for("its end", lambda: name + "/" not in listed(c), 20)


def listed(client):
    try:
        return client.sys.list_namespaces()["data"]["keys"]
    except exceptions.InvalidPath:
        return []


def ended(client):
    return "child/" not in listed(client)


def quotas(t, target):
    c, name = target.client, target.name("qu")
    with t.check("create, change, read, list, delete a rate limit"):
        c.sys.create_or_update_quota(name, 100000, path="", interval="1s")
        c.sys.create_or_update_quota(name, 200000.5, path="", interval="2s")
        got = c.sys.read_quota(name)["data"]
        equal((got["rate"], got["interval"], got["type"]), (200000.5, 2, "rate-limit"))
        true(name in c.sys.list_quotas()["data"]["keys"], "not listed")
        c.sys.delete_quota(name)
        raises(exceptions.InvalidPath, c.sys.read_quota, name)


def elsewhere(t, target):
    """What the community edition does not have either: a clear 404, as there."""
    c = target.client
    with t.check("endpoint and role governing policies are 404"):
        for call, args in ((c.sys.list_egp_policies, ()), (c.sys.read_egp_policy, ("x",)),
                           (c.sys.create_or_update_egp_policy, ("x", "main = rule { true }", "soft-mandatory", ["*"])),
                           (c.sys.delete_egp_policy, ("x",)), (c.sys.list_rgp_policies, ()),
                           (c.sys.read_rgp_policy, ("x",)),
                           (c.sys.create_or_update_rgp_policy, ("x", "main = rule { true }", "soft-mandatory")),
                           (c.sys.delete_rgp_policy, ("x",))):
            raises(exceptions.InvalidPath, call, *args)


# ---------------------------------------------------------------- on the single node

def audit(t, client, folder):
    path = os.path.join(folder, "audit-by-api.log")
    with t.check("enable, list, hash with, disable an audit device"):
        client.sys.enable_audit_device("file", description="d", options={"file_path": path}, path="by-api")
        equal(client.sys.list_enabled_audit_devices()["data"]["by-api/"]["options"]["file_path"], path)
        hashed = client.sys.calculate_hash("by-api", "words")["data"]["hash"]
        true(hashed.startswith("hmac-sha256:"), hashed)
        client.write_data("cubbyhole/audited", data={"v": "words"})
        with open(path) as f:
            text = f.read()
        true(hashed in text and '"words"' not in text, "the value is there by its hash alone")
        client.sys.disable_audit_device("by-api")
        true("by-api/" not in client.sys.list_enabled_audit_devices()["data"], "still listed")


def initial(t, client):
    with t.check("read_init_status"):
        equal(client.sys.read_init_status(), {"initialized": True})
    with t.check("get_encryption_key_status"):
        true(client.sys.get_encryption_key_status()["data"]["term"] >= 1, "term")


def rekeying(t, client, cluster):
    sys = client.sys
    with t.check("start and cancel a rekey"):
        equal(sys.read_rekey_progress()["started"], False)
        begun = sys.start_rekey(secret_shares=2, secret_threshold=2)
        equal((begun["started"], begun["required"]), (True, cluster.threshold))
        sys.cancel_rekey()
        equal(sys.read_rekey_progress()["started"], False)
    with t.check("rekey with verification, all keys and one by one"):
        begun = sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)
        sys.rekey(cluster.keys[0], begun["nonce"])
        done = sys.rekey_multi(cluster.keys[1:cluster.threshold], begun["nonce"])
        equal((done["complete"], done["verification_required"]), (True, True))
        fresh = done["keys_base64"]
        progress = sys.read_rekey_verify_progress()
        equal((progress["nonce"], progress["t"]), (done["verification_nonce"], 2))
        sys.rekey_verify(fresh[0], progress["nonce"])
        sys.cancel_rekey_verify()  # starts the verification over
        nonce = sys.read_rekey_verify_progress()["nonce"]
        equal(sys.rekey_verify_multi(fresh[1:3], nonce)["complete"], True)
        cluster.keys, cluster.threshold = fresh, 2
    with t.check("no backup without OpenPGP keys"):
        raises(exceptions.VaultError, sys.read_backup_keys)
    with t.check("the new keys unseal, the old ones are gone"):
        sys.seal()
        equal(sys.submit_unseal_keys(fresh[:2])["sealed"], False)
        wait_for("the node to be active", lambda: sys.read_health_status().status_code == 200, 20)


def snapshots(t, client, folder):
    kv = client.secrets.kv.v1
    client.sys.enable_secrets_engine("kv", path="snap", options={"version": "1"})
    with t.check("take, restore, restore by force"):
        for restore in (client.sys.restore_raft_snapshot, client.sys.force_restore_raft_snapshot):
            kv.create_or_update_secret("x", {"v": "before"}, mount_point="snap")
            taken = client.sys.take_raft_snapshot()
            content = taken.raw.read() if not taken._content_consumed else taken.content
            equal((taken.status_code, content[:2]), (200, b"\x1f\x8b"))
            kv.create_or_update_secret("x", {"v": "after"}, mount_point="snap")
            restore(content)
            wait_for("the data of before", lambda: kv.read_secret("x", mount_point="snap")["data"]["v"] == "before", 30)
    client.sys.disable_secrets_engine("snap")
    with t.check("automatic snapshots: create, read, list, status, delete"):
        kept = os.path.join(folder, "auto")
        os.makedirs(kept, exist_ok=True)
        client.sys.create_or_update_raft_auto_snapshot_config("hourly", "1h", "local", retain=3,
                                                              path_prefix=kept)
        got = client.sys.read_raft_auto_snapshot_config("hourly")["data"]
        equal((got["interval"], got["retain"], got["path_prefix"]), (3600, 3, kept))
        equal(client.sys.list_raft_auto_snapshot_configs()["data"]["keys"], ["hourly"])
        true("data" in client.sys.read_raft_auto_snapshot_status("hourly"), "status")
        client.sys.delete_raft_auto_snapshot_config("hourly")
        raises(exceptions.InvalidPath, client.sys.read_raft_auto_snapshot_config, "hourly")


# ---------------------------------------------------------------- with three nodes

def membership(t, world, cluster, client):
    """A fourth node joins by request, and is removed again."""
    late = world.cluster("late", nodes=1, tls=cluster.tls)
    late.seal_key = cluster.seal_key
    node = late.nodes[0].start()
    own = hvac.Client(url=node.addr, verify=cluster.tls.ca)

    def servers():
        return [s["node_id"] for s in client.sys.read_raft_config()["data"]["config"]["servers"]]
    with t.check("join_raft_cluster"):
        with open(cluster.tls.ca) as f:
            equal(own.sys.join_raft_cluster(cluster.active().addr, leader_ca_cert=f.read())["joined"], True)
        wait_for("the fourth member", lambda: node.name in servers(), 30)
        wait_for("it to unseal itself", lambda: not own.sys.is_sealed(), 30)
    with t.check("remove_raft_node"):
        client.sys.remove_raft_node(node.name)
        wait_for("three members", lambda: node.name not in servers(), 30)
    node.stop()
