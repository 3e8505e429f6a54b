#!/usr/bin/env python3
"""One node: set-up, restarts, kill -9, signals, and every way of starting it wrong."""
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, raises, true  # noqa: E402
from cluster import SLOW, Node, Refused, World, Writer, arguments, binary, wait_for  # noqa: E402


def shamir(t, world):
    """Init with shares, unseal with some of them, seal, and the answers of a sealed node."""
    cluster = world.cluster("shamir", nodes=1, seal="shamir")
    node = cluster.nodes[0].start()
    with t.check("an uninitialised node says so"):
        equal(node.health(), 501)
        equal(node.read("sys/init", token="")["initialized"], False)
    with t.check("init gives five shares and a root token"):
        answer = cluster.init(5, 3)
        equal(len(cluster.keys), 5)
        true(cluster.root, "no root token")
        equal(len(answer["keys"]), 5)
    with t.check("a second init is refused"):
        equal(raises(Refused, node.call, "PUT", "sys/init",
                     {"secret_shares": 1, "secret_threshold": 1}).status, 400)
    with t.check("a sealed node answers 503 and health 503"):
        equal(node.health(), 503)
        equal(node.ask("GET", "secret/data/x")[0], 503)
    with t.check("three of five shares unseal"):
        for i, key in enumerate((cluster.keys[4], cluster.keys[1], cluster.keys[2])):
            status = node.call("PUT", "sys/unseal", {"key": key}, token="")
            equal(status["sealed"], i < 2)
        equal(cluster.active().name, node.name)
    node.write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    wait_for("the first write", lambda: node.put_kv("a", "1"))
    with t.check("sealing and unsealing keeps the data"):
        node.call("PUT", "sys/seal")
        equal(node.health(), 503)
        cluster.unseal(node)
        cluster.active()
        equal(node.get_kv("a"), "1")
    with t.check("shares that do not fit are refused"):
        node.call("PUT", "sys/seal")
        other = "A" * 43 + "="
        node.call("PUT", "sys/unseal", {"key": cluster.keys[0]}, token="")
        node.call("PUT", "sys/unseal", {"key": cluster.keys[1]}, token="")
        # A share of the right length with an id that no share has.
        status, _, _ = node.ask("PUT", "sys/unseal", {"key": other}, token="")
        equal(status, 400)
        equal(node.is_sealed(), True)
        cluster.unseal(node)
        cluster.active()
    with t.check("SIGTERM ends the process with code 0"):
        equal(node.stop(), 0)
    with t.check("after a restart the node is sealed, and its data is there once unsealed"):
        node.start()
        equal(node.is_sealed(), True)
        cluster.unseal(node)
        cluster.active()
        equal(node.get_kv("a"), "1")
    world.end(cluster)


def unattended(t, world):
    """The static seal, kill -9 and what is on disk."""
    cluster = world.cluster("auto", nodes=1, tls=world.certificates("auto")).up()
    node = cluster.nodes[0]
    with t.check("TLS 1.1 is refused, TLS 1.2 is served"):
        for flag, want in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % node.port, flag,
                                   "-cipher", "DEFAULT@SECLEVEL=0"], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=20 * SLOW)
            equal(b"BEGIN CERTIFICATE" in done.stdout, want, flag)
    with t.check("kill -9 under load loses no acknowledged write"):
        writers = [Writer(cluster, "k%d" % i) for i in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.until(25)
        node.kill()
        acknowledged = sum(len(w.stop()) for w in writers)
        true(acknowledged >= 100, "only %d acknowledged" % acknowledged)
        node.start()
        wait_for("the node to be active by itself", lambda: node.health() == 200, 30)
        equal([w.missing(node) for w in writers], [[]] * 4)
        t.note("%d acknowledged writes, all there" % acknowledged)
    with t.check("five more kills while writing"):
        for _ in range(5):
            writer = Writer(cluster, "again")
            writer.start()
            writer.until(10)
            node.kill()
            writer.stop()
            node.start()
            wait_for("the node to be active by itself", lambda: node.health() == 200, 30)
            equal(writer.missing(node), [])
    with t.check("no plaintext of a secret is on disk or in the log"):
        marker = "plaintext-marker-59c1"
        node.put_kv("marked-key", marker)
        node.write("sys/policies/acl/marked", {"policy": 'path "%s/*" { capabilities = ["read"] }' % marker})
        node.stop()
        found = []
        for base, _, files in os.walk(node.dir):
            for name in files:
                with open(os.path.join(base, name), "rb") as f:
                    if marker.encode() in f.read():
                        found.append(name)
        equal(found, [])
        node.start()
        wait_for("the node to be active again", lambda: node.health() == 200, 30)
    with t.check("SIGHUP reloads the certificate without dropping the listener"):
        fresh = world.certificates("fresh")
        with open(fresh.cert) as f, open(cluster.tls.cert, "w") as to:
            to.write(f.read())
        with open(fresh.key) as f, open(cluster.tls.key, "w") as to:
            to.write(f.read())
        node.hup()
        cluster.tls.ca, cluster._context = fresh.ca, None
        wait_for("the new certificate", lambda: node.health() == 200, 10)
        equal(node.is_running(), True)
    world.end(cluster)


def failing_start(node, seconds=15):
    """Starts a node that must not come up: (exit code, what it wrote on stderr and the log)."""
    with open(node.config, "w") as f:
        f.write(node.config_text())
    done = subprocess.run([binary(), "server", "-config=" + node.config], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=seconds * SLOW, cwd=node.dir)
    return done.returncode, done.stdout + done.stderr


def wrong_starts(t, world):
    """Bad input at start: a non-zero exit and one line that says what to do."""
    cluster = world.cluster("good", nodes=1).up()
    good = cluster.nodes[0]

    def refused(name, prepare, *words):
        with t.check(name):
            other = world.cluster(name.replace(" ", "-"), nodes=1)
            node = other.nodes[0]
            prepare(other, node)
            code, text = failing_start(node)
            true(code not in (0, None) and code > 0, "exit code %r: %s" % (code, text))
            for word in words:
                true(word in text, "%r is not in: %s" % (word, text.strip()))
        equal(good.health(), 200, "the node that runs")

    def same_port(other, node):
        node.port = good.port

    def same_cluster_port(other, node):
        node.cluster_port = good.cluster_port

    def same_data(other, node):
        node.data = good.data

    refused("port in use", same_port, str(good.port))
    refused("cluster port in use", same_cluster_port, str(good.cluster_port))
    refused("data directory in use", same_data, good.data)
    refused("unknown key", lambda c, n: c.extra.append("clutser_name = \"x\""),
            "clutser_name", "cluster_name", "coffer.hcl:")
    refused("unknown key in a block", lambda c, n: c.listener_extra.append("tls_cert_fil = \"x\""),
            "tls_cert_fil", "tls_cert_file")
    refused("broken configuration", lambda c, n: c.extra.append("ui = = true"), "coffer.hcl:")
    refused("missing certificate", lambda c, n: setattr(c, "tls", Missing(node_dir=n.dir)), "nowhere.pem")
    with t.check("a missing configuration file"):
        done = subprocess.run([binary(), "server", "-config=" + os.path.join(world.dir, "none.hcl")],
                              capture_output=True, text=True, timeout=15 * SLOW)
        true(done.returncode > 0 and "none.hcl" in done.stdout + done.stderr, done.stderr)
    with t.check("a key that others know and coffer has no use for draws a warning only"):
        other = world.cluster("warned", nodes=1, extra=["plugin_directory = \"/nowhere\""])
        other.nodes[0].start()
        true("plugin_directory" in other.nodes[0].log(), "no warning in the log")
        world.end(other)
    with t.check("a cluster with a static key wants its seal block"):
        other = world.cluster("noblock", nodes=1, seal="static").up()
        node = other.nodes[0]
        node.stop()
        other.seal = "shamir"
        code, text = failing_start(node)
        true(code > 0, "exit code %r: %s" % (code, text))
        true('no seal "static" block' in text, text)
        other.seal = "static"
        node.start()
        wait_for("the node with its block to come back", lambda: node.health() == 200, 30)
        equal(node.get_kv("ready"), "1")
        world.end(other)
    with t.check("two storage blocks are refused"):
        other = world.cluster("twice", nodes=1, extra=['storage "inmem" {}'])
        code, text = failing_start(other.nodes[0])
        true(code > 0 and "a second storage block" in text, "exit code %r: %s" % (code, text))
    with t.check("the data directory of another node is refused"):
        other = world.cluster("theirs", nodes=1).up()
        other.nodes[0].stop()
        stranger = Node(other, "stranger")
        stranger.data = other.nodes[0].data
        code, text = failing_start(stranger)
        true(code > 0, "exit code %r" % code)
        true("theirs1" in text and "stranger" in text, text)
        other.nodes[0].start()
        wait_for("the right node to come back", lambda: other.nodes[0].health() == 200, 30)
        equal(other.nodes[0].get_kv("ready"), "1")
        world.end(other)
    world.end(cluster)


class Missing:
    """Certificate files that are not there."""

    def __init__(self, node_dir):
        self.ca = self.cert = self.key = os.path.join(node_dir, "nowhere.pem")


def requests(t, world):
    """Bad requests: a clear status, and the node goes on."""
    cluster = world.cluster("requests", nodes=1).up()
    node = cluster.nodes[0]
    with t.check("malformed JSON is 400"):
        equal(node.ask("POST", "secret/data/x", raw=b'{"data": {', headers={
            "Content-Type": "application/json"})[0], 400)
    with t.check("an unknown path is 404, a wrong token 403"):
        equal(node.ask("GET", "nowhere/x")[0], 404)
        equal(node.ask("GET", "secret/data/x", token="hvs.wrong")[0], 403)
    with t.check("a body of 40 MB is 413"):
        try:
            status = node.ask("POST", "secret/data/big", raw=b'{"data":{"v":"' + b"x" * 40000000 + b'"}}')[0]
        except (ConnectionResetError, BrokenPipeError):
            status = 413  # answered and closed before all of the body was sent
        equal(status, 413)
        equal(node.health(), 200)
    with t.check("garbage on the listener and on the cluster port harms nothing"):
        import socket
        for port in (node.port, node.cluster_port):
            for garbage in (b"\x00" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"a" * 500,
                            b"POST /v1/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), 5) as s:
                    try:
                        s.sendall(garbage)
                        s.shutdown(socket.SHUT_WR)
                        s.settimeout(5 * SLOW)
                        while s.recv(4096):
                            pass
                    except OSError:
                        pass
        equal(node.get_kv("ready"), "1")
        equal(node.is_running(), True)
    with t.check("sixty-four clients at once read their own writes"):
        wrong = []

        def work(me):
            for i in range(10):
                key = "many/%d" % me
                node.put_kv(key, str(i))
                if node.get_kv(key) != str(i):
                    wrong.append((me, i))

        threads = [threading.Thread(target=work, args=(me,)) for me in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120 * SLOW)
        equal(wrong, [])
        equal(len(node.call("LIST", "secret/metadata/many")["data"]["keys"]), 64)
    with t.check("SIGTERM in the middle of requests ends with code 0 and loses nothing acknowledged"):
        writer = Writer(cluster, "term")
        writer.start()
        writer.until(20)
        equal(node._end(signal.SIGTERM, 20), 0)
        writer.stop()
        node.start()
        wait_for("the node to be active by itself", lambda: node.health() == 200, 30)
        equal(writer.missing(node), [])
    world.end(cluster)


def listener(t, world):
    """What a listener says of its own: open metrics, the largest request."""
    cluster = world.cluster("listener", nodes=1, listener_extra=[
        "max_request_size = 4096", "telemetry {", "  unauthenticated_metrics_access = true", "}"]).up()
    node = cluster.nodes[0]
    with t.check("metrics need no token where the listener says so"):
        status, text, _ = node.ask("GET", "sys/metrics?format=prometheus", token="")
        equal(status, 200)
        true("coffer_core_unsealed 1" in str(text), str(text)[:200])
        equal(node.ask("GET", "sys/metrics", token="")[0], 200)
        equal(node.ask("GET", "sys/mounts", token="")[0], 403)
    with t.check("metrics of a sealed node"):
        node.call("PUT", "sys/seal")
        status, text, _ = node.ask("GET", "sys/metrics?format=prometheus", token="")
        equal(status, 200)
        true("coffer_core_unsealed 0" in str(text), str(text)[:200])
        node.stop()
        node.start()
        cluster.unseal(node)
        wait_for("the node to be active again", lambda: node.health() == 200, 30)
    with t.check("a body above max_request_size is 413, one below is taken"):
        equal(node.ask("PUT", "cubbyhole/a", {"x": "y" * 5000})[0], 413)
        equal(node.ask("PUT", "cubbyhole/a", {"x": "y" * 1000})[0], 204)
    world.end(cluster)


def helped(t, world):
    """The OpenAPI document of a whole node, and help for every path in it."""
    cluster = world.cluster("helped", nodes=1).up()
    node = cluster.nodes[0]
    node.write("sys/mounts/v1", {"type": "kv"})
    node.write("sys/mounts/v2", {"type": "kv", "options": {"version": "2"}})
    for method in ("approle", "cert", "userpass"):
        node.write("sys/auth/" + method, {"type": method})
    document = node.call("GET", "sys/internal/specs/openapi")
    env = dict(os.environ, VAULT_ADDR=node.addr, VAULT_TOKEN=cluster.root, HOME=world.dir)
    with t.check("the document has every mount and what the node itself answers"):
        for path in ("/sys/health", "/sys/init", "/sys/rotate/root/init", "/sys/storage/raft/snapshot",
                     "/v1/{path}", "/v2/data/{path}", "/auth/approle/login", "/identity/entity",
                     "/cubbyhole/{path}", "/auth/token/create", "/sys/replication/status"):
            true(path in document["paths"], path)
        true(len(document["paths"]) > 250, len(document["paths"]))
    with t.check("coffer path-help tells of every path"):
        bare = []
        for path in document["paths"]:
            run = subprocess.run([binary(), "path-help", re.sub(r"\{\w+\}", "x", path[1:])], env=env,
                                 capture_output=True, text=True)
            if run.returncode != 0 or len(run.stdout.strip()) < 6:
                bare.append((path, run.returncode, run.stdout, run.stderr))
        equal(bare, [])
    world.end(cluster)


def monitor(t, world):
    """sys/monitor: lines as they are written, for as long as somebody reads."""
    cluster = world.cluster("monitor", nodes=1, seal="shamir").up()
    node = cluster.nodes[0]
    env = dict(os.environ, VAULT_ADDR=node.addr, VAULT_TOKEN=cluster.root, HOME=world.dir)

    def follow(*flags):
        return subprocess.Popen([binary(), "monitor", *flags], env=env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def until(follower, *words):
        """The next line with the words in it; the process's end ends it, too."""
        for line in follower.stdout:
            if all(word in line for word in words):
                return line
        raise AssertionError("ended (%s) without %s: %s" % (follower.wait(), words, follower.stderr.read()))

    def say(level):
        node.call("PUT", "sys/loggers/audit", {"level": level})

    def follows(flags, level, *words):
        follower = follow(*flags)
        for _ in range(200):  # it may not follow yet when the first lines are written
            say(level)
            ready, _, _ = select.select([follower.stdout], [], [], 0.1)
            if ready:
                break
        until(follower, "log level of audit is now " + level, *words)
        return follower

    with t.check("lines arrive as they are written"):
        first = follows([], "debug", "[info] server:")
    with t.check("in JSON, and at a level that the node itself does not write"):
        second = follows(["-log-format=json", "-log-level=trace"], "warn", '"@level":"info"')
    with t.check("who goes is forgotten"):
        for _ in range(40):
            gone = follow()
            gone.kill()
            gone.wait()
        wait_for("a place among the followers", lambda: follows([], "error").kill() is None, 30)
    with t.check("bad parameters are refused"):
        equal(node.ask("GET", "sys/monitor?log_level=loud")[0], 400)
        equal(node.ask("GET", "sys/monitor?log_format=xml")[0], 400)
        equal(node.ask("GET", "sys/monitor", token="")[0], 403)
    with t.check("sealing ends them, in order"):
        node.call("PUT", "sys/seal")
        until(first, "server: sealed")
        equal([f.wait(60) for f in (first, second)], [0, 0])
        cluster.unseal(node)
        cluster.active()
    with t.check("stopping ends them, in order"):
        last = follows([], "info")
        equal(node.stop(), 0)
        equal(last.wait(60), 0)
    world.end(cluster)


def diagnose(t, world):
    """operator diagnose: what it finds, as text and as JSON, and that it leaves nothing behind."""
    cluster = world.cluster("diagnose", nodes=1, seal="static", tls=world.certificates("diagnose"))
    node = cluster.nodes[0]

    def run():
        with open(node.config, "w") as f:
            f.write(node.config_text())
        done = subprocess.run([binary(), "operator", "diagnose", "-format=json", "-config=" + node.config],
                              capture_output=True, text=True, timeout=60 * SLOW, cwd=node.dir)
        whole = json.loads(done.stdout)
        equal(done.returncode, {"ok": 0, "fail": 1, "warn": 2}[whole["status"]])
        found = {}
        for check in whole["checks"]:
            found.setdefault(check["name"], []).append((check["status"], check["message"]))
        return whole["status"], found

    def fails(name, *words):
        status, found = run()
        equal(status, "fail")
        texts = [text for verdict, text in found[name] if verdict == "fail"]
        true(any(all(w in text for w in words) for text in texts), str(found))

    with t.check("a good configuration has no failure, and nothing is left behind"):
        before = sorted(os.listdir(node.dir))
        status, found = run()
        true(status != "fail", str(found))
        equal([v for v, _ in found["ports"]], ["ok", "ok"])
        equal(found["seal"][0][0], "ok")
        true("is good for" in found["tls"][0][1], str(found["tls"]))
        true(any("synced write takes" in text for _, text in found["disk"]), str(found["disk"]))
        equal(sorted(set(os.listdir(node.dir)) - set(before) - {os.path.basename(node.config)}), [])
    with t.check("a server that runs has the ports, and its directory is looked at"):
        cluster.up()
        status, found = run()
        equal([v for v, _ in found["ports"]], ["warn", "warn"])
        equal(found["storage"][0][0], "ok")
        os.chmod(node.data, 0o755)
        equal(run()[1]["storage"][0][0], "warn")
        os.chmod(node.data, 0o700)
        equal(node.health(), 200)
        node.stop()
    with t.check("a key file that is open to others, and one that is none"):
        os.chmod(cluster.seal_key, 0o644)
        equal(run()[1]["seal"][0][0], "warn")
        with open(cluster.seal_key, "w") as f:
            f.write("short")
        fails("seal", "current_key")
    with t.check("a data directory that is a file, a certificate that is not there, a broken file"):
        node.data = cluster.seal_key
        fails("storage", cluster.seal_key)
        cluster.tls = Missing(node_dir=node.dir)
        fails("tls", "nowhere.pem")
        cluster.extra.append("clutser_name = \"x\"")
        fails("configuration", "coffer.hcl:", "cluster_name")


def dev(t, world):
    """The dev server: in memory, unsealed, with the token it was told."""
    with t.check("server -dev is unsealed, with the root token given and kv v2 at secret/"):
        cluster = world.cluster("dev", nodes=1)
        node = cluster.nodes[0]
        cluster.root = "dev-root"
        env = dict(os.environ, HOME=world.dir)
        kept = os.path.join(world.dir, ".vault-token")

        def start(*flags):
            with open(node.log_path, "ab") as log:
                node.proc = subprocess.Popen(
                    [binary(), "server", "-dev", "-dev-root-token-id=dev-root",
                     "-dev-listen-address=127.0.0.1:%d" % node.port, *flags],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
            wait_for("the dev server", lambda: node.health() == 200, 20)
            wait_for("its token", lambda: node.ask("GET", "auth/token/lookup-self")[0] == 200, 20)

        start("-dev-no-store-token", "-log-format=json")
        equal(node.stop(), 0)
        equal(os.path.exists(kept), False)
        with open(node.log_path) as log:
            true('"@message":"unsealed"' in log.read(), "no JSON in its log")
        start()
        node.put_kv("a", "b")
        equal(node.get_kv("a"), "b")
    with t.check("commands find its token"):
        wait_for("the token's file", lambda: os.path.exists(kept), 20)
        equal(open(kept).read(), "dev-root")
        equal(os.stat(kept).st_mode & 0o777, 0o600)
        run = subprocess.run([binary(), "kv", "get", "-field=v", "secret/a"], capture_output=True, text=True,
                             env=dict(env, VAULT_ADDR=node.addr))
        equal((run.returncode, run.stdout, run.stderr), (0, "b", ""))
        equal(node.stop(), 0)
        world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in (shamir, unattended, wrong_starts, requests, listener, helped, monitor, diagnose, dev):
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
