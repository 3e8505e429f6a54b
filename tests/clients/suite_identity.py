"""hvac: every method of the identity engine (entities, aliases, groups, identity tokens)."""
import base64
import json

from hvac import exceptions

from checks import equal, raises, true
from cluster import wait_for


def everything(t, target):
    accessor = mounted(target)
    for part in (entities, aliases, merging, groups, group_aliases):
        with t.scenario(part.__name__):
            part(t, target, accessor)
    with t.scenario("tokens"):
        tokens(t, target)
    target.client.sys.disable_auth_method(target.name("idup"))


def mounted(target):
    c, mount = target.client, target.name("idup")
    c.sys.enable_auth_method("userpass", path=mount)
    return c.sys.list_auth_methods()["data"][mount + "/"]["accessor"]


def entities(t, target, accessor):
    i, name = target.client.secrets.identity, target.name("ent")
    with t.check("create, read, update an entity, by id and by name"):
        made = i.create_or_update_entity(name, metadata={"team": "a"}, policies=["default"])["data"]
        equal(i.read_entity(made["id"])["data"]["metadata"], {"team": "a"})
        equal(i.read_entity_by_name(name)["data"]["id"], made["id"])
        i.create_or_update_entity(name, entity_id=made["id"], metadata={"team": "b"})
        equal(i.read_entity(made["id"])["data"]["metadata"], {"team": "b"})
        i.update_entity(made["id"], name=name + "x", disabled=True)
        got = i.read_entity_by_name(name + "x")["data"]
        equal((got["id"], got["disabled"], got["policies"]), (made["id"], True, ["default"]))
        raises(exceptions.InvalidPath, i.read_entity_by_name, name)
    with t.check("by name: create, change"):
        i.create_or_update_entity_by_name(name + "n", metadata={"k": "v"}, policies=["default"])
        i.create_or_update_entity_by_name(name + "n", metadata={"k": "w"})
        equal(i.read_entity_by_name(name + "n")["data"]["metadata"], {"k": "w"})
    with t.check("list with both methods, lookup by id and by name"):
        for method in ("LIST", "GET"):
            true(made["id"] in i.list_entities(method=method)["data"]["keys"], "not listed by id")
            true(name + "x" in i.list_entities_by_name(method=method)["data"]["keys"], "not listed by name")
        equal(i.lookup_entity(entity_id=made["id"])["data"]["name"], name + "x")
        equal(i.lookup_entity(name=name + "x")["data"]["id"], made["id"])
        equal(i.lookup_entity(name=name + "none").status_code, 204)
    with t.check("delete by id and by name"):
        i.delete_entity(made["id"])
        i.delete_entity_by_name(name + "n")
        raises(exceptions.InvalidPath, i.read_entity, made["id"])
        raises(exceptions.InvalidPath, i.read_entity_by_name, name + "n")


def aliases(t, target, accessor):
    i, name = target.client.secrets.identity, target.name("ali")
    one = i.create_or_update_entity(name)["data"]["id"]
    two = i.create_or_update_entity(name + "2")["data"]["id"]
    with t.check("create, read, list an alias, look its entity up by it"):
        made = i.create_or_update_entity_alias(name, one, accessor)["data"]
        equal(made["canonical_id"], one)
        got = i.read_entity_alias(made["id"])["data"]
        equal((got["name"], got["mount_accessor"], got["canonical_id"]), (name, accessor, one))
        for method in ("LIST", "GET"):
            true(made["id"] in i.list_entity_aliases(method=method)["data"]["keys"], "not listed")
        equal(i.lookup_entity(alias_id=made["id"])["data"]["id"], one)
        equal(i.lookup_entity(alias_name=name, alias_mount_accessor=accessor)["data"]["id"], one)
    with t.check("update an alias, and move it to another entity"):
        i.update_entity_alias(made["id"], name + "new", one, accessor)
        equal(i.read_entity_alias(made["id"])["data"]["name"], name + "new")
        i.create_or_update_entity_alias(name + "new", two, accessor, alias_id=made["id"])
        equal(i.read_entity_alias(made["id"])["data"]["canonical_id"], two)
    with t.check("delete an alias"):
        i.delete_entity_alias(made["id"])
        raises(exceptions.InvalidPath, i.read_entity_alias, made["id"])
    i.delete_entity(one)
    i.delete_entity(two)


def merging(t, target, accessor):
    i, name = target.client.secrets.identity, target.name("mer")
    ids = [i.create_or_update_entity(name + str(n))["data"]["id"] for n in range(3)]
    with t.check("merge entities; aliases of one mount need a choice"):
        i.merge_entities([ids[1]], ids[0])
        equal(i.lookup_entity(entity_id=ids[0])["data"]["merged_entity_ids"], [ids[1]])
        kept = i.create_or_update_entity_alias(name + "a", ids[0], accessor)["data"]["id"]
        i.create_or_update_entity_alias(name + "b", ids[2], accessor)
        raises(exceptions.InvalidRequest, i.merge_entities, [ids[2]], ids[0])
        i.merge_entities([ids[2]], ids[0], conflicting_alias_ids_to_keep=[kept])
        equal([a["id"] for a in i.read_entity(ids[0])["data"]["aliases"]], [kept])
    i.delete_entity(ids[0])


def groups(t, target, accessor):
    i, name = target.client.secrets.identity, target.name("grp")
    member = i.create_or_update_entity(name + "e")["data"]["id"]
    with t.check("create, read, update a group, by id and by name"):
        made = i.create_or_update_group(name, metadata={"k": "v"}, policies=["default"],
                                        member_entity_ids=[member])["data"]
        got = i.read_group(made["id"])["data"]
        equal((got["name"], got["type"], got["member_entity_ids"]), (name, "internal", [member]))
        equal(i.read_entity(member)["data"]["group_ids"], [made["id"]])
        equal(i.read_group_by_name(name)["data"]["id"], made["id"])
        i.update_group(made["id"], name, metadata={"k": "w"}, policies=["default"])
        equal(i.read_group(made["id"])["data"]["metadata"], {"k": "w"})
    with t.check("groups in groups, by name"):
        i.create_or_update_group_by_name(name + "o", member_group_ids=[made["id"]], policies=["default"])
        outer = i.read_group_by_name(name + "o")["data"]
        equal(outer["member_group_ids"], [made["id"]])
        true(outer["id"] in i.read_entity(member)["data"]["inherited_group_ids"], "not inherited")
    with t.check("list with both methods, lookup by id and by name"):
        for method in ("LIST", "GET"):
            true(made["id"] in i.list_groups(method=method)["data"]["keys"], "not listed by id")
            true(name in i.list_groups_by_name(method=method)["data"]["keys"], "not listed by name")
        equal(i.lookup_group(group_id=made["id"])["data"]["name"], name)
        equal(i.lookup_group(name=name)["data"]["id"], made["id"])
    with t.check("delete by id and by name"):
        i.delete_group_by_name(name + "o")
        i.delete_group(made["id"])
        raises(exceptions.InvalidPath, i.read_group, made["id"])
        raises(exceptions.InvalidPath, i.read_group_by_name, name + "o")
    i.delete_entity(member)


def group_aliases(t, target, accessor):
    i, name = target.client.secrets.identity, target.name("gal")
    group = i.create_or_update_group(name, group_type="external")["data"]["id"]
    with t.check("create, read, list, update, look up, delete the alias of an external group"):
        made = i.create_or_update_group_alias(name, mount_accessor=accessor, canonical_id=group)["data"]["id"]
        equal(i.read_group_alias(made)["data"]["canonical_id"], group)
        for method in ("LIST", "GET"):
            true(made in i.list_group_aliases(method=method)["data"]["keys"], "not listed")
        equal(i.lookup_group(alias_id=made)["data"]["id"], group)
        equal(i.lookup_group(alias_name=name, alias_mount_accessor=accessor)["data"]["id"], group)
        i.update_group_alias(made, name + "2", mount_accessor=accessor, canonical_id=group)
        equal(i.read_group_alias(made)["data"]["name"], name + "2")
        i.delete_group_alias(made)
        raises(exceptions.InvalidPath, i.read_group_alias, made)
    i.delete_group(group)


def tokens(t, target):
    c, name = target.client, target.name("oidc")
    i = c.secrets.identity
    with t.check("the issuer, and a named key"):
        before = i.read_tokens_backend_configuration()["data"]["issuer"]
        i.configure_tokens_backend(issuer="https://issuer.example.com:8200")
        equal(i.read_tokens_backend_configuration()["data"]["issuer"], "https://issuer.example.com:8200")
        true(i.read_well_known_configurations()["issuer"].startswith("https://issuer.example.com:8200/v1/identity/oidc"), "issuer")
        i.configure_tokens_backend(issuer=before)
        i.create_named_key(name, rotation_period="2h", verification_ttl="3h", allowed_client_ids=["*"],
                           algorithm="ES256")
        got = i.read_named_key(name)["data"]
        equal((got["rotation_period"], got["verification_ttl"], got["algorithm"]), (7200, 10800, "ES256"))
        true(name in i.list_named_keys()["data"]["keys"], "not listed")
    with t.check("a role"):
        i.create_or_update_role(name, name, template='{"who": {{identity.entity.name}}}', ttl="1h")
        got = i.read_role(name)["data"]
        equal((got["key"], got["ttl"]), (name, 3600))
        true(got["client_id"], "no client id")
        true(name in i.list_roles()["data"]["keys"], "not listed")
    with t.check("a token is signed by a published key, introspected, and survives a rotation"):
        c.sys.create_or_update_acl_policy(name, 'path "identity/oidc/token/*" { capabilities = ["read"] }')
        mount = target.name("idup")
        c.auth.userpass.create_or_update_user("ida", "pw", policies=name, mount_point=mount)
        own = target.other("")
        own.auth.userpass.login("ida", "pw", mount_point=mount)
        signed = own.secrets.identity.generate_signed_id_token(name)["data"]
        equal(signed["client_id"], got["client_id"])
        head, body = [json.loads(base64.urlsafe_b64decode(x + "==")) for x in signed["token"].split(".")[:2]]
        equal(body["aud"], signed["client_id"])
        true(head["kid"] in [k["kid"] for k in i.read_active_public_keys()["keys"]], "not published")
        equal(i.introspect_signed_id_token(signed["token"])["active"], True)
        i.rotate_named_key(name, "1h")
        equal(i.introspect_signed_id_token(signed["token"], client_id=signed["client_id"])["active"], True)
        equal(i.introspect_signed_id_token(signed["token"], client_id="another")["active"], False)
    with t.check("a key in use stays; role and key go"):
        raises(exceptions.InvalidRequest, i.delete_named_key, name)
        i.delete_role(name)
        i.delete_named_key(name)
        raises(exceptions.InvalidPath, i.read_role, name)
        raises(exceptions.InvalidPath, i.read_named_key, name)
    c.sys.delete_policy(name)
