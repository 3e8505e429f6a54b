#!/usr/bin/env python3
"""Seals: shares for PGP keys, transit, and changes from one seal to another."""
import base64
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from canary import in_memory, is_sanitized  # noqa: E402
from checks import Checks, equal, raises, true  # noqa: E402
from cluster import SLOW, Node, Refused, World, arguments, wait_for  # noqa: E402


class People:
    """Holders of PGP keys, in a GNUPGHOME of their own (a short path: gpg's agent has a socket there)."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="gpg", dir="/tmp")

    def end(self):
        subprocess.run(["gpgconf", "--kill", "all"], env=self._env(), check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def _env(self):
        return dict(os.environ, GNUPGHOME=self.home, LC_ALL="C")

    def gpg(self, *args, stdin=b""):
        done = subprocess.run(["gpg", "--batch", "--quiet", "--passphrase", ""] + list(args), input=stdin,
                              env=self._env(), capture_output=True, timeout=60 * SLOW)
        if done.returncode:
            raise RuntimeError("gpg: " + done.stderr.decode())
        return done.stdout

    def make(self, name, sign, encrypt):
        """A key pair; the fingerprint and the public key in base64."""
        self.gpg("--quick-gen-key", name, sign, "sign", "0")
        listed = self.gpg("--list-keys", "--with-colons", name).decode().split("\n")
        fingerprint = [x.split(":")[9] for x in listed if x.startswith("fpr")][0]
        self.gpg("--quick-add-key", fingerprint, encrypt, "encr", "0")
        return fingerprint.lower(), base64.b64encode(self.gpg("--export", fingerprint)).decode()

    def open(self, message):
        return self.gpg("--decrypt", stdin=message).decode()


def pgp(t, world):
    """Shares and root token encrypted for people's keys; gpg opens them."""
    if shutil.which("gpg") is None:
        t.note("no gpg here: see deploy/packages.sh")
        return
    people = People()
    try:
        rsa, rsa_key = people.make("rsa", "rsa2048", "rsa2048")
        curve, curve_key = people.make("curve", "ed25519", "cv25519")
        cluster = world.cluster("pgp", nodes=1, seal="shamir")
        node = cluster.nodes[0].start()
        good = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": [rsa_key, curve_key, rsa_key],
                "root_token_pgp_key": curve_key}
        with t.check("keys that are no use, or too few, initialise nothing"):
            for field, value, word in (("pgp_keys", [rsa_key], "incorrect number"),
                                       ("pgp_keys", [rsa_key, "bm8ga2V5", rsa_key], "PGP key 2"),
                                       ("pgp_keys", [rsa_key, "!!", rsa_key], "base64"),
                                       ("root_token_pgp_key", "bm8ga2V5", "root_token_pgp_key"),
                                       ("recovery_pgp_keys", [rsa_key], "recovery")):
                refused = raises(Refused, node.call, "PUT", "sys/init", dict(good, **{field: value}))
                equal(refused.status, 400)
                true(word in str(refused), "%r is not in %s" % (word, refused))
            equal(node.health(), 501)
        with t.check("init encrypts each share for its person, and the root token"):
            answer = node.call("PUT", "sys/init", good, timeout=60)
            equal(answer["pgp_fingerprints"], [rsa, curve, rsa])
            shares = []
            for text, again in zip(answer["keys"], answer["keys_base64"]):
                message = bytes.fromhex(text)
                equal(base64.b64decode(again), message)
                shares.append(people.open(message))
                equal(len(bytes.fromhex(shares[-1])), 33)
            equal(len(set(shares)), 3)
            cluster.root = people.open(base64.b64decode(answer["root_token"]))
        with t.check("the opened shares unseal, the opened token is root"):
            for share in shares[1:]:
                node.call("PUT", "sys/unseal", {"key": share}, token="")
            cluster.active()
            equal(node.read("auth/token/lookup-self")["data"]["policies"], ["root"])
        world.end(cluster)
    finally:
        people.end()


class Transit:
    """The part of another server's transit engine that a seal uses, over HTTP."""

    TOKEN = "s.transit-token"

    def __init__(self, world, tls=None, asks_for_certificate=False):
        self.port = world.ports.take()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls.cert, tls.key)
            if asks_for_certificate:
                self.context.verify_mode = ssl.CERT_REQUIRED
                self.context.load_verify_locations(tls.ca)
        self.lock = threading.Lock()
        self.versions = [os.urandom(32)]
        self.renewals = 0
        self.calls = []
        self.plain = set()  # what was encrypted or decrypted here
        self.answers = 200  # other: what every call gets
        self.server = None
        self.start()

    def start(self):
        transit = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
                status, answer = transit.serve(self.path, self.headers, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_PUT = do_POST

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        if self.context:
            self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def _cipher(self, version, data):
        pad = (self.versions[version] * (1 + len(data) // 32))[:len(data)]
        return bytes(a ^ b for a, b in zip(data, pad))

    def serve(self, path, headers, body):
        with self.lock:
            self.calls.append(path)
            if headers.get("X-Vault-Token") != self.TOKEN or headers.get("X-Vault-Namespace") != "team/":
                return 403, {"errors": ["permission denied"]}
            if self.answers != 200:
                return self.answers, {"errors": ["Vault is sealed"]}
            if path == "/v1/auth/token/renew-self":
                self.renewals += 1
                return 200, {"auth": {"renewable": True, "lease_duration": 2}}
            if path == "/v1/transit/encrypt/unseal":
                last = len(self.versions) - 1
                self.plain.add(body["plaintext"])
                text = base64.b64encode(self._cipher(last, body["plaintext"].encode())).decode()
                return 200, {"data": {"ciphertext": "vault:v%d:%s" % (last + 1, text)}}
            if path == "/v1/transit/decrypt/unseal":
                _, version, text = body["ciphertext"].split(":")
                plain = self._cipher(int(version[1:]) - 1, base64.b64decode(text))
                if not plain.isascii():
                    return 400, {"errors": ["cipher: message authentication failed"]}
                self.plain.add(plain.decode())
                return 200, {"data": {"plaintext": plain.decode()}}
            return 404, {"errors": []}

    def count(self, what):
        with self.lock:
            return sum(what in path for path in self.calls)

    def rotate(self):
        with self.lock:
            self.versions.append(os.urandom(32))

    def stanza(self, *more):
        return ['seal "transit" {', '  address = "%s://127.0.0.1:%d"' % ("https" if self.context else "http", self.port),
                '  token = "%s"' % self.TOKEN, '  key_name = "unseal"', '  mount_path = "transit/"',
                '  namespace = "team/"'] + list(more) + ["}"]


def static_stanza(cluster, *more):
    if not os.path.exists(cluster.seal_key):
        with open(os.open(cluster.seal_key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(base64.b64encode(os.urandom(32)))
    return ['seal "static" {', '  current_key_id = "k1"', '  current_key = "file://%s"' % cluster.seal_key] + \
        list(more) + ["}"]


OLD = '  disabled = "true"'


def opens(node):
    wait_for("%s to unseal itself" % node.name, lambda: not node.is_sealed(), 40)


def status(node):
    return node.read("sys/seal-status", token="")


def raft_up(cluster):
    """Three nodes whose seal opens by itself."""
    cluster.start()
    answer = cluster.nodes[0].call("PUT", "sys/init", {"recovery_shares": 3, "recovery_threshold": 2}, timeout=60)
    cluster.root, cluster.keys, cluster.threshold = answer["root_token"], answer["recovery_keys_base64"], 2
    for node in cluster.nodes:
        opens(node)
    wait_for("all nodes to be voters", lambda: len(cluster.voters()) == len(cluster.nodes), 40)
    cluster.active()
    cluster.any().write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    wait_for("the mount to take writes", lambda: cluster.any().put_kv("ready", "1"), 20)
    return answer


def transit(t, world):
    """A cluster that another server unseals."""
    other = Transit(world)
    cluster = world.cluster("transit", nodes=3, seal="transit", extra=other.stanza())
    try:
        with t.check("without the other server init fails, and nothing is begun"):
            other.stop()
            node = cluster.nodes[0].start()
            refused = raises(Refused, node.call, "PUT", "sys/init",
                             {"recovery_shares": 3, "recovery_threshold": 2})
            equal(refused.status, 503)
            true("cannot reach" in str(refused), str(refused))
            equal(node.health(), 501)
            other.start()
            node.stop()
        with t.check("init gives recovery keys, and the nodes unseal and join by themselves"):
            answer = raft_up(cluster)
            equal(len(answer["recovery_keys"]), 3)
            equal(answer["keys"], [])
            for node in cluster.nodes:
                now = status(node)
                equal((now["type"], now["recovery_seal"], now["migration"], now["t"], now["n"]),
                      ("transit", True, False, 2, 3))
        with t.check("recovery keys unseal nothing, but make a root token"):
            node = cluster.active()
            started = node.call("PUT", "sys/generate-root/attempt", {})
            for key in cluster.keys[:2]:
                done = node.call("PUT", "sys/generate-root/update", {"key": key, "nonce": started["nonce"]})
            equal(done["complete"], True)
        with t.check("while the other server is away a node waits, answers, and unseals when it is back"):
            node = cluster.standbys()[0]
            node.stop()
            other.stop()
            node.start()
            wait_for("two failed tries", lambda: node.log().count("cannot unseal") >= 2, 30)
            equal(node.health(), 503)
            other.start()
            opens(node)
        with t.check("a sealed other server is waited for, too"):
            node.stop()
            other.answers = 503
            before = node.log().count("cannot unseal")
            node.start()
            wait_for("two failed tries", lambda: node.log().count("cannot unseal") >= before + 2, 30)
            other.answers = 200
            opens(node)
        with t.check("the whole cluster comes back after kill -9"):
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            for node in cluster.nodes:
                opens(node)
            equal(cluster.active().get_kv("ready"), "1")
        with t.check("the token is renewed again and again"):
            seen = other.renewals
            wait_for("more renewals", lambda: other.renewals >= seen + 3, 30)
        with t.check("a rotated key is noticed: the unseal key is wrapped anew, the old version not needed any more"):
            other.rotate()
            wait_for("the key to be wrapped anew",
                     lambda: any("wrapped anew" in n.log() for n in cluster.nodes), 60)
            with other.lock:
                other.versions[0] = os.urandom(32)
            node = cluster.standbys()[0]
            cluster.caught_up(node)
            node.kill()
            node.start()
            opens(node)
    finally:
        other.stop()
    world.end(cluster)


def transit_tls(t, world):
    """The other server over TLS, with a CA of its own and a name that is not its address; it asks for a certificate."""
    tls, strange = world.certificates("transit", san="DNS:transit.example"), world.certificates("strange")
    other = Transit(world, tls, asks_for_certificate=True)
    mine = ['  tls_client_cert = "%s"' % tls.cert, '  tls_client_key = "%s"' % tls.key]
    name = ['  tls_server_name = "transit.example"']

    def stanza(ca, *more):
        return other.stanza('  tls_ca_cert = "%s"' % ca, *mine, *more)
    good = stanza(tls.ca, *name)
    cluster = world.cluster("tls", nodes=1, seal="transit", extra=stanza(strange.ca, *name))
    node = cluster.nodes[0].start()

    def waits(more):
        """It stays sealed, tries again and again, and its log says what to look at."""
        before = len(node.log())
        cluster.extra = more
        node.stop()
        node.start()
        wait_for("two tries", lambda: node.log()[before:].count("cannot unseal") >= 2, 30)
        equal(node.is_sealed(), True)
        said = node.log()[before:]
        true("tls_ca_cert" in said and "tls_server_name" in said and "trying again" in said, said[-600:])
    try:
        with t.check("a strange CA, or another name: init fails with the reason, and nothing is begun"):
            for more in (stanza(strange.ca, *name), stanza(tls.ca)):
                cluster.extra = more
                node.stop()
                node.start()
                refused = raises(Refused, node.call, "PUT", "sys/init", {"recovery_shares": 3, "recovery_threshold": 2})
                equal(refused.status, 503)
                true("cannot reach https://" in str(refused) and "certificate" in str(refused), str(refused))
                equal(node.health(), 501)
        with t.check("with the CA, the name and a certificate of its own it is initialised and opens by itself"):
            cluster.extra = good
            node.stop()
            raft_up(cluster)
        with t.check("a strange CA, or another name, at a later start: sealed, with the reason, until it is put right"):
            waits(stanza(strange.ca, *name))
            waits(stanza(tls.ca))
            cluster.extra = good
            node.stop()
            node.start()
            opens(node)
        with t.check("tls_skip_verify takes any certificate"):
            cluster.extra = stanza(strange.ca, '  tls_skip_verify = true')
            node.stop()
            node.start()
            opens(node)
        with t.check("the server is down: tried again until it is back"):
            other.stop()
            waits(good)
            other.start()
            opens(node)
            wait_for("the data", lambda: node.get_kv("ready") == "1", 30)
        with t.check("what the server answered is not left in memory, where the key is in a locked place alone"):
            node.put_kv("a-name-that-is-found", "x")
            needles = {text: text.encode() for text in other.plain}
            true(needles, "nothing was decrypted")
            if not is_sanitized(node.proc.pid):
                equal({what for _, what in in_memory(node.proc.pid, dict(needles, name=b"a-name-that-is-found"))}, {"name"})
    finally:
        other.stop()
    world.end(cluster)


def share(node, key, **more):
    return node.call("PUT", "sys/unseal", dict(more, key=key), token="", timeout=30)


def migrate_with(t, cluster, node, keys):
    """Gives shares of the old seal to a node that runs with the new configuration."""
    now = status(node)
    equal((now["migration"], now["sealed"]), (True, True))
    refused = raises(Refused, share, node, keys[0])
    true("migrate option not provided" in str(refused), str(refused))
    for i, key in enumerate(keys):
        equal(share(node, key, migrate=True)["sealed"], i + 1 < len(keys))


def settle(cluster, kind):
    """The stored seal is `kind` on every node, and none waits for a change."""
    for node in cluster.nodes:
        wait_for("%s to have the %s seal" % (node.name, kind),
                 lambda n=node: status(n)["type"] == kind and not status(n)["migration"], 40)


def is_done(node, kind):
    """A node with the new configuration came to lead by itself, on a busy machine: the change has been made by then."""
    now = status(node)
    return now["type"] == kind and not now["sealed"]


def change(t, cluster, extra, kind, keys):
    """One node after the other gets the new configuration: standbys first, then the active one."""
    cluster.extra = extra
    active = cluster.active()
    for node in [n for n in cluster.nodes if n is not active]:
        node.stop()
        node.start()
        wait_for("%s to know its seal" % node.name, lambda n=node: status(n)["migration"] or is_done(n, kind), 30)
        if status(node)["migration"]:
            migrate_with(t, cluster, node, keys)
        cluster.caught_up(node)
    equal(status(active)["type"] != kind or cluster.active() is not active, True)
    active.stop()
    cluster.active(other_than=active)
    wait_for("the change", lambda: all(status(n)["type"] == kind for n in cluster.running()), 40)
    active.start()
    if kind == "shamir":
        cluster.seal = "shamir"
        cluster.unseal(active)
    else:
        opens(active)
    settle(cluster, kind)


def migration(t, world):
    """Shamir to static, to transit, and back to Shamir; three nodes one after the other, data as it was."""
    other = Transit(world)
    try:
        cluster = world.cluster("change", nodes=3, seal="shamir").up(3, 2)
        cluster.any().put_kv("kept", "all the way")
        keys = cluster.keys[:2]
        with t.check("-migrate without a change in the configuration is refused"):
            node = cluster.standbys()[0]
            node.stop()
            node.start()
            wait_for("the node to answer", lambda: status(node)["initialized"], 20)
            refused = raises(Refused, share, node, keys[0], migrate=True)
            true("no migration seal found" in str(refused), str(refused))
            cluster.unseal(node)
        with t.check("shamir to static: the shares become recovery shares"):
            change(t, cluster, static_stanza(cluster), "static", keys)
            equal(status(cluster.nodes[0])["recovery_seal"], True)
            equal(cluster.active().get_kv("kept"), "all the way")
        with t.check("after it every node opens by itself"):
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            for node in cluster.nodes:
                opens(node)
        with t.check("static to transit"):
            change(t, cluster, static_stanza(cluster, OLD) + other.stanza(), "transit", keys)
            os.unlink(cluster.seal_key)
            cluster.extra = other.stanza()
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            for node in cluster.nodes:
                opens(node)
            equal(cluster.active().get_kv("kept"), "all the way")
        with t.check("transit to shamir: the recovery shares unseal"):
            change(t, cluster, other.stanza(OLD), "shamir", keys)
            other.stop()  # the block stays, disabled: a state on disk may be older than the change
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            for node in cluster.nodes:
                cluster.unseal(node)
            equal(cluster.active().get_kv("kept"), "all the way")
        world.end(cluster)
    finally:
        other.stop()


class StaticKeys:
    """Key files of a static seal, by id, and stanzas that name them."""

    def __init__(self, cluster):
        self.dir = cluster.dir

    def path(self, name):
        return os.path.join(self.dir, name + ".key")

    def make(self, name):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(os.urandom(32))

    def stanza(self, current, previous=None):
        lines = ['seal "static" {', '  current_key_id = "%s"' % current,
                 '  current_key = "file://%s"' % self.path(current)]
        if previous:
            lines += ['  previous_key_id = "%s"' % previous, '  previous_key = "file://%s"' % self.path(previous)]
        return lines + ["}"]


REPLACED = "the static seal has the key \"%s\" now"
UNKNOWN_KEY = "does not open this cluster, which is sealed with the key"


def restart(node, stanza):
    node.cluster.extra = stanza
    node.stop()
    node.start()


def static_rotation(t, world):
    """The key of a static seal is replaced, one node after the other, and the old one opens nothing any more."""
    cluster = world.cluster("static", nodes=3, seal="none")
    keys = StaticKeys(cluster)
    keys.make("k1")
    keys.make("k2")
    cluster.extra = keys.stanza("k1")
    raft_up(cluster)
    cluster.any().put_kv("kept", "yes")
    both = keys.stanza("k2", "k1")
    active = cluster.active()
    first, second = cluster.standbys()
    with t.check("a node with the new key alone waits, and its log says what to do"):
        restart(first, keys.stanza("k2"))
        wait_for("the refusal", lambda: UNKNOWN_KEY in first.log(), 40)
        equal((first.health(), first.is_sealed()), (503, True))
        equal(first.log().count(UNKNOWN_KEY), 1)
    with t.check("with both keys a node opens, also one that joins"):
        restart(second, both)
        opens(second)
        late = Node(cluster, "static9")
        cluster.nodes.append(late)
        late.start()
        opens(late)
        wait_for("the fourth voter", lambda: len(cluster.voters()) == 4, 60)
        equal(any(REPLACED % "k2" in n.log() for n in cluster.nodes), False)  # who leads has the old configuration
    with t.check("the first active node that has both wraps the root key anew, and who waited with the new key opens"):
        cluster.caught_up(second)
        cluster.caught_up(late)
        active.stop()
        wait_for("the entry", lambda: any(REPLACED % "k2" in n.log() for n in (second, late)), 60)
        opens(first)
        equal(sum(n.log().count(REPLACED % "k2") for n in cluster.nodes), 1)
    with t.check("the old key alone opens nothing any more"):
        cluster.extra = keys.stanza("k1")
        active.start()  # by a state from before the entry, which its log then goes beyond
        cluster.caught_up(active)
        active.stop()
        active.start()
        wait_for("the refusal", lambda: UNKNOWN_KEY in active.log(), 60)
        equal(active.is_sealed(), True)
        restart(active, keys.stanza("k2"))
        opens(active)
    with t.check("without the old key all of it comes back after kill -9, with what was written"):
        os.unlink(keys.path("k1"))
        cluster.extra = keys.stanza("k2")
        for node in cluster.nodes:
            node.kill()
        cluster.start()
        for node in cluster.nodes:
            opens(node)
        equal(cluster.active().get_kv("kept"), "yes")
    with t.check("the recovery shares are what they were"):
        node = cluster.active()
        started = node.call("PUT", "sys/generate-root/attempt", {})
        for key in cluster.keys[:2]:
            done = node.call("PUT", "sys/generate-root/update", {"key": key, "nonce": started["nonce"]})
        equal(done["complete"], True)
    world.end(cluster)


def static_rotation_crash(t, world):
    """kill -9 around the entry: a node with both keys always opens, and what it says in the end is what is stored."""
    cluster = world.cluster("again", nodes=1, seal="none")
    node, keys = cluster.nodes[0], StaticKeys(cluster)
    keys.make("k0")
    cluster.extra = keys.stanza("k0")
    raft_up(cluster)
    with t.check("kills around the change, eight new keys one after the other"):
        node.put_kv("kept", "yes")
        for i in range(1, 9):
            keys.make("k%d" % i)
            both = keys.stanza("k%d" % i, "k%d" % (i - 1))
            cluster.extra = both
            node.kill()
            node.start()
            opens(node)
            if i % 2:
                cluster.active()
            node.kill()
            restart_from = node.log().count(REPLACED % ("k%d" % i))
            node.start()
            opens(node)
            cluster.active()
            wait_for("key %d" % i, lambda n=i, was=restart_from: was or REPLACED % ("k%d" % n) in node.log(), 30)
            os.unlink(keys.path("k%d" % (i - 1)))
            cluster.extra = keys.stanza("k%d" % i)
            node.kill()
            node.start()
            opens(node)
            cluster.active()
            equal(node.get_kv("kept"), "yes")
    world.end(cluster)


def migration_crash(t, world):
    """kill -9 at every step of a change: either seal opens the cluster again, and nothing is lost."""
    cluster = world.cluster("crash", nodes=1, seal="shamir").up(3, 2)
    node, keys = cluster.nodes[0], cluster.keys[:2]
    node.put_kv("kept", "yes")
    kind, done = "shamir", {"old": 0, "new": 0}
    with t.check("twelve kills around the moment of the change"):
        for i in range(12):
            node.kill()
            to = "static" if kind == "shamir" else "shamir"
            cluster.extra = static_stanza(cluster) if to == "static" else static_stanza(cluster, OLD)
            node.start()
            wait_for("the change to be known", lambda: status(node)["migration"], 20)
            for key in keys[:1 + (i % 3 != 0)]:
                share(node, key, migrate=True)
            if i % 3 == 2:
                wait_for("the change", lambda: status(node)["type"] == to, 20)
            node.kill()
            node.start()
            wait_for("the state", lambda: status(node)["initialized"], 20)
            before = node.log().count("the seal was changed")

            def opened():
                now = status(node)
                if now["type"] == to and not now["migration"] and not now["sealed"]:
                    return True
                try:
                    for key in keys:
                        share(node, key, migrate=now["migration"])
                except Refused:
                    pass  # what it has is older than its log, which it is reading: another kind of share, then
                return False
            wait_for("the node to open with the new seal", opened, 30, 0.2)
            done["old" if node.log().count("the seal was changed") > before else "new"] += 1
            kind = to
            cluster.active()
            equal(node.get_kv("kept"), "yes")
        true(done["old"] >= 4 and done["new"] >= 4, "%r" % done)
        t.note("killed before the entry %(old)d times, after it %(new)d times" % done)
    world.end(cluster)


SCENARIOS = (pgp, transit, transit_tls, migration, static_rotation, static_rotation_crash, migration_crash)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in SCENARIOS:
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
