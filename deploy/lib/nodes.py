"""The nine nodes of the quickstart: where they are, how they start, how to ask them.

Shared by quickstart.py and the drill. Nothing here knows what the demonstration shows. Python 3.9
and its standard library only.
"""
import base64
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DIR = os.path.abspath(os.environ.get("COFFER_QUICKSTART_DIR") or os.path.join(TOP, ".quickstart"))
BASE_PORT = int(os.environ.get("COFFER_QUICKSTART_PORT") or 8200)
BINARY = os.environ.get("COFFER_BINARY") or os.path.join(TOP, "build-release", "coffer")
NAMES = {"a": "primary", "b": "performance secondary", "c": "DR secondary of A"}
SHARES, THRESHOLD = 5, 3


class Refused(Exception):
    def __init__(self, status, body, where):
        self.status = status
        self.errors = (body.get("errors") or []) if isinstance(body, dict) else [str(body)]
        super().__init__("%s: %d %s" % (where, status, "; ".join(map(str, self.errors))))


class Failed(Exception):
    """Something that the operator has to know, in one line."""


def wait_for(what, call, seconds=30.0, every=0.05):
    """Calls until the result is true, at most so long; errors of asking count as no."""
    end, last = time.monotonic() + seconds, None
    while True:
        try:
            last = call()
            if last:
                return last
        except (OSError, http.client.HTTPException, Refused, ValueError) as e:
            last = e
        if time.monotonic() >= end:
            raise Failed("waited %.0f s for %s; last: %r" % (seconds, what, last))
        time.sleep(every)


class Screen:
    """Progress: one line that moves on a terminal, a plain line every few seconds otherwise."""

    def __init__(self):
        self.is_tty = sys.stdout.isatty()
        self.shown_at = 0.0
        self.open = False

    def line(self, text=""):
        if self.open:
            sys.stdout.write("\r\033[K")
            self.open = False
        print(text, flush=True)

    def progress(self, text, last=False):
        now = time.monotonic()
        if self.is_tty:
            sys.stdout.write("\r\033[K  " + text[:150])
            sys.stdout.flush()
            self.open = True
            if last:
                self.line("  " + text)
        elif last or now - self.shown_at >= 5:
            self.shown_at = now
            print("  " + text, flush=True)


class Node:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.name = "%s%d" % (cluster.name, number)
        self.dir = os.path.join(DIR, self.name)
        self.port = BASE_PORT + 20 * "abc".index(cluster.name) + 2 * (number - 1)
        self.cluster_port = self.port + 1
        self.addr = "https://127.0.0.1:%d" % self.port
        self.cluster_addr = "https://127.0.0.1:%d" % self.cluster_port
        self.config = os.path.join(self.dir, "coffer.hcl")
        self.log_path = os.path.join(self.dir, "log")
        self.pid_path = os.path.join(self.dir, "pid")
        self.conn = None
        self.proc = None

    # ---------------------------------------------------------------- process

    def write_config(self):
        os.makedirs(os.path.join(self.dir, "data"), mode=0o700, exist_ok=True)
        joins = "".join('  retry_join {\n    leader_api_addr     = "%s"\n    leader_ca_cert_file = "%s"\n  }\n'
                        % (other.addr, ca_file()) for other in self.cluster.nodes if other is not self)
        with open(self.config, "w") as f:
            f.write('''# Node %s of cluster %s (%s), written by deploy/quickstart.
cluster_name = "%s"
api_addr     = "%s"
cluster_addr = "%s"
log_level    = "info"

storage "raft" {
  path    = "%s"
  node_id = "%s"
%s}

listener "tcp" {
  address         = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_cert_file   = "%s"
  tls_key_file    = "%s"
}

# The nodes unseal themselves. The key belongs on another disk, or in the service manager's credentials.
seal "static" {
  current_key_id = "quickstart-%s"
  current_key    = "file://%s"
}
''' % (self.name, self.cluster.name.upper(), NAMES[self.cluster.name], self.cluster.name, self.addr,
       self.cluster_addr, os.path.join(self.dir, "data"), self.name, joins, self.port, self.cluster_port,
       os.path.join(DIR, "tls", "node.pem"), os.path.join(DIR, "tls", "node.key"),
       self.cluster.name, self.cluster.seal_key))

    def pid(self):
        """The process id when the node runs, else None. The pid file alone proves nothing."""
        if self.proc is not None and self.proc.poll() is None:
            return self.proc.pid  # a child of ours: its command line in /proc may still be empty
        try:
            with open(self.pid_path) as f:
                pid = int(f.read())
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                if self.config.encode() in f.read():
                    return pid
        except (OSError, ValueError):
            pass
        return None

    def start(self):
        if self.pid():
            return
        for port in (self.port, self.cluster_port):
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    raise Failed("port %d is in use; set COFFER_QUICKSTART_PORT to a free range of 50" % port)
        with open(self.log_path, "ab") as log:
            proc = subprocess.Popen([BINARY, "server", "-config=" + self.config], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True, cwd=self.dir)
        with open(self.pid_path, "w") as f:
            f.write("%d\n" % proc.pid)
        self.proc = proc

    def signal(self, sig, wait=20.0):
        """Ends the process and waits for it; True when it ran."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, sig)
        end = time.monotonic() + wait
        while self.pid() and not self.reaped() and time.monotonic() < end:
            time.sleep(0.02)
        if self.pid() and not self.reaped():
            os.kill(pid, signal.SIGKILL)
            self.reaped()
        self.conn = None
        return True

    def reaped(self):
        """A child of ours stays a zombie until asked for its exit code."""
        return self.proc is not None and self.proc.poll() is not None

    def check_runs(self):
        """For use in waits: a node that ended will not come up any more."""
        if self.pid() is None or self.reaped():
            with open(self.log_path, errors="replace") as f:
                raise Failed("%s ended; the end of %s:\n%s" % (self.name, self.log_path, f.read()[-1500:]))
        return True

    # ---------------------------------------------------------------- requests

    def ask(self, method, path, body=None, token="", timeout=15.0, headers=None):
        """(status, parsed body); the connection is kept."""
        send = {"X-Vault-Request": "true"}
        if token:
            send["X-Vault-Token"] = token
        send.update(headers or {})
        data = json.dumps(body).encode() if body is not None else None
        for attempt in (1, 2):
            fresh = self.conn is None
            try:
                if fresh:
                    self.conn = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout,
                                                            context=tls_context())
                self.conn.timeout = timeout
                if self.conn.sock:
                    self.conn.sock.settimeout(timeout)
                self.conn.request(method, "/v1/" + path, data, send)
                answer = self.conn.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException):
                # A connection that was kept may have been closed meanwhile: once more, but only
                # where nothing was sent over a fresh one.
                self.conn = None
                if fresh or attempt == 2:
                    raise
        try:
            return answer.status, json.loads(content) if content else {}
        except ValueError:
            return answer.status, {"errors": [content.decode("utf-8", "replace")]}

    def call(self, method, path, body=None, token=None, timeout=15.0):
        status, parsed = self.ask(method, path, body, self.cluster.token if token is None else token, timeout)
        if status >= 300:
            raise Refused(status, parsed, "%s %s %s" % (self.name, method, path))
        return parsed

    def health(self):
        return self.ask("GET", "sys/health", timeout=3)

    def names(self, mount):
        """The secrets at the top of a kv v2 mount."""
        try:
            return self.call("LIST", mount + "/metadata/", timeout=60)["data"]["keys"]
        except Refused as e:
            if e.status == 404:
                return []
            raise

    def coffer(self, *args, token=None, stdin=None, stream=False, check=True):
        """The command line against this node; its output is shown when `stream`."""
        env = dict(os.environ, VAULT_ADDR=self.addr, VAULT_CACERT=ca_file(), HOME=DIR,
                   VAULT_TOKEN=self.cluster.token if token is None else token)
        done = subprocess.run([BINARY, *args], env=env, input=stdin, text=True,
                              stdout=None if stream else subprocess.PIPE,
                              stderr=None if stream else subprocess.PIPE)
        if check and done.returncode != 0:
            raise Failed("coffer %s: %s" % (" ".join(shown(a) for a in args), done.stderr or done.returncode))
        return done.stdout


def shown(argument):
    """An argument as it may be printed: tokens are cut short."""
    name, sign, value = argument.partition("=")
    secret = name in ("token", "-token", "dr_operation_token")
    return name + sign + value[:8] + "..." if sign and secret else argument


def compare(places, mount, document=None):
    """Every key and value of a mount, through `coffer import -verify`: with a document, each place
    must hold exactly what it says; without, all must hold what the first holds. Shows a line a place."""
    arguments = ["import", "-verify", "-mount=" + mount, "-wait=20s"]
    for node in places:
        arguments += ["-address=" + node.addr, "-token=" + node.cluster.token]
    places[0].coffer(*arguments, *([document] if document else []), stream=True)


class Cluster:
    def __init__(self, name):
        self.name = name
        self.nodes = [Node(self, i) for i in (1, 2, 3)]
        self.seal_key = os.path.join(DIR, "seal-%s.key" % name)
        self.init_path = os.path.join(DIR, "init-%s.json" % name)
        self.token = ""
        self.keys = []
        if os.path.exists(self.init_path):
            with open(self.init_path) as f:
                self.adopt(json.load(f))

    def adopt(self, made):
        self.token = made.get("token") or made["root_token"]
        self.keys = made.get("recovery_keys_base64") or made.get("keys_base64") or []

    def save(self, made):
        with open(os.open(self.init_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(made, f, indent=1)
        self.adopt(made)

    def replace_token(self, token):
        """On a performance secondary the token from its own init is void after enabling."""
        with open(self.init_path) as f:
            made = json.load(f)
        made["token"] = token
        self.save(made)

    def is_initialised(self):
        return os.path.exists(self.init_path)

    def start(self):
        for node in self.nodes:
            node.write_config()
            node.start()
        for node in self.nodes:
            wait_for("%s to answer" % node.name,
                     lambda: node.check_runs() and node.ask("GET", "sys/seal-status", timeout=2)[0] == 200)

    def init(self):
        answer = self.nodes[0].call("PUT", "sys/init", {"recovery_shares": SHARES,
                                                        "recovery_threshold": THRESHOLD}, token="", timeout=60)
        self.save(answer)

    def running(self):
        return [n for n in self.nodes if n.pid()]

    def active(self, seconds=30.0):
        def find():
            for node in self.running():
                try:
                    # Not by the status of health: a fenced primary has a leader, and says 503.
                    _, body = node.health()
                    if not body["sealed"] and node.call("GET", "sys/leader", token="", timeout=3)["is_self"]:
                        return node
                except (OSError, http.client.HTTPException, Refused, KeyError):
                    continue
            return None
        return wait_for("an active node in cluster %s" % self.name.upper(), find, seconds)

    def ready(self):
        """All three unsealed, all three voters, one active."""
        for node in self.nodes:
            wait_for("%s to unseal itself" % node.name,
                     lambda: not node.call("GET", "sys/seal-status", token="")["sealed"], 60)
        return self.active()

    def all_voters(self):
        config = self.active().call("GET", "sys/storage/raft/configuration")["data"]["config"]
        return len([s for s in config["servers"] if s["voter"]]) == len(self.nodes)

    def replication(self, kind, seconds=10.0):
        """The status of one kind, from any node that answers."""
        def read():
            for node in self.running():
                try:
                    return node.call("GET", "sys/replication/%s/status" % kind, token="", timeout=5)["data"]
                except (OSError, http.client.HTTPException, Refused):
                    continue
            return None
        return wait_for("the replication status of " + self.name.upper(), read, seconds)


def ca_file():
    return os.path.join(DIR, "tls", "ca.pem")


_context = None


def tls_context():
    global _context
    if _context is None:
        _context = ssl.create_default_context(cafile=ca_file())
    return _context


def make_certificates():
    """A CA and one certificate for loopback, good for a year; only the listeners use them."""
    folder = os.path.join(DIR, "tls")
    if os.path.exists(os.path.join(folder, "node.pem")):
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)

    def openssl(*args):
        done = subprocess.run(["openssl", *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed("openssl %s: %s" % (args[0], done.stderr.strip()))
    with open(os.path.join(folder, "san.cnf"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "365",
            "-subj", "/CN=coffer quickstart CA")
    openssl("req", *curve, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=coffer quickstart")
    openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "365", "-extfile", "san.cnf", "-out", "node.pem")


def make_seal_key(cluster):
    if not os.path.exists(cluster.seal_key):
        with open(os.open(cluster.seal_key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(base64.b64encode(os.urandom(32)))
