#!/usr/bin/env python3
"""Replication with bad input: tokens, certificates and proxies that must not work, and why."""
import os
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import status, streaming  # noqa: E402

ENABLE = "sys/replication/%s/secondary/enable"
TOKEN = "sys/replication/%s/primary/secondary-token"


class TlsProxy(threading.Thread):
    """Ends TLS with a certificate of its own and opens a new TLS connection behind it, as a load
    balancer that was set up wrongly does."""

    def __init__(self, world, port, target):
        super().__init__(daemon=True)
        tls = world.certificates("proxy-%d" % port)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(tls.cert, tls.key)
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", port))
        self.accepted = 0

    def run(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        try:
            with self.context.wrap_socket(raw, server_side=True) as front:
                with client.wrap_socket(socket.create_connection(("127.0.0.1", self.target), 5)) as back:
                    back.settimeout(5)
                    front.settimeout(5)
                    back.sendall(front.recv(65536))
                    front.sendall(back.recv(65536))
        except OSError:
            raw.close()

    def stop(self):
        self.listener.close()


def refused(node, path, body, *words, code=400, token=None):
    """The call must fail with that status and a text that holds one of the words."""
    status_code, answer, _ = node.ask("POST", path, body, token=token, timeout=60)
    equal(status_code, code, str(answer)[:300])
    text = " ".join(answer.get("errors") or []).lower()
    true(not words or any(w in text for w in words), "none of %s in: %s" % (words, text))
    return text


def still_itself(node, kind="performance"):
    """A refused enable changed nothing: not the mode, not the data, not the token."""
    equal(status(node, kind), {"mode": "disabled"})
    equal(node.get_kv("ready"), "1")


def tokens(t, primary, second, third):
    p, s, x = (c.nodes[0] for c in (primary, second, third))
    with t.check("before the primary is enabled: no secondary token"):
        refused(p, TOKEN % "performance", {"id": "a"}, "primary")
    replicas.enable_primary(primary, "performance")
    with t.check("enabling twice changes nothing and says so"):
        before = status(p, "performance")["cluster_id"]
        code, body, _ = p.ask("POST", "sys/replication/performance/primary/enable", {})
        equal((code, len(body["warnings"])), (200, 1))
        true("primary already" in body["warnings"][0], body)
        equal(status(p, "performance")["cluster_id"], before)
    with t.check("a missing id, an id that exists, an odd id"):
        refused(p, TOKEN % "performance", {}, "id")
        p.write(TOKEN % "performance", {"id": "taken"})
        refused(p, TOKEN % "performance", {"id": "taken"}, "taken")
        refused(p, TOKEN % "performance", {"id": "../x"}, "id")
        refused(p, "sys/replication/performance/primary/revoke-secondary", {"id": "nobody"}, "nobody")
    with t.check("no token is 403 without a client token"):
        equal(p.ask("POST", TOKEN % "performance", {"id": "b"}, token="")[0] in (400, 401, 403), True)
    for name, token in (("empty", ""), ("garbage", "not-a-token"), ("three dots", "a.b.c"),
                        ("a megabyte", "x" * 1000000), ("a root token", primary.root)):
        with t.check("a token that is %s" % name):
            refused(s, ENABLE % "performance", {"token": token}, "token")
            still_itself(s)
    with t.check("a token whose payload was changed"):
        good = replicas.secondary_token(primary, "performance", "changed")
        head, payload, sign = (good.split(".") + ["", "", ""])[:3]
        bent = ".".join([head, payload[:-4] + ("AAAA" if payload[-4:] != "AAAA" else "BBBB"), sign])
        refused(s, ENABLE % "performance", {"token": bent}, "token")
        still_itself(s)
    with t.check("an expired token"):
        old = replicas.secondary_token(primary, "performance", "old", ttl="1s")
        time.sleep(2.5)
        refused(s, ENABLE % "performance", {"token": old}, "expired", "token")
        still_itself(s)
    with t.check("a revoked token"):
        gone = replicas.secondary_token(primary, "performance", "gone")
        p.write("sys/replication/performance/primary/revoke-secondary", {"id": "gone"})
        refused(s, ENABLE % "performance", {"token": gone}, "token", "revoked")
        still_itself(s)
    with t.check("a token of the other kind"):
        wrong = replicas.secondary_token(primary, "performance", "kind")
        refused(s, ENABLE % "dr", {"token": wrong}, "performance", "dr", "token")
        still_itself(s, "dr")
    with t.check("a token that another cluster redeemed is refused, and the first goes on"):
        once = replicas.secondary_token(primary, "performance", "once")
        s.write(ENABLE % "performance", {"token": once}, timeout=60)
        streaming(second, "performance")
        refused(x, ENABLE % "performance", {"token": once}, "token", "redeemed", "used")
        still_itself(x)
        equal(status(s, "performance")["mode"], "secondary")
    with t.check("a secondary of the set cannot be enabled again"):
        again = replicas.secondary_token(primary, "performance", "again")
        second.root = primary.root
        code = s.ask("POST", ENABLE % "performance", {"token": again})[0]
        true(code in (400, 403), "answered %d" % code)
        equal(status(s, "performance")["mode"], "secondary")
    with t.check("a revoked secondary is cut off, keeps its data, and says so"):
        p.write("sys/replication/performance/primary/revoke-secondary", {"id": "once"})
        wait_for("the secondary to lose its link",
                 lambda: status(s, "performance")["connection_state"] != "ready", 20)
        p.put_kv("after-revocation", "1")
        time.sleep(1)
        true(status(s, "performance")["state"] != "merkle-sync", "it still syncs")


def roads(t, world, primary, third):
    """Ways to the primary that must not work: wrong CA, wrong address, a proxy that ends TLS."""
    x = third.nodes[0]
    with t.check("a listener certificate of an unknown CA"):
        secure = world.cluster("secure", nodes=1, tls=world.certificates("secure")).up()
        replicas.enable_primary(secure, "performance")
        token = replicas.secondary_token(secure, "performance", "x")
        refused(x, ENABLE % "performance", {"token": token}, "certificate", "ca", "tls")
        still_itself(x)
    with t.check("a CA file that is not there, and one of somebody else"):
        refused(x, ENABLE % "performance", {"token": token, "ca_file": "/nowhere/ca.pem"}, "ca.pem", "ca_file")
        other = world.certificates("somebody")
        refused(x, ENABLE % "performance", {"token": token, "ca_file": other.ca}, "certificate", "ca", "tls")
        still_itself(x)
    with t.check("a primary that is not there"):
        refused(x, ENABLE % "performance",
                {"token": token, "primary_api_addr": "https://127.0.0.1:%d" % world.ports.take()},
                "connect", "refused", "reach")
        still_itself(x)
    with t.check("a proxy that ends TLS on the cluster port is named as such"):
        port = world.ports.take()
        proxy = TlsProxy(world, port, primary.nodes[0].cluster_port)
        proxy.start()
        clean = world.cluster("behind", nodes=1).up()
        clean.nodes[0].write("sys/replication/performance/primary/enable",
                             {"primary_cluster_addr": "https://127.0.0.1:%d" % port})
        proxy.target = clean.nodes[0].cluster_port
        wait_for("the mode", lambda: status(clean.nodes[0], "performance")["mode"] == "primary", 20)
        token = replicas.secondary_token(clean, "performance", "x")
        # The token is good and the API port is reached: the call succeeds, and the link does not.
        x.write(ENABLE % "performance", {"token": token}, timeout=60)
        wait_for("the status to name the proxy",
                 lambda: "a proxy terminates TLS between" in status(x, "performance").get("last_error", ""), 20)
        true(proxy.accepted > 0, "nobody came to the proxy")
        equal(status(x, "performance")["mode"], "bootstrapping")
    with t.check("a bootstrap that cannot begin is given up with secondary/disable; nothing is lost"):
        x.write("sys/replication/performance/secondary/disable", {})
        wait_for("the mode", lambda: status(x, "performance")["mode"] == "disabled", 20)
        wait_for("the cluster to serve", lambda: x.get_kv("ready") == "1", 20)
        proxy.stop()
        still_itself(x)
    with t.check("the same token, asked again with the right CA, works: the first tries cost nothing"):
        good = replicas.secondary_token(secure, "performance", "y")
        x.write(ENABLE % "performance", {"token": good, "ca_file": secure.tls.ca}, timeout=60)
        streaming(third, "performance")


def stages(t, world):
    """Calls in the wrong role."""
    alone = world.cluster("alone", nodes=1).up()
    node = alone.nodes[0]
    with t.check("a cluster without replication"):
        equal(node.read("sys/replication/status", token="")["data"],
              {"dr": {"mode": "disabled"}, "performance": {"mode": "disabled"}})
        text = refused(node, "sys/replication/dr/secondary/promote", {"dr_operation_token": "x"})
        true("not a dr secondary" in text, text)
        for path in ("performance/primary/demote", "performance/secondary/promote", "dr/primary/disable"):
            true(node.ask("POST", "sys/replication/" + path, {})[0] == 400, path)
    with t.check("a sealed node answers replication calls with 503, its status with 200"):
        sealed = world.cluster("sealed", nodes=1, seal="shamir").up()
        sealed.nodes[0].call("PUT", "sys/seal")
        equal(sealed.nodes[0].ask("POST", "sys/replication/dr/primary/enable", {})[0], 503)
        world.end(sealed)
    world.end(alone)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("refusals"):
            primary = world.cluster("p", nodes=1).up()
            second = world.cluster("s", nodes=1).up()
            third = world.cluster("x", nodes=1).up()
            tokens(t, primary, second, third)
            roads(t, world, primary, third)
            stages(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
