#!/usr/bin/env python3
"""Who may talk between clusters: revoked, expired, renewed and foreign certificates, those of the other kind, and a proxy that ends
TLS."""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, disk_tool, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import status, streaming  # noqa: E402

TTL_S = 24  # of certificates between the clusters: renewed after two thirds of their life
KIND = "performance"
PRIMARY, SECONDARY = "sys/replication/%s/primary/" % KIND, "sys/replication/%s/secondary/" % KIND


class Proxy(threading.Thread):
    """Ends TLS with its own certificate, speaks the protocol's name, and opens TLS anew behind."""

    def __init__(self, world, target):
        super().__init__(daemon=True)
        tls = world.certificates("proxy")
        self.front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.front.load_cert_chain(tls.cert, tls.key)
        self.back = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.back.check_hostname, self.back.verify_mode = False, ssl.CERT_NONE
        for context in (self.front, self.back):
            context.set_alpn_protocols(["coffer-perf/1"])
        self.target = target
        self.port = world.ports.take()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.accepted = 0

    def run(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                raw.settimeout(5)
                with self.front.wrap_socket(raw, server_side=True) as near:
                    with self.back.wrap_socket(socket.create_connection(("127.0.0.1", self.target), 5)) as far:
                        far.sendall(near.recv(65536))
                        near.sendall(far.recv(65536))
            except OSError:
                raw.close()

    def stop(self):
        self.listener.close()


def address(node):
    return "127.0.0.1:%d" % node.cluster_port


def copies(cluster):
    """That performance secondaries took."""
    lines = [line for node in cluster.nodes for line in node.log().splitlines()]
    return sum("performance secondary" in line and "needs a snapshot" in line for line in lines)


def lost(cluster, name):
    """Streams of that secondary that ended, as its primary's nodes tell; sent to another node of theirs is no loss."""
    lines = [line for node in cluster.nodes for line in node.log().splitlines()]
    return [line for line in lines if 'secondary "%s": connection lost' % name in line]


def says(node, *words):
    """Waits until the secondary's status has an error with all of the words."""
    def told():
        text = status(node, KIND)["last_error"]
        return all(word in text for word in words) and text
    return wait_for("the status to say %r" % (words,), told, 30)


def arrives(cluster, key):
    wait_for("%s on %s" % (key, cluster.name), lambda: cluster.any().get_kv(key) == "1", 30)


def linked(world, *names, **more):
    """A primary of three nodes and secondaries of one."""
    primary = world.cluster("a-" + "".join(names), **more).up()
    replicas.add_operator(primary)
    replicas.enable_primary(primary, KIND)
    clusters = [world.cluster("%s-%s" % (name, primary.name), nodes=1).up(kv=False) for name in names]
    for name, cluster in zip(names, clusters):
        replicas.attach(primary, cluster, KIND, name)
        cluster.root = replicas.login(cluster)
    return [primary] + clusters


def renewal_dr(t, a, d):
    with t.check("so does a DR secondary's"):
        node = d.nodes[0]
        wait_for("the renewal", lambda: "certificate for the dr primary was renewed" in node.log(), TTL_S * 3)
        before = len(lost(a, "d"))
        a.any().put_kv("mirrored", "1")
        replicas.in_step(a, d, "dr")
        equal(lost(a, "d")[before:], [], "lost connections")
        true("was renewed" in node.log() and status(node, "dr")["state"] == "stream-wals", "not streaming")


def renewal(t, a, b):
    with t.check("certificates of both sides renew themselves, and the stream stays"):
        before = len(lost(a, "b"))
        node = b.nodes[0]
        for count in (1, 2):
            wait_for("renewal %d" % count,
                     lambda n=count: node.log().count("certificate for the performance primary was renewed") >= n,
                     TTL_S * 3)
            a.any().put_kv("renewed/%d" % count, "1")
            arrives(b, "renewed/%d" % count)
        for server in a.nodes:
            true("certificate for performance secondaries was renewed" in server.log(), server.name)
        equal(lost(a, "b")[before:], [], "lost connections")
        equal(copies(a), 2, "copies")
    with t.check("the first certificates are over; a restarted secondary and a new active node use the renewed ones"):
        old = a.active()
        node.kill()
        equal(old.ask("PUT", "sys/step-down")[0], 204)
        a.active(other_than=old)
        node.start()
        b.unseal(node)
        streaming(b, KIND)
        a.any().put_kv("restarted", "1")
        arrives(b, "restarted")
        equal(copies(a), 2, "copies")


def expired(t, a, c, ended):
    node = c.nodes[0]
    while time.monotonic() < ended:
        time.sleep(0.2)
    with t.check("a secondary that was away until its certificate ended is refused, and told what to do"):
        node.start()
        c.unseal(node)
        text = says(node, "our certificate coffer://", "/secondary/c has expired", "new token", "update-primary")
        true(any("certificate has expired" in n.log() and "/secondary/c" in n.log() for n in a.nodes),
             "no node of the primary names the certificate")
        t.note(text)
    with t.check("that helps: it goes on where it was"):
        a.any().write(PRIMARY + "revoke-secondary", {"id": "c"})
        token = replicas.secondary_token(a, KIND, "c")
        node.write(SECONDARY + "update-primary", {"token": token}, timeout=60)
        streaming(c, KIND)
        arrives(c, "restarted")  # written while it was away
        equal(copies(a), 2, "copies")


def strangers(t, world, a, b):
    node = b.nodes[0]
    right = [address(n) for n in a.nodes]

    def move(addresses):
        node.write(SECONDARY + "update-primary", {"update_primary_addrs": addresses}, timeout=60)
    with t.check("another set's primary is refused by name"):
        f = world.cluster("f", nodes=1).up(kv=False)
        replicas.enable_primary(f, KIND)
        move([address(f.nodes[0])])

        def refused():
            return [x for x in status(node, KIND)["addresses"] if x["address"] == address(f.nodes[0]) and
                    "unknown authority" in x["last_error"] and "coffer://" in x["last_error"] and
                    "check the address" in x["last_error"]]
        wait_for("the refusal", refused, 30)
        wait_for("the other primary to say so", lambda: "does not trust our certificate" in f.nodes[0].log(), 30)
        world.end(f)
    with t.check("a proxy that ends TLS is named, also one that speaks our protocol's name"):
        proxy = Proxy(world, a.nodes[0].cluster_port)
        proxy.start()
        move(["127.0.0.1:%d" % proxy.port])

        def named():
            return [x for x in status(node, KIND)["addresses"] if x["address"] == "127.0.0.1:%d" % proxy.port and
                    "a proxy terminates TLS between" in x["last_error"] and "proxy node" in x["last_error"]]
        wait_for("the proxy to be named", named, 30)
        true(proxy.accepted > 0, "nobody came to the proxy")
        proxy.stop()
    with t.check("back at the right addresses it streams, without a copy"):
        move(right)
        streaming(b, KIND)
        a.any().put_kv("back", "1")
        arrives(b, "back")
        equal(copies(a), 1, "copies")


def credentials(world, primary, name):
    """What a secondary of the performance set would get: files of its certificate and key."""
    token = replicas.secondary_token(primary, KIND, name)
    node = primary.active()
    with subprocess.Popen([disk_tool("stranger")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        public_key = process.stdout.readline().strip()
        answer = node.write(PRIMARY + "redeem", {"token": token, "cluster_id": name, "public_key": public_key})
        process.stdin.write(answer["data"]["package"] + "\n")
        process.stdin.flush()
        package = json.loads(process.stdout.readline())
        process.kill()
    paths = [os.path.join(world.dir, name + end) for end in (".cert", ".key")]
    texts = [package["cert"], "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % package["key"]]
    for path, text in zip(paths, texts):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(text)
    return paths


def knock(node, alpn, files):
    """Does the cluster port take that certificate under that name? The server's verdict comes with the first read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(*files)
    context.set_alpn_protocols([alpn])
    try:
        with socket.create_connection(("127.0.0.1", node.cluster_port), 5) as raw:
            with context.wrap_socket(raw) as tls:
                tls.settimeout(2)
                return tls.recv(1) != b""
    except socket.timeout:
        return True  # it waits for our hello
    except (ssl.SSLError, OSError):
        return False


def other_kinds(t, world, a):
    files = credentials(world, a, "k")
    node = a.active()
    with t.check("a performance secondary's certificate opens its own name alone: not DR's, nor those inside the cluster"):
        true(knock(node, "coffer-perf/1", files), "its own name is closed to it")
        for alpn in ("coffer-dr/1", "coffer-raft/1", "coffer-forward/1"):
            before = node.log().count("certificate signed by an unknown authority")
            true(not knock(node, alpn, files), alpn)
            wait_for("the refusal at %s in the log" % alpn,
                     lambda n=before: node.log().count("certificate signed by an unknown authority") > n, 10)
    a.active().write(PRIMARY + "revoke-secondary", {"id": "k"})


def counts(t, a, b):
    with t.check("what a secondary encrypts with the shared key is counted on the primary"):
        before = a.active().read("sys/key-status")["data"]["encryptions"]
        for i in range(200):
            b.nodes[0].write("cubbyhole/%d" % i, {"v": "1"})
        wait_for("the primary to have added them",
                 lambda: a.active().read("sys/key-status")["data"]["encryptions"] >= before + 200, 40, 0.5)


def revocation(t, a, b):
    node = b.nodes[0]
    node.put_kv("forwarded", "1")
    with t.check("after a revocation was acknowledged nothing more is shipped, nothing more is taken"):
        position = status(node, KIND)["last_remote_wal"]
        answer = a.any().write(PRIMARY + "revoke-secondary", {"id": "b"})
        began = time.monotonic()
        for i, server in enumerate(a.nodes):
            server.put_kv("revoked/%d" % i, "1")
        code = node.ask("POST", "secret/data/late", {"data": {"v": "1"}})[0]
        true(code in (503, 504), "a forwarded write was answered %d" % code)
        wait_for("the stream to end", lambda: status(node, KIND)["state"] == "idle", 30, 0.01)
        t.note("cut %.2f s after the acknowledgement; position %d -> %d; the answer: %s" % (
            time.monotonic() - began, position, status(node, KIND)["last_remote_wal"], answer.get("warnings")))
        for i in range(len(a.nodes)):
            equal(node.ask("GET", "secret/data/revoked/%d" % i)[0], 404, "an entry from after the revocation")
        equal(a.any().ask("GET", "secret/data/late")[0], 404, "a write from after the revocation")
    with t.check("every node of the primary refuses it, by the certificate's name and with what to do"):
        for server in a.nodes:
            node.write(SECONDARY + "update-primary", {"update_primary_addrs": [address(server)]}, timeout=60)

            def told():
                return [x for x in status(node, KIND)["addresses"] if x["address"] == address(server) and
                        'of secondary "b" was revoked' in x["last_error"] and "certificate" in x["last_error"] and
                        "update-primary" in x["last_error"]]
            wait_for("the refusal of %s" % server.name, told, 30)
        equal(node.ask("GET", "secret/data/revoked/0")[0], 404, "an entry from after the revocation")
        equal(node.get_kv("forwarded"), "1", "what it has stays")


def set_begun_anew(t, world):
    """A node starts from a state that it wrote to its disk a while ago and sees the entries since: it serves the set of today,
    not the one that there was on its way."""
    a, b = world.cluster("sa", nodes=1, storage_extra=['snapshot_interval = "1s"']).up(), world.cluster("sb", nodes=1).up(kv=False)
    node = a.active()
    with t.check("a set that ended and began anew before a crash: a secondary trusts what is served after it"):
        replicas.enable_primary(a, "dr")
        first = status(node, "dr")["cluster_id"]
        time.sleep(2.5)  # the state goes to the disk
        node.write("sys/replication/dr/primary/disable")
        replicas.enable_primary(a, "dr")
        true(status(node, "dr")["cluster_id"] != first, "the same set")
        token = replicas.secondary_token(a, "dr", "sb")
        node.kill()
        node.start()
        a.unseal(node)
        a.active()
        b.active().write("sys/replication/dr/secondary/enable", {"token": token}, timeout=60)
        replicas.streaming(b, "dr", 20)
    world.end(b)
    world.end(a)


def main():
    opts = arguments(__doc__)
    t = Checks(opts.only)
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("trust"):
            short, b, c = linked(world, "b", "c", storage_extra=['secondary_cert_ttl = "%ds"' % TTL_S])
            d = world.cluster("d-" + short.name, nodes=1).up(kv=False)
            replicas.enable_primary(short, "dr")
            replicas.attach(short, d, "dr", "d")
            other_kinds(t, world, short)
            c.nodes[0].kill()
            ended = time.monotonic() + TTL_S + 2
            renewal(t, short, b)
            renewal_dr(t, short, d)
            expired(t, short, c, ended)
            for cluster in (short, b, c, d):
                world.end(cluster)
            a, b = linked(world, "b")
            strangers(t, world, a, b)
            counts(t, a, b)
            revocation(t, a, b)
        with t.scenario("anew"):
            set_begun_anew(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
