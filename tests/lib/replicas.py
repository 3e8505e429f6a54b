"""Clusters that replicate to each other, set up with the documented operator calls alone."""
import base64
import glob
import os

from cluster import Refused, wait_for

ADMIN_POLICY = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'
STREAMING = ("stream-wals",)
DISABLED_TEXT = "path disabled in replication DR secondary mode"


def status(node, kind):
    """The replication status of one kind; it needs no token."""
    return node.read("sys/replication/%s/status" % kind, token="")["data"]


def enable_primary(cluster, kind, **fields):
    cluster.active().write("sys/replication/%s/primary/enable" % kind, fields)
    wait_for("%s to be %s primary" % (cluster.name, kind),
             lambda: status(cluster.active(), kind)["mode"] == "primary", 30)


def secondary_token(cluster, kind, name, **fields):
    answer = cluster.active().write("sys/replication/%s/primary/secondary-token" % kind,
                                    dict(fields, id=name))
    return answer["wrap_info"]["token"]


def attach(primary, secondary, kind, name):
    """Makes `secondary` a secondary of that kind and waits until it streams on every node."""
    token = secondary_token(primary, kind, name)
    secondary.active().write("sys/replication/%s/secondary/enable" % kind, {"token": token}, timeout=60)
    streaming(secondary, kind)


def streaming(cluster, kind, seconds=60):
    """Waits until the cluster has its data and follows the stream."""
    def follows():
        seen = status(cluster.any(), kind)
        return seen["mode"] == "secondary" and seen["state"] in STREAMING
    wait_for("%s to stream as %s secondary" % (cluster.name, kind), follows, seconds)
    for node in cluster.running():
        wait_for("%s to be unsealed" % node.name, lambda: not node.is_sealed(), seconds)
        wait_for("%s to have the copy, too" % node.name, lambda: node.health() != 503, seconds)


def in_step(primary, secondary, kind, seconds=60):
    """Waits until the roots are equal, which needs a primary that is idle for a moment."""
    def same():
        one, two = status(primary.active(), kind), status(secondary.active(), kind)
        return one["merkle_root"] and one["merkle_root"] == two["merkle_root"]
    wait_for("%s and %s to have the same root" % (primary.name, secondary.name), same, seconds, 0.2)


def add_operator(cluster, user="operator", password="operator-password"):
    """A user that exists on every cluster, since auth methods and policies are replicated."""
    node = cluster.active()
    node.write("sys/policies/acl/admin", {"policy": ADMIN_POLICY})
    node.write("sys/auth/userpass", {"type": "userpass"})
    node.write("auth/userpass/users/" + user, {"password": password, "token_policies": "admin"})


def login(cluster, user="operator", password="operator-password", seconds=30):
    """A token of that cluster's own."""
    def enter():
        return cluster.any().write("auth/userpass/login/" + user, {"password": password}, token="")
    return wait_for("the login on " + cluster.name, enter, seconds)["auth"]["client_token"]


def performance_pair(world, nodes=3):
    """A primary and a performance secondary, and an administrator's token of the secondary."""
    primary = world.cluster("perfa", nodes=nodes).up()
    second = world.cluster("perfb", nodes=nodes).up(kv=False)
    add_operator(primary)
    enable_primary(primary, "performance")
    attach(primary, second, "performance", "perfb")
    second.root = login(second)
    return primary, second, second.root


def decode_token(encoded, otp):
    raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return "".join(chr(a ^ b) for a, b in zip(raw, otp.encode()))


def operation_token(cluster):
    """The ceremony on a DR secondary with its own shares; no other token is needed."""
    base = "sys/replication/dr/secondary/generate-operation-token/"
    node = cluster.active()
    begun = node.call("PUT", base + "attempt", {}, token="")
    for key in cluster.keys[:cluster.threshold]:
        last = node.call("PUT", base + "update", {"key": key, "nonce": begun["nonce"]}, token="")
    if not last["complete"]:
        raise AssertionError("the ceremony is not complete: %r" % last)
    return decode_token(last["encoded_token"], begun["otp"])


def promote_dr(cluster, token, **fields):
    """Promotes a DR secondary; 503 means that it is still catching up: asked again."""
    def go():
        try:
            cluster.active().write("sys/replication/dr/secondary/promote",
                                   dict(fields, dr_operation_token=token), token="", timeout=30)
            return True
        except Refused as e:
            if e.status == 503:
                return False
            raise AssertionError(str(e))
    wait_for("the promotion of " + cluster.name, go, 60, 0.3)
    wait_for("%s to serve" % cluster.name, lambda: cluster.any().health() in (200, 429, 473), 30)


def every_secret(node, mount="secret", folder=""):
    """path -> value of the newest version of everything below a kv v2 mount."""
    found = {}
    try:
        keys = node.call("LIST", "%s/metadata/%s" % (mount, folder))["data"]["keys"]
    except Refused as e:
        if e.status == 404:
            return found
        raise
    for key in keys:
        if key.endswith("/"):
            found.update(every_secret(node, mount, folder + key))
        else:
            found[folder + key] = node.read("%s/data/%s" % (mount, folder + key))["data"]["data"]
    return found


def on_disk(cluster, marker):
    """Files of the cluster's nodes with the marker. Names of keys are not sealed: a secret's own name is in its key (of
    several with one prefix, files hold at least the prefix)."""
    found = []
    for node in cluster.nodes:
        for path in glob.glob(node.data + "/**", recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    if marker.encode() in f.read():
                        found.append("%s:%s" % (node.name, os.path.relpath(path, node.data)))
    return found
