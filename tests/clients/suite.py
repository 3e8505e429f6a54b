"""What hvac is used for, call by call, against whatever node it is pointed at."""
import base64
import threading
import time

import hvac
from hvac import exceptions

from checks import equal, raises, true
from cluster import wait_for


class Target:
    """A client and names of its own, so that suites on several nodes do not meet."""

    def __init__(self, client, prefix, is_secondary=False):
        self.client, self.prefix, self.is_secondary = client, prefix, is_secondary

    def name(self, what):
        return "%s-%s" % (self.prefix, what)

    def other(self, token):
        """A second client of the same node with another token."""
        return hvac.Client(url=self.client.url, token=token, verify=self.client.adapter._kwargs["verify"])


def everything(t, target):
    for part in (kv_two, kv_one, policies, tokens, roles, userpass, wrapping, mounts, auths,
                 cubbyhole, status, generic):
        with t.scenario(part.__name__):
            part(t, target)


def mounted(client, mount, max_versions=0):
    """Other servers upgrade a fresh kv v2 mount for a moment before it takes writes."""
    def configured():
        try:
            return client.secrets.kv.v2.configure(max_versions=max_versions, mount_point=mount).ok
        except exceptions.InvalidRequest:
            return False
    wait_for("the mount", configured)


def kv_two(t, target):
    c, mount = target.client, target.name("kv2")
    c.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
    kv = c.secrets.kv.v2
    mounted(c, mount, 5)
    with t.check("configure and read_configuration"):
        equal(kv.read_configuration(mount_point=mount)["data"]["max_versions"], 5)
    with t.check("create, update, read, versions"):
        for i in (1, 2, 3):
            made = kv.create_or_update_secret("a/b", {"v": i, "text": "ä"}, mount_point=mount)
            equal(made["data"]["version"], i)
        got = kv.read_secret_version("a/b", mount_point=mount, raise_on_deleted_version=True)
        equal(got["data"]["data"], {"v": 3, "text": "ä"})
        got = kv.read_secret_version("a/b", version=1, mount_point=mount, raise_on_deleted_version=True)
        equal((got["data"]["data"]["v"], got["data"]["metadata"]["version"]), (1, 1))
        equal(kv.read_secret("a/b", mount_point=mount, raise_on_deleted_version=True)["data"]["data"]["v"], 3)
    with t.check("check-and-set"):
        raises(exceptions.InvalidRequest, kv.create_or_update_secret, "a/b", {"v": 9}, cas=1, mount_point=mount)
        equal(kv.create_or_update_secret("a/b", {"v": 4}, cas=3, mount_point=mount)["data"]["version"], 4)
    with t.check("patch"):
        kv.patch("a/b", {"more": True}, mount_point=mount)
        equal(kv.read_secret_version("a/b", mount_point=mount, raise_on_deleted_version=True)["data"]["data"],
              {"v": 4, "more": True})
        raises(exceptions.InvalidPath, kv.patch, "none", {"a": 1}, mount_point=mount)
    with t.check("delete, undelete, destroy"):
        kv.delete_latest_version_of_secret("a/b", mount_point=mount)
        raises(exceptions.InvalidPath, kv.read_secret_version, "a/b", mount_point=mount,
               raise_on_deleted_version=True)
        gone = kv.read_secret_version("a/b", mount_point=mount, raise_on_deleted_version=False)
        true(gone["data"]["metadata"]["deletion_time"], "no deletion time")
        kv.undelete_secret_versions("a/b", [5], mount_point=mount)
        equal(kv.read_secret_version("a/b", mount_point=mount,
                                     raise_on_deleted_version=True)["data"]["data"]["v"], 4)
        kv.delete_secret_versions("a/b", [3, 4], mount_point=mount)
        kv.destroy_secret_versions("a/b", [3], mount_point=mount)
        versions = kv.read_secret_metadata("a/b", mount_point=mount)["data"]["versions"]
        equal((versions["3"]["destroyed"], versions["4"]["destroyed"]), (True, False))
        true(versions["4"]["deletion_time"], "version 4 is not deleted")
    with t.check("max_versions drops the oldest"):
        for i in range(6, 9):
            kv.create_or_update_secret("a/b", {"v": i}, mount_point=mount)
        equal(sorted(kv.read_secret_metadata("a/b", mount_point=mount)["data"]["versions"], key=int),
              ["4", "5", "6", "7", "8"])
    with t.check("metadata with custom fields"):
        kv.update_metadata("a/b", max_versions=9, cas_required=True, custom_metadata={"owner": "x"},
                           mount_point=mount)
        meta = kv.read_secret_metadata("a/b", mount_point=mount)["data"]
        equal((meta["max_versions"], meta["cas_required"], meta["custom_metadata"]), (9, True, {"owner": "x"}))
        raises(exceptions.InvalidRequest, kv.create_or_update_secret, "a/b", {"v": 0}, mount_point=mount)
    with t.check("list_secrets"):
        kv.create_or_update_secret("a/c", {"v": 1}, mount_point=mount)
        kv.create_or_update_secret("top", {"v": 1}, mount_point=mount)
        equal(kv.list_secrets("", mount_point=mount)["data"]["keys"], ["a/", "top"])
        equal(kv.list_secrets("a", mount_point=mount)["data"]["keys"], ["b", "c"])
        raises(exceptions.InvalidPath, kv.list_secrets, "none", mount_point=mount)
    with t.check("delete_metadata_and_all_versions"):
        kv.delete_metadata_and_all_versions("a/b", mount_point=mount)
        raises(exceptions.InvalidPath, kv.read_secret_metadata, "a/b", mount_point=mount)
    with t.check("numbers, unicode, nesting and a megabyte come back as they went"):
        value = {"int": 9007199254740993, "float": 1.5, "none": None, "list": [1, "zwei", {"drei": []}],
                 "nested": {"": "empty key", "ключ": "значение"}, "big": "x" * 500000}
        kv.create_or_update_secret("odd", value, mount_point=mount)
        got = kv.read_secret_version("odd", mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
        equal(got.pop("big"), value.pop("big"))
        equal(got, value)
    c.sys.disable_secrets_engine(mount)


def kv_one(t, target):
    c, mount = target.client, target.name("kv1")
    kv = c.secrets.kv.v1
    with t.check("mount, create, read, update, list, delete"):
        c.sys.enable_secrets_engine("kv", path=mount, options={"version": "1"})
        kv.create_or_update_secret("x/y", {"a": "1"}, mount_point=mount)
        equal(kv.read_secret("x/y", mount_point=mount)["data"], {"a": "1"})
        kv.create_or_update_secret("x/y", {"b": "2"}, method="PUT", mount_point=mount)
        equal(kv.read_secret("x/y", mount_point=mount)["data"], {"b": "2"})
        equal(kv.list_secrets("x", mount_point=mount)["data"]["keys"], ["y"])
        equal(kv.list_secrets("", mount_point=mount)["data"]["keys"], ["x/"])
        kv.delete_secret("x/y", mount_point=mount)
        raises(exceptions.InvalidPath, kv.read_secret, "x/y", mount_point=mount)
    with t.check("unmount"):
        c.sys.disable_secrets_engine(mount)
        raises(exceptions.VaultError, kv.read_secret, "x/y", mount_point=mount)


def policies(t, target):
    c, name, mount = target.client, target.name("pol"), target.name("polkv")
    c.sys.enable_secrets_engine("kv", path=mount, options={"version": "1"})
    with t.check("create, read, list, delete, both APIs"):
        c.sys.create_or_update_acl_policy(name, {"path": {mount + "/a/*": {"capabilities": ["read", "list"]}}})
        equal(c.sys.read_acl_policy(name)["data"]["name"], name)
        true(name in c.sys.list_acl_policies()["data"]["keys"], "not listed")
        c.sys.create_or_update_policy(name + "2", 'path "x" { capabilities = ["deny"] }')
        true("deny" in c.sys.read_policy(name + "2")["data"]["rules"], "rules")
        true(name + "2" in c.sys.list_policies()["data"]["policies"], "not listed")
        c.sys.delete_policy(name + "2")
        raises(exceptions.InvalidPath, c.sys.read_policy, name + "2")
        true("path" in c.get_policy("default"), "no default policy")
    with t.check("a policy allows what it says and nothing else"):
        c.secrets.kv.v1.create_or_update_secret("a/x", {"v": "1"}, mount_point=mount)
        c.secrets.kv.v1.create_or_update_secret("b/x", {"v": "1"}, mount_point=mount)
        limited = target.other(c.auth.token.create(policies=[name])["auth"]["client_token"])
        equal(limited.secrets.kv.v1.read_secret("a/x", mount_point=mount)["data"]["v"], "1")
        raises(exceptions.Forbidden, limited.secrets.kv.v1.read_secret, "b/x", mount_point=mount)
        raises(exceptions.Forbidden, limited.secrets.kv.v1.create_or_update_secret, "a/x", {"v": "2"},
               mount_point=mount)
        raises(exceptions.Forbidden, limited.sys.list_mounted_secrets_engines)
    with t.check("get_capabilities"):
        paths = [mount + "/a/x", mount + "/b/x"]
        equal(limited.sys.get_capabilities(paths)["data"][paths[0]], ["list", "read"])
        equal(limited.sys.get_capabilities(paths)["data"][paths[1]], ["deny"])
        equal(c.sys.get_capabilities([paths[0]], token=limited.token)["data"][paths[0]], ["list", "read"])
        accessor = limited.auth.token.lookup_self()["data"]["accessor"]
        equal(c.sys.get_capabilities([paths[0]], accessor=accessor)["data"][paths[0]], ["list", "read"])
    with t.check("a changed policy counts at once"):
        c.sys.create_or_update_acl_policy(name, 'path "%s/b/*" { capabilities = ["read"] }' % mount)
        equal(limited.secrets.kv.v1.read_secret("b/x", mount_point=mount)["data"]["v"], "1")
        raises(exceptions.Forbidden, limited.secrets.kv.v1.read_secret, "a/x", mount_point=mount)
        c.sys.delete_acl_policy(name)
        raises(exceptions.Forbidden, limited.secrets.kv.v1.read_secret, "b/x", mount_point=mount)
    c.sys.disable_secrets_engine(mount)


def tokens(t, target):
    c = target.client
    token = c.auth.token
    with t.check("create with every option, lookup"):
        made = token.create(policies=["default"], ttl="1h", explicit_max_ttl="2h", display_name="shown",
                            meta={"k": "v"}, num_uses=0, renewable=True)["auth"]
        seen = token.lookup(made["client_token"])["data"]
        equal((seen["display_name"], seen["meta"], seen["policies"], seen["explicit_max_ttl"]),
              ("token-shown", {"k": "v"}, ["default"], 7200))
        true(3500 <= seen["ttl"] <= 3600, "ttl %s" % seen["ttl"])
        equal(token.lookup_accessor(made["accessor"])["data"]["accessor"], made["accessor"])
        true(made["accessor"] in token.list_accessors()["data"]["keys"], "accessor not listed")
    with t.check("lookup_self, renew_self, renew, renew_accessor"):
        own = target.other(made["client_token"])
        equal(own.auth.token.lookup_self()["data"]["id"], made["client_token"])
        equal(own.is_authenticated(), True)
        equal(own.auth.token.renew_self(increment="30m")["auth"]["lease_duration"], 1800)
        equal(token.renew(made["client_token"], increment="40m")["auth"]["lease_duration"], 2400)
        equal(token.renew_accessor(made["accessor"], increment="50m")["auth"]["lease_duration"], 3000)
    with t.check("revoke"):
        made_too = token.create(policies=["default"], ttl="1h")["auth"]["client_token"]
        equal(target.other(made_too).is_authenticated(), True)
        token.revoke(made_too)
        equal(target.other(made_too).is_authenticated(), False)
    with t.check("revoke_self, revoke_accessor"):
        own.auth.token.revoke_self()
        equal(own.is_authenticated(), False)
        made = token.create(policies=["default"])["auth"]
        token.revoke_accessor(made["accessor"])
        equal(target.other(made["client_token"]).is_authenticated(), False)
    with t.check("orphans survive, children do not"):
        maker = target.name("maker")
        c.sys.create_or_update_acl_policy(maker, 'path "auth/token/create" { capabilities = ["update"] }')
        parent = token.create(policies=[maker, "default"])["auth"]["client_token"]
        child = target.other(parent).auth.token.create(policies=["default"])["auth"]["client_token"]
        orphan = token.create_orphan(policies=["default"])["auth"]
        equal(orphan["orphan"], True)
        token.revoke(parent)
        equal(target.other(child).is_authenticated(), False)
        equal(target.other(orphan["client_token"]).is_authenticated(), True)
        parent = token.create(policies=[maker, "default"])["auth"]["client_token"]
        child = target.other(parent).auth.token.create(policies=["default"])["auth"]["client_token"]
        token.revoke_and_orphan_children(parent)
        equal(target.other(child).is_authenticated(), True)
    with t.check("num_uses: two uses and no third, also from many sides at once"):
        used = token.create(policies=["default"], num_uses=2)["auth"]["client_token"]
        answers = []

        def use():
            try:
                target.other(used).auth.token.lookup_self()
                answers.append(True)
            except exceptions.VaultError:
                answers.append(False)
        threads = [threading.Thread(target=use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(answers.count(True), 2)
    with t.check("a token ends with its ttl"):
        short = token.create(policies=["default"], ttl="2s")["auth"]["client_token"]
        equal(target.other(short).is_authenticated(), True)
        time.sleep(2.5)
        equal(target.other(short).is_authenticated(), False)
    with t.check("a batch token"):
        batch = token.create(policies=["default"], type="batch", ttl="10m")["auth"]
        equal(batch["token_type"], "batch")
        equal(target.other(batch["client_token"]).is_authenticated(), True)
        raises(exceptions.InvalidRequest, token.revoke, batch["client_token"])


def roles(t, target):
    c, name = target.client, target.name("role")
    with t.check("create, read, list, use, delete a token role"):
        c.auth.token.create_or_update_role(name, allowed_policies=["default"], orphan=True,
                                           token_period="1h", renewable=True)
        equal(c.auth.token.read_role(name)["data"]["allowed_policies"], ["default"])
        true(name in c.auth.token.list_roles()["data"]["keys"], "not listed")
        made = c.auth.token.create(role_name=name, policies=["default"])["auth"]
        equal((made["orphan"], made["lease_duration"]), (True, 3600))
        raises(exceptions.InvalidRequest, c.auth.token.create, role_name=name, policies=["other"])
        c.auth.token.delete_role(name)
        raises(exceptions.InvalidPath, c.auth.token.read_role, name)


def userpass(t, target):
    c, mount = target.client, target.name("up")
    up = c.auth.userpass
    c.sys.enable_auth_method("userpass", path=mount)
    with t.check("create, read, list, login"):
        up.create_or_update_user("bob", "first", policies="default", mount_point=mount)
        equal(up.list_user(mount_point=mount)["data"]["keys"], ["bob"])
        true("default" in str(up.read_user("bob", mount_point=mount)["data"]), "no policy")
        own = target.other("")
        login = own.auth.userpass.login("bob", "first", mount_point=mount)
        equal(login["auth"]["metadata"]["username"], "bob")
        equal(own.auth.token.lookup_self()["data"]["display_name"], "%s-bob" % mount)
    with t.check("a wrong password is refused, also for nobody"):
        raises(exceptions.InvalidRequest, target.other("").auth.userpass.login, "bob", "wrong", mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.userpass.login, "nobody", "x", mount_point=mount)
    with t.check("a new password counts, the old one no longer"):
        up.update_password_on_user("bob", "second", mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.userpass.login, "bob", "first", mount_point=mount)
        target.other("").auth.userpass.login("bob", "second", mount_point=mount)
    with t.check("a deleted user is gone, and disabling the method revokes its tokens"):
        up.create_or_update_user("eve", "pw", mount_point=mount)
        eve = target.other("")
        eve.auth.userpass.login("eve", "pw", mount_point=mount)
        up.delete_user("bob", mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.userpass.login, "bob", "second", mount_point=mount)
        c.sys.disable_auth_method(mount)
        wait_for("the token of the method to go", lambda: not eve.is_authenticated(), 10)


def wrapping(t, target):
    c = target.client
    with t.check("wrap, lookup, unwrap once"):
        wrapped = c.sys.wrap({"answer": "42"}, ttl=60)["wrap_info"]
        info = c.write_data("sys/wrapping/lookup", data={"token": wrapped["token"]})["data"]
        equal((info["creation_ttl"], info["creation_path"]), (60, "sys/wrapping/wrap"))
        equal(c.sys.unwrap(wrapped["token"])["data"], {"answer": "42"})
        raises(exceptions.InvalidRequest, c.sys.unwrap, wrapped["token"])
    with t.check("unwrap with the wrapping token itself, and rewrap"):
        wrapped = c.sys.wrap({"answer": "43"}, ttl=60)["wrap_info"]["token"]
        again = c.write_data("sys/wrapping/rewrap", data={"token": wrapped})["wrap_info"]["token"]
        raises(exceptions.InvalidRequest, c.sys.unwrap, wrapped)
        equal(target.other(again).sys.unwrap()["data"], {"answer": "43"})
    with t.check("a wrapped answer of another path"):
        wrapped = c.auth.token.create(policies=["default"], wrap_ttl="60s")
        equal(wrapped["auth"], None)
        inner = c.sys.unwrap(wrapped["wrap_info"]["token"])
        equal(inner["auth"]["accessor"], wrapped["wrap_info"]["wrapped_accessor"])
    with t.check("a wrapping token ends with its ttl"):
        short = c.sys.wrap({"a": "b"}, ttl=1)["wrap_info"]["token"]
        time.sleep(1.6)
        raises(exceptions.InvalidRequest, c.sys.unwrap, short)


def mounts(t, target):
    c, path = target.client, target.name("m")
    with t.check("enable, list, tune, read tuning"):
        c.sys.enable_secrets_engine("kv", path=path, description="words", options={"version": "1"},
                                    config={"default_lease_ttl": "1h"})
        entry = c.sys.list_mounted_secrets_engines()["data"][path + "/"]
        equal((entry["type"], entry["description"], entry["config"]["default_lease_ttl"]), ("kv", "words", 3600))
        c.sys.tune_mount_configuration(path, max_lease_ttl="5h", description="other words")
        tuned = c.sys.read_mount_configuration(path)["data"]
        equal((tuned["max_lease_ttl"], tuned["description"]), (18000, "other words"))
    with t.check("a path in use, reserved or of an unknown type is refused"):
        raises(exceptions.InvalidRequest, c.sys.enable_secrets_engine, "kv", path=path)
        raises(exceptions.VaultError, c.sys.enable_secrets_engine, "kv", path="sys")
        raises(exceptions.InvalidRequest, c.sys.enable_secrets_engine, "no-such-engine", path=path + "x")
    with t.check("move a mount with its data"):
        c.secrets.kv.v1.create_or_update_secret("k", {"v": "1"}, mount_point=path)
        c.sys.move_backend(path, path + "-moved")
        wait_for("the move", lambda: read_or_none(c, "%s-moved/k" % path), 15)
        equal(c.secrets.kv.v1.read_secret("k", mount_point=path + "-moved")["data"], {"v": "1"})
        c.sys.disable_secrets_engine(path + "-moved")
        true(path + "-moved/" not in c.sys.list_mounted_secrets_engines()["data"], "still listed")
    with t.check("a mount made again at the same path is empty"):
        for _ in range(2):
            c.sys.enable_secrets_engine("kv", path=path, options={"version": "1"})
            equal(read_or_none(c, path + "/k"), None)
            c.secrets.kv.v1.create_or_update_secret("k", {"v": "1"}, mount_point=path)
            c.sys.disable_secrets_engine(path)


def read_or_none(client, path):
    try:
        return client.read(path)
    except exceptions.VaultError:
        return None


def auths(t, target):
    c, path = target.client, target.name("au")
    with t.check("enable, list, tune, disable an auth method"):
        c.sys.enable_auth_method("userpass", path=path, description="people")
        equal(c.sys.list_auth_methods()["data"][path + "/"]["type"], "userpass")
        c.sys.tune_auth_method(path, default_lease_ttl="10m", max_lease_ttl="1h")
        equal(c.sys.read_auth_method_tuning(path)["data"]["default_lease_ttl"], 600)
        c.auth.userpass.create_or_update_user("amy", "pw", mount_point=path)
        equal(target.other("").auth.userpass.login("amy", "pw", mount_point=path)["auth"]["lease_duration"], 600)
        c.sys.disable_auth_method(path)
        true(path + "/" not in c.sys.list_auth_methods()["data"], "still listed")


def cubbyhole(t, target):
    c = target.client
    with t.check("each token has its own cubbyhole, which goes with it"):
        one = target.other(c.auth.token.create(policies=["default"])["auth"]["client_token"])
        two = target.other(c.auth.token.create(policies=["default"])["auth"]["client_token"])
        one.write_data("cubbyhole/x", data={"v": "1"})
        equal(one.read("cubbyhole/x")["data"], {"v": "1"})
        equal(two.read("cubbyhole/x"), None)
        equal(c.read("cubbyhole/x"), None)
        equal(one.list("cubbyhole/")["data"]["keys"], ["x"])
        one.delete("cubbyhole/x")
        equal(one.read("cubbyhole/x"), None)


def status(t, target):
    c = target.client
    with t.check("init, seal and health status"):
        equal(c.sys.is_initialized(), True)
        equal(c.sys.is_sealed(), False)
        seal = c.sys.read_seal_status()
        equal((seal["initialized"], seal["sealed"]), (True, False))
        equal(c.seal_status["sealed"], False)
        health = c.sys.read_health_status(method="GET", standby_ok=True)
        body = health if isinstance(health, dict) else health.json()
        equal((body["initialized"], body["sealed"]), (True, False))
        true(c.sys.read_health_status().status_code in (200, 429, 473), "HEAD of health")
        true(body["cluster_id"] == seal["cluster_id"], "cluster ids differ")
    with t.check("leader, key status, ha status"):
        true("leader_address" in c.sys.read_leader_status(), "no leader address")
        true(c.ha_status["is_self"] in (True, False), "is_self")
        true(c.key_status["term"] >= 1, "key term")
    if not target.is_secondary:
        with t.check("rotate the key"):
            before = c.key_status["term"]
            c.sys.rotate_encryption_key()
            equal(c.key_status["term"], before + 1)
    with t.check("raft configuration"):
        config = c.sys.read_raft_config()
        servers = config["data"]["config"]["servers"]
        equal(sum(s["leader"] for s in servers), 1)


def generic(t, target):
    c, mount = target.client, target.name("gen")
    with t.check("read, write_data, list, delete by path"):
        c.sys.enable_secrets_engine("kv", path=mount, options={"version": "1"})
        c.write_data(mount + "/a/b", data={"v": "x"})
        equal(c.read(mount + "/a/b")["data"], {"v": "x"})
        equal(c.list(mount + "/a")["data"]["keys"], ["b"])
        equal(c.read(mount + "/none"), None)
        c.delete(mount + "/a/b")
        equal(c.read(mount + "/a/b"), None)
        c.sys.disable_secrets_engine(mount)
    with t.check("no token is Forbidden or Unauthorized, an unknown path InvalidPath"):
        raises(exceptions.VaultError, target.other("").secrets.kv.v1.list_secrets, "", mount_point=mount)
        raises(exceptions.Forbidden, target.other("hvs.wrong").sys.list_mounted_secrets_engines)
        raises(exceptions.InvalidPath, c.secrets.kv.v1.read_secret, "x", mount_point="no-such-mount")


# ---------------------------------------------------------------- what only some targets can do

def set_up(t, client, cluster):
    with t.check("initialize, unseal with three of five keys, authenticate"):
        equal(client.sys.is_initialized(), False)
        made = client.sys.initialize(secret_shares=5, secret_threshold=3)
        cluster.root, cluster.keys, cluster.threshold = made["root_token"], made["keys_base64"], 3
        equal(client.sys.is_sealed(), True)
        equal(client.sys.submit_unseal_key(cluster.keys[0])["progress"], 1)
        equal(client.sys.submit_unseal_keys(cluster.keys[1:3])["sealed"], False)
        client.token = cluster.root
        wait_for("the node to be active", lambda: client.sys.read_health_status().status_code == 200, 20)
        equal(client.is_authenticated(), True)
    with t.check("seal and unseal"):
        client.sys.seal()
        equal(client.sys.is_sealed(), True)
        raises(exceptions.VaultDown, client.sys.list_mounted_secrets_engines)
        client.sys.submit_unseal_keys(cluster.keys[:3])
        wait_for("the node to be active", lambda: client.sys.read_health_status().status_code == 200, 20)


def root_generation(t, client, cluster):
    with t.check("generate a root token with the shares"):
        if not client.sys.read_root_generation_progress()["started"]:
            client.sys.start_root_token_generation()
        client.sys.cancel_root_generation()
        equal(client.sys.read_root_generation_progress()["started"], False)
        begun = client.sys.start_root_token_generation()
        otp = begun["otp"]
        for key in cluster.keys[2:5]:
            last = client.sys.generate_root(key, begun["nonce"])
        equal(last["complete"], True)
        encoded = last["encoded_root_token"]
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
        token = "".join(chr(a ^ b) for a, b in zip(raw, otp.encode()))
        fresh = hvac.Client(url=client.url, token=token, verify=client.adapter._kwargs["verify"])
        equal(fresh.auth.token.lookup_self()["data"]["policies"], ["root"])
        fresh.auth.token.revoke_self()


def across(t, clients):
    with t.check("written through one node, read through another, 100 times"):
        clients[0].sys.enable_secrets_engine("kv", path="across", options={"version": "2"})
        mounted(clients[0], "across")
        for i in range(100):
            writer, reader = clients[i % 3], clients[(i + 1) % 3]
            writer.secrets.kv.v2.create_or_update_secret("x", {"i": i}, mount_point="across")
            got = reader.secrets.kv.v2.read_secret_version("x", mount_point="across",
                                                           raise_on_deleted_version=True)
            equal(got["data"]["data"]["i"], i)


def step_down(t, clients, cluster):
    with t.check("step_down moves the leadership"):
        old = cluster.active()
        index = [n.name for n in cluster.nodes].index(old.name)
        clients[index].sys.step_down()
        wait_for("another leader", lambda: cluster.active() is not old, 30)


def both_clusters(t, primary, second):
    with t.check("written on the secondary, read back there at once and soon on the primary, 50 times"):
        primary.sys.enable_secrets_engine("kv", path="shared", options={"version": "2"})
        wait_for("the mount on the secondary", lambda: "shared/" in
                 second.sys.list_mounted_secrets_engines()["data"], 20)
        for i in range(50):
            second.secrets.kv.v2.create_or_update_secret("x", {"i": i}, mount_point="shared")
            for client in (second, primary):
                got = client.secrets.kv.v2.read_secret_version("x", mount_point="shared",
                                                               raise_on_deleted_version=True)
                equal(got["data"]["data"]["i"], i)
    with t.check("a token of one cluster is none of the other"):
        theirs = primary.auth.token.create(policies=["default"])["auth"]["client_token"]
        stranger = hvac.Client(url=second.url, token=theirs)
        equal(stranger.is_authenticated(), False)
