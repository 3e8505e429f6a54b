"""Real coffer processes on loopback, for tests: start, join, unseal, kill, pause, restart, ask.

    with World() as world:
        cluster = world.cluster("a", nodes=3)
        cluster.up()                              # started, joined, initialised, unsealed
        cluster.nodes[0].write("secret/data/x", {"data": {"k": "v"}})

Every loop has a bound. A World ends only the processes that it started, by pid, and they die with
this process, too. Its folder goes when it ends, unless keep() was called (a failed check does).
COFFER_BINARY names the binary; COFFER_TEST_SLOW multiplies every limit (sanitizers).
Python 3.9 and its standard library only.
"""
import base64
import ctypes
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SLOW = float(os.environ.get("COFFER_TEST_SLOW", "1"))
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """An HTTP answer that is not a success."""

    def __init__(self, status, body, where):
        self.status = status
        self.body = body
        self.errors = (body.get("errors") or []) if isinstance(body, dict) else []
        super().__init__("%s: %d %s" % (where, status, "; ".join(map(str, self.errors)) or body))


def binary():
    return os.environ.get("COFFER_BINARY") or os.path.join(TOP, "build", "coffer")


def disk_tool(name):
    return os.path.join(os.path.dirname(os.path.abspath(binary())), "tests", "lib", name)


def wait_for(what, call, seconds=10.0, every=0.05):
    """Calls until the result is true, at most so long; returns it. Errors of asking count as no."""
    end = time.monotonic() + seconds * SLOW
    last = None
    while True:
        try:
            last = call()
            if last:
                return last
        except (OSError, http.client.HTTPException, Refused, ValueError) as e:
            last = e
        if time.monotonic() >= end:
            raise TimeoutError("waited %.0f s for %s; last: %r" % (seconds * SLOW, what, last))
        time.sleep(every)


class Ports:
    """Free ports below the ephemeral range, each handed out once. Other scripts run at the same time, and a port is free
    while its node is dead: so a block of ports belongs to one script, by a socket whose name goes with the process."""

    FIRST, LAST, BLOCK = 22000, 31999, 50

    def __init__(self):
        self.mine = []  # names of blocks, held
        self.left = []

    def _block(self):
        starts = list(range(self.FIRST, self.LAST, self.BLOCK))
        random.shuffle(starts)
        for start in starts:
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind("\0coffer-test-ports-%d" % start)
            except OSError:
                name.close()
                continue
            self.mine.append(name)
            return list(range(start, start + self.BLOCK))
        raise RuntimeError("no free block of ports")

    def take(self):
        for _ in range(2000):
            if not self.left:
                self.left = self._block()
            port = self.left.pop(0)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise RuntimeError("no free port")


def die_with_parent():
    ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Certificates:
    """A CA of our own and one listener certificate for loopback, made by the openssl command."""

    def __init__(self, folder, name="test", san="IP:127.0.0.1,DNS:localhost"):
        os.makedirs(folder, exist_ok=True)
        self.ca, self.ca_key = os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")
        self.cert, self.key = os.path.join(folder, "node.pem"), os.path.join(folder, "node.key")
        extra = os.path.join(folder, "san.cnf")
        with open(extra, "w") as f:
            f.write("subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % san)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._run("req", "-x509", *ec, "-keyout", self.ca_key, "-out", self.ca, "-days", "30",
                  "-subj", "/CN=%s CA" % name)
        self._run("req", *ec, "-keyout", self.key, "-out", os.path.join(folder, "node.csr"),
                  "-subj", "/CN=%s node" % name)
        self._run("x509", "-req", "-in", os.path.join(folder, "node.csr"), "-CA", self.ca,
                  "-CAkey", self.ca_key, "-CAcreateserial", "-days", "30", "-extfile", extra,
                  "-out", self.cert)

    @staticmethod
    def _run(*args):
        subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Node:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.world = cluster.world
        self.name = name
        self.dir = os.path.join(cluster.dir, name)
        self.data = os.path.join(self.dir, "data")
        self.port = self.world.ports.take()
        self.cluster_port = self.world.ports.take()
        self.scheme = "https" if cluster.tls else "http"
        self.env = {}  # what the process gets besides our environment
        self.before_exec = die_with_parent
        self.proc = None
        self.binary = None  # another build than the one of binary()
        self.is_paused = False
        self.disk = None  # switches of tests/lib/disk_shim.c; not None: the node runs under it
        self.live_at("127.0.0.1")
        self.config = os.path.join(self.dir, "coffer.hcl")
        self.log_path = os.path.join(self.dir, "log")
        os.makedirs(self.data, mode=0o700, exist_ok=True)

    def live_at(self, host):
        """Before the first start: the address of the node, if it is not loopback."""
        self.host = host
        self.addr = "%s://%s:%d" % (self.scheme, host, self.port)
        self.cluster_addr = "https://%s:%d" % (host, self.cluster_port)

    # ------------------------------------------------------------ process

    def config_text(self):
        c = self.cluster
        lines = ["storage \"%s\" {" % c.storage]
        if c.storage != "inmem":
            lines.append('  path = "%s"' % self.data)
        if c.storage == "raft":
            lines.append('  node_id = "%s"' % self.name)
            lines += ["  " + x for x in c.storage_extra]
            for other in c.nodes:
                if other is not self:
                    lines += ["  retry_join {", '    leader_api_addr = "%s"' % other.addr]
                    if c.tls:
                        lines.append('    leader_ca_cert_file = "%s"' % c.tls.ca)
                    lines.append("  }")
        lines += ["}", 'listener "tcp" {', '  address = "%s:%d"' % (self.host, self.port),
                  '  cluster_address = "%s:%d"' % (self.host, self.cluster_port)]
        if c.tls:
            lines += ['  tls_cert_file = "%s"' % c.tls.cert, '  tls_key_file = "%s"' % c.tls.key]
        else:
            lines.append("  tls_disable = true")
        lines += ["  " + x for x in c.listener_extra] + ["}"]
        if c.seal == "static":
            lines += ['seal "static" {', '  current_key_id = "test-1"',
                      '  current_key = "file://%s"' % c.seal_key, "}"]
        lines += ['api_addr = "%s"' % self.addr, 'cluster_addr = "%s"' % self.cluster_addr,
                  'cluster_name = "%s"' % c.name, 'log_level = "info"', "disable_mlock = true"]
        return "\n".join(lines + c.extra) + "\n"

    def environment(self):
        if self.disk is None:
            return dict(os.environ, **self.env)
        env = dict(os.environ, **self.env, LD_PRELOAD=disk_tool("disk_shim.so"), COFFER_DISK_DIR=self.data,
                   COFFER_DISK=self.disk)
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return env

    def set_disk(self, switches):
        """Other switches from now on (tests/lib/README.md)."""
        control = os.path.join(self.data + ".disk", "control")
        with open(control + ".new", "w") as f:
            f.write(switches + "\n")
        os.rename(control + ".new", control)

    def cut_power(self, seed, *options):
        """Of a node that was killed: what was not synced is lost, its tail torn."""
        assert self.proc is None
        subprocess.run([disk_tool("disk_cut"), "--seed", str(seed), *options, self.data], check=True,
                       stdout=subprocess.DEVNULL)

    def start(self, wait=True):
        assert self.proc is None, "%s runs already" % self.name
        with open(self.config, "w") as f:
            f.write(self.config_text())
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen([self.binary or binary(), "server", "-config=" + self.config],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         preexec_fn=self.before_exec, cwd=self.dir,
                                         env=self.environment())
        if wait:
            wait_for("%s to answer" % self.name, self.answers, 30)
        return self

    def answers(self):
        if self.proc.poll() is not None:
            raise RuntimeError("%s ended with code %d: %s"
                               % (self.name, self.proc.returncode, self.log()[-1500:]))
        return self.ask("GET", "sys/seal-status", timeout=2)[0] == 200

    def _end(self, sig, limit):
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(limit * SLOW)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                self.proc = None
                raise TimeoutError("%s did not end within %d s of signal %d" % (self.name, limit, sig))
        code, self.proc = self.proc.returncode, None
        return code

    def kill(self):
        """kill -9, as a power cut of the process would be."""
        return self._end(signal.SIGKILL, 10)

    def stop(self):
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM, 20)

    def pause(self):
        self.proc.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        self.proc.send_signal(signal.SIGCONT)
        self.is_paused = False

    def hup(self):
        self.proc.send_signal(signal.SIGHUP)

    def is_running(self):
        return self.proc is not None and self.proc.poll() is None

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    # ------------------------------------------------------------ requests

    def ask(self, method, path, body=None, token=None, headers=None, raw=None, timeout=15.0):
        """Returns (status, JSON or text, headers). Raises OSError when nobody answers."""
        if self.cluster.tls:
            conn = http.client.HTTPSConnection(self.host, self.port, timeout=timeout * SLOW,
                                               context=self.cluster.client_context())
        else:
            conn = http.client.HTTPConnection(self.host, self.port, timeout=timeout * SLOW)
        send = {"X-Vault-Request": "true"}
        if token is None:
            token = self.cluster.root
        if token:
            send["X-Vault-Token"] = token
        send.update(headers or {})
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            send["Content-Type"] = "application/json"
        try:
            conn.request(method, path if path.startswith("/") else "/v1/" + path, data, send)
            answer = conn.getresponse()
            content = answer.read()
            try:
                parsed = json.loads(content) if content else {}
            except ValueError:
                parsed = content.decode("utf-8", "replace")
            return answer.status, parsed, answer.headers
        finally:
            conn.close()

    def call(self, method, path, body=None, **kwargs):
        """Like ask(), but a status of 300 and above raises Refused (a redirect did nothing yet);
        returns the body."""
        status, parsed, _ = self.ask(method, path, body, **kwargs)
        if status >= 300:
            raise Refused(status, parsed, "%s %s %s" % (self.name, method, path))
        return parsed

    def read(self, path, **kwargs):
        return self.call("GET", path, **kwargs)

    def write(self, path, body=None, **kwargs):
        return self.call("POST", path, body if body is not None else {}, **kwargs)

    def put_kv(self, key, value, mount="secret", **kwargs):
        return self.write("%s/data/%s" % (mount, key), {"data": {"v": value}}, **kwargs)

    def get_kv(self, key, mount="secret", **kwargs):
        return self.read("%s/data/%s" % (mount, key), **kwargs)["data"]["data"]["v"]

    def health(self):
        return self.ask("GET", "sys/health", token="")[0]

    def is_sealed(self):
        return self.read("sys/seal-status", token="")["sealed"]

    def leader(self):
        return self.read("sys/leader", token="")

    def applied(self):
        return self.leader().get("raft_applied_index", 0)

    def cli(self, *args, env=None, token=None, stdin=None, timeout=60):
        """The command line against this node: (exit code, standard output, standard error)."""
        home = os.path.join(self.world.dir, "home")
        os.makedirs(home, exist_ok=True)
        full = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home,
                "VAULT_ADDR": self.addr, "VAULT_TOKEN": self.cluster.root if token is None else token}
        full.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        if self.cluster.tls:
            full["VAULT_CACERT"] = self.cluster.tls.ca
        full.update(env or {})
        done = subprocess.run([binary(), *args], env=full, input=stdin, capture_output=True,
                              text=True, timeout=timeout * SLOW)
        return done.returncode, done.stdout, done.stderr


class Cluster:
    def __init__(self, world, name, nodes=3, storage="raft", seal="static", tls=None, extra=(),
                 storage_extra=(), listener_extra=()):
        self.world = world
        self.name = name
        self.dir = os.path.join(world.dir, name)
        self.storage = storage
        self.seal = seal
        self.tls = tls
        self.extra = list(extra)
        self.storage_extra = list(storage_extra)
        self.listener_extra = list(listener_extra)
        self.root = ""
        self.keys = []
        self.threshold = 0
        self._context = None
        os.makedirs(self.dir, exist_ok=True)
        self.seal_key = os.path.join(self.dir, "seal.key")
        if seal == "static":
            with open(os.open(self.seal_key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
                f.write(base64.b64encode(os.urandom(32)))
        self.nodes = []
        for i in range(nodes):
            self.nodes.append(Node(self, "%s%d" % (name, i + 1)))

    def client_context(self):
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.tls.ca)
        return self._context

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            wait_for("%s to answer" % node.name, node.answers, 30)

    def init(self, shares=1, threshold=1):
        """Initialises through the first node; an auto seal has recovery shares instead."""
        kind = "recovery" if self.seal == "static" else "secret"
        answer = self.nodes[0].call("PUT", "sys/init", {kind + "_shares": shares,
                                                        kind + "_threshold": threshold}, timeout=60)
        self.root = answer["root_token"]
        self.keys = answer.get("recovery_keys_base64") or answer.get("keys_base64") or []
        self.threshold = threshold
        return answer

    def unseal(self, node):
        """With Shamir shares; a node with an auto seal unseals by itself."""
        if self.seal == "static":
            wait_for("%s to unseal itself" % node.name, lambda: not node.is_sealed(), 30)
            return
        wait_for("%s to be part of the cluster" % node.name,
                 lambda: node.read("sys/seal-status", token="")["initialized"], 30)

        def give():
            for key in self.keys[:self.threshold]:
                if not node.call("PUT", "sys/unseal", {"key": key}, token="", timeout=30)["sealed"]:
                    return True
            return False
        wait_for("%s to unseal" % node.name, give, 30, 0.3)

    def up(self, shares=1, threshold=1, kv=True):
        """Started, initialised, unsealed, with everyone in the cluster and a kv v2 at secret/."""
        self.start()
        self.init(shares, threshold)
        self.unseal(self.nodes[0])
        self.active()
        for node in self.nodes[1:]:
            self.unseal(node)
        if self.storage == "raft":
            wait_for("all nodes to be voters", lambda: len(self.voters()) == len(self.nodes), 40)
        self.active()
        for node in self.nodes:
            wait_for("%s to serve" % node.name, lambda: node.health() in (200, 429, 473), 30)
        if kv:
            self.any().write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
            for node in self.nodes:
                wait_for("the mount to take writes", lambda: node.put_kv("ready", "1"), 20)
        return self

    def running(self):
        return [n for n in self.nodes if n.is_running() and not n.is_paused]

    def any(self):
        return self.running()[0]

    def voters(self):
        config = self.any().read("sys/storage/raft/configuration")["data"]["config"]
        return [s["node_id"] for s in config["servers"] if s["voter"]]

    def active(self, seconds=30, other_than=None):
        """The active node, once there is exactly one that says so."""
        def leads(node):
            try:
                return node.health() in (200, 472) and node.leader()["is_self"]
            except (OSError, http.client.HTTPException, Refused):
                return False

        def find():
            found = [n for n in self.running() if n is not other_than and leads(n)]
            return found[0] if len(found) == 1 else None
        return wait_for("an active node in cluster %s" % self.name, find, seconds)

    def standbys(self):
        active = self.active()
        return [n for n in self.running() if n is not active]

    def caught_up(self, node, seconds=60):
        """Waits until `node` has applied what the active node has applied now."""
        want = self.active().applied()
        wait_for("%s to apply %d" % (node.name, want), lambda: node.applied() >= want, seconds)


class World:
    """The folder, the ports and the processes of one test script."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="coffer-test-")
        self.ports = Ports()
        self.clusters = []
        self.kept = False

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for cluster in self.clusters:
            self._end_nodes(cluster)
        if self.kept or kind not in (None, SystemExit):
            print("logs are kept in %s" % self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def cluster(self, name, **kwargs):
        made = Cluster(self, name, **kwargs)
        self.clusters.append(made)
        return made

    def certificates(self, name="test", **kwargs):
        return Certificates(os.path.join(self.dir, "tls-" + name), name, **kwargs)

    def end(self, cluster):
        """Ends the processes of a cluster that a script is done with, and forgets it."""
        self._end_nodes(cluster)
        self.clusters.remove(cluster)

    @staticmethod
    def _end_nodes(cluster):
        """With SIGKILL; under a sanitizer with SIGTERM, since only a clean exit looks for leaks."""
        for node in cluster.nodes:
            if node.is_running():
                node.resume()
                if "ASAN_OPTIONS" in os.environ:
                    node.proc.send_signal(signal.SIGTERM)
        for node in cluster.nodes:
            if "ASAN_OPTIONS" in os.environ and node.proc is not None:
                try:
                    node.proc.wait(20)
                except subprocess.TimeoutExpired:
                    print("     %s did not end by SIGTERM" % node.name)
            node.kill()

    def keep(self):
        """Called on a failed check: keep everything and show the last lines of every log, once."""
        if self.kept:
            return
        self.kept = True
        for cluster in self.clusters:
            for node in cluster.nodes:
                print("     --- %s" % node.log_path)
                for line in node.log().splitlines()[-8:]:
                    print("     " + line)


class Writer(threading.Thread):
    """Writes numbered keys one after the other until told to stop, over any node that runs; knows
    what was acknowledged and when. A try that fails is repeated with the same key and value."""

    def __init__(self, cluster, prefix="w", mount="secret", timeout=3.0):
        super().__init__(daemon=True)
        self.cluster, self.prefix, self.mount, self.timeout = cluster, prefix, mount, timeout
        self.done = threading.Event()
        self.acknowledged = {}
        self.times = []
        self.errors = {}

    def run(self):
        n = 0
        while not self.done.is_set():
            nodes = self.cluster.running()
            if not nodes:
                time.sleep(0.05)
                continue
            node = nodes[random.randrange(len(nodes))]
            key, value = "%s/%06d" % (self.prefix, n), "value %d" % n
            try:
                node.put_kv(key, value, self.mount, timeout=self.timeout / SLOW)
            except (OSError, http.client.HTTPException, Refused, ValueError, AttributeError) as e:
                kind = "%d" % e.status if isinstance(e, Refused) else type(e).__name__
                self.errors[kind] = self.errors.get(kind, 0) + 1
                time.sleep(0.02)
                continue
            self.times.append(time.monotonic())
            self.acknowledged[key] = value
            n += 1

    def until(self, count, seconds=60):
        wait_for("%d acknowledged writes" % count, lambda: len(self.times) >= count, seconds)

    def stop(self):
        self.done.set()
        self.join(30 * SLOW)
        return self.acknowledged

    def first_after(self, moment):
        """Seconds from `moment` to the next acknowledgement, or None so far. One that was on its way
        at that moment does not count."""
        later = [t for t in list(self.times) if t > moment + 0.05]
        return later[0] - moment if later else None

    def missing(self, node):
        """Keys that were acknowledged and that `node` does not have with that value."""
        def look(key):
            """What is there, in a tuple; a node that has no leader right now is asked again."""
            try:
                return (node.get_kv(key, self.mount),)
            except Refused as e:
                if e.status != 404:
                    raise
                return (None,)
        return [key for key, value in self.acknowledged.items()
                if wait_for("%s on %s" % (key, node.name), lambda k=key: look(k), 30) != (value,)]


def arguments(about):
    """The options every cluster script takes."""
    import argparse
    ap = argparse.ArgumentParser(description=about)
    ap.add_argument("--binary", help="the coffer binary (default: build/coffer)")
    ap.add_argument("--long", action="store_true", help="more rounds")
    ap.add_argument("--only", default="", help="scenarios whose name holds this")
    opts = ap.parse_args()
    if opts.binary:
        os.environ["COFFER_BINARY"] = os.path.abspath(opts.binary)
    if not os.access(binary(), os.X_OK):
        print("no binary at %s: build first" % binary())
        sys.exit(2)
    return opts
