"""hvac: approle, cert, the rest of token, userpass and of the client's own methods."""
from hvac import exceptions

from checks import equal, raises, true


def everything(t, target):
    for part in (approle, secret_ids, tokens, token_roles, users, client):
        with t.scenario(part.__name__):
            part(t, target)


def approle(t, target):
    c, mount = target.client, target.name("ar")
    a = c.auth.approle
    uses = 2
    c.sys.enable_auth_method("approle", path=mount)
    with t.check("create, read, list, change a role, and its id"):
        a.create_or_update_approle("web", token_policies=["default"], token_ttl="10m", token_max_ttl="1h",
                                   secret_id_num_uses=uses, secret_id_ttl="1h", token_num_uses=0,
                                   bind_secret_id=True, mount_point=mount)
        got = a.read_role("web", mount_point=mount)["data"]
        equal((got["token_ttl"], got["token_max_ttl"], got["secret_id_num_uses"], got["secret_id_ttl"]),
              (600, 3600, uses, 3600))
        equal(a.list_roles(mount_point=mount)["data"]["keys"], ["web"])
        true(a.read_role_id("web", mount_point=mount)["data"]["role_id"], "no id")
        a.update_role_id("web", target.name("web-id"), mount_point=mount)
        equal(a.read_role_id("web", mount_point=mount)["data"]["role_id"], target.name("web-id"))
    with t.check("login, as often as the secret id allows"):
        secret = a.generate_secret_id("web", metadata={"from": "test"}, mount_point=mount)["data"]
        for _ in range(2):
            own = target.other("")
            auth = own.auth.approle.login(target.name("web-id"), secret["secret_id"], mount_point=mount)["auth"]
            equal((auth["metadata"]["role_name"], auth["metadata"]["from"], auth["lease_duration"]),
                  ("web", "test", 600))
            equal(own.is_authenticated(), True)
        raises(exceptions.InvalidRequest, target.other("").auth.approle.login, target.name("web-id"),
               secret["secret_id"], mount_point=mount)
        a.destroy_secret_id("web", secret["secret_id"], mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.approle.login, "nobody", "x", mount_point=mount)


def secret_ids(t, target):
    c, mount = target.client, target.name("ar")
    a = c.auth.approle
    with t.check("look a secret id up and destroy it, by itself and by its accessor"):
        one = a.generate_secret_id("web", cidr_list=["127.0.0.0/8"], mount_point=mount)["data"]
        got = a.read_secret_id("web", one["secret_id"], mount_point=mount)["data"]
        equal((got["secret_id_accessor"], got["cidr_list"], got["secret_id_num_uses"]),
              (one["secret_id_accessor"], ["127.0.0.0/8"], 2))
        got = a.read_secret_id_accessor("web", one["secret_id_accessor"], mount_point=mount)["data"]
        equal(got["secret_id_accessor"], one["secret_id_accessor"])
        equal(a.list_secret_id_accessors("web", mount_point=mount)["data"]["keys"], [one["secret_id_accessor"]])
        a.destroy_secret_id("web", one["secret_id"], mount_point=mount)
        raises(exceptions.InvalidPath, a.list_secret_id_accessors, "web", mount_point=mount)
        two = a.generate_secret_id("web", mount_point=mount)["data"]
        a.destroy_secret_id_accessor("web", two["secret_id_accessor"], mount_point=mount)
        raises(exceptions.VaultError, a.read_secret_id_accessor, "web", two["secret_id_accessor"],
               mount_point=mount)
    with t.check("a secret id of our own, and a wrapped one"):
        a.create_custom_secret_id("web", "mine-" + target.prefix, metadata={"k": "v"}, mount_point=mount)
        target.other("").auth.approle.login(target.name("web-id"), "mine-" + target.prefix, mount_point=mount)
        raises(exceptions.VaultError, a.create_custom_secret_id, "web", "mine-" + target.prefix,
               mount_point=mount)
        wrapped = a.generate_secret_id("web", wrap_ttl="60s", mount_point=mount)["wrap_info"]["token"]
        inner = c.sys.unwrap(wrapped)["data"]["secret_id"]
        target.other("").auth.approle.login(target.name("web-id"), inner, mount_point=mount)
    with t.check("a deleted role takes its secret ids with it"):
        a.delete_role("web", mount_point=mount)
        raises(exceptions.InvalidPath, a.read_role, "web", mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.approle.login, target.name("web-id"), inner,
               mount_point=mount)
    c.sys.disable_auth_method(mount)


def tokens(t, target):
    c = target.client
    token = c.auth.token
    with t.check("list_accessors, lookup_accessor, tidy"):
        made = token.create(policies=["default"], display_name="acc")["auth"]
        true(made["accessor"] in token.list_accessors()["data"]["keys"], "not listed")
        found = token.lookup_accessor(made["accessor"])["data"]
        equal((found["display_name"], found["id"]), ("token-acc", ""))
        token.tidy()
        token.revoke_accessor(made["accessor"])
        raises(exceptions.VaultError, token.lookup_accessor, made["accessor"])


def token_roles(t, target):
    """entity_alias: a token for somebody else, where a role allows it."""
    c, name, mount = target.client, target.name("ea"), target.name("eaup")
    token, i = c.auth.token, c.secrets.identity
    accessor = c.sys.list_auth_methods()["data"]["token/"]["accessor"]
    entity = i.create_or_update_entity(name)["data"]["id"]
    i.create_or_update_entity_alias(name, entity, accessor)
    token.create_or_update_role(name, allowed_policies=["default"], allowed_entity_aliases=[name, name + "-*"])
    with t.check("a role that allows it gives the token that entity"):
        made = token.create(role_name=name, policies=["default"], entity_alias=name)["auth"]
        equal((made["entity_id"], token.lookup(made["client_token"])["data"]["entity_id"]), (entity, entity))
    with t.check("an alias that nobody has makes its entity"):
        made = token.create(role_name=name, policies=["default"], entity_alias=name + "-new")["auth"]
        found = i.lookup_entity(alias_name=name + "-new", alias_mount_accessor=accessor)["data"]
        equal(found["id"], made["entity_id"])
        i.delete_entity(found["id"])
    with t.check("refused without a role, and for an alias that it does not allow"):
        raises(exceptions.InvalidRequest, token.create, policies=["default"], entity_alias=name)
        raises(exceptions.InvalidRequest, token.create, role_name=name, policies=["default"], entity_alias="other")
    token.delete_role(name)
    i.delete_entity(entity)


def users(t, target):
    c, mount = target.client, target.name("us")
    c.sys.enable_auth_method("userpass", path=mount)
    with t.check("a user's parameters, and a login that leaves the client's token alone"):
        c.auth.userpass.create_or_update_user("u", "pw", policies=["default"], mount_point=mount,
                                              token_ttl="5m", token_bound_cidrs=["127.0.0.1/32"])
        equal(c.auth.userpass.read_user("u", mount_point=mount)["data"]["token_ttl"], 300)
        before = c.token
        auth = c.auth.userpass.login("u", "pw", use_token=False, mount_point=mount)["auth"]
        equal((c.token, auth["lease_duration"]), (before, 300))
    c.sys.disable_auth_method(mount)


def client(t, target):
    c = target.client
    with t.check("the client's own methods: login, lookup, renew, revoke, logout"):
        mount = target.name("cl")
        c.sys.enable_auth_method("userpass", path=mount)
        c.auth.userpass.create_or_update_user("u", "pw", policies="default", mount_point=mount)
        own = target.other("")
        own.login("/v1/auth/%s/login/u" % mount, json={"password": "pw"})
        equal(own.lookup_token()["data"]["policies"], ["default"])
        token = own.token
        equal(c.lookup_token(token)["data"]["display_name"], mount + "-u")
        equal(c.renew_token(token, increment=600)["auth"]["client_token"], token)
        c.revoke_token(token)
        equal(own.is_authenticated(), False)
        own.login("/v1/auth/%s/login/u" % mount, json={"password": "pw"})
        token = own.token
        own.logout(revoke_token=True)
        equal(target.other(token).is_authenticated(), False)
        c.sys.disable_auth_method(mount)
    with t.check("write, and get_policy of nobody"):
        c.write("cubbyhole/w", k="v")
        equal(c.read("cubbyhole/w")["data"], {"k": "v"})
        c.delete("cubbyhole/w")
        equal(c.get_policy(target.name("nobody")), None)
    with t.check("auth_cubbyhole: a token handed over wrapped"):
        wrapped = c.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]["token"]
        own = target.other("")
        own.auth_cubbyhole(wrapped)
        equal(own.auth.token.lookup_self()["data"]["policies"], ["default"])


def certificates(t, target, people, server_ca):
    """cert, where the listener has TLS. people: a CA and a certificate that it signed, for clients."""
    c, mount = target.client, target.name("ct")
    cert = c.auth.cert
    c.sys.enable_auth_method("cert", path=mount)
    with t.check("create, read, list a role"):
        with open(people.ca) as f:
            pem = f.read()
        cert.create_ca_certificate_role("web", certificate=pem, allowed_common_names="people node",
                                        token_policies=["default"], token_ttl=600, mount_point=mount)
        cert.create_ca_certificate_role("other", certificate_file=people.ca, allowed_common_names="somebody else",
                                        mount_point=mount)
        got = cert.read_ca_certificate_role("web", mount_point=mount)["data"]
        equal((got["token_ttl"], got["allowed_common_names"]), (600, ["people node"]))
        equal(cert.list_certificate_roles(mount_point=mount)["data"]["keys"], ["other", "web"])
        cert.configure_tls_certificate(mount_point=mount, disable_binding=True)
    with t.check("log in with the certificate, with any role and with a named one"):
        own = target.other("")
        auth = own.auth.cert.login(cacert=False, cert_pem=people.cert, key_pem=people.key, mount_point=mount)["auth"]
        equal((auth["metadata"]["cert_name"], auth["lease_duration"]), ("web", 600))
        equal(own.auth.token.lookup_self()["data"]["display_name"], mount + "-web")
        target.other("").auth.cert.login(name="web", cert_pem=people.cert, key_pem=people.key, mount_point=mount)
    with t.check("a role that does not fit, and no certificate at all"):
        raises(exceptions.InvalidRequest, target.other("").auth.cert.login, name="other", cert_pem=people.cert,
               key_pem=people.key, mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").write_data, "auth/%s/login" % mount, data={})
    with t.check("delete a role: nobody enters by it"):
        cert.delete_certificate_role("web", mount_point=mount)
        raises(exceptions.InvalidPath, cert.read_ca_certificate_role, "web", mount_point=mount)
        raises(exceptions.InvalidRequest, target.other("").auth.cert.login, cert_pem=people.cert,
               key_pem=people.key, mount_point=mount)
    c.sys.disable_auth_method(mount)
