#!/usr/bin/env python3
"""The command lines of coffer and OpenBao, each against both servers.

    bao.py [--binary build/coffer] [--show]

OpenBao is built from source with the machine's Go into build/clients-bao the first time (minutes): from
COFFER_BAO_SOURCE, a checkout or a git directory that has the tag, else by git from its home. COFFER_BAO names
one that is built already. Where none of this works, the reason is printed and nothing counts.

Every command runs four times: by either program, against either server. What OpenBao's program says of
OpenBao's server is what is expected of the other three: the exit code, the texts of success and of failure,
and the shape of tables and JSON. Ends with "N passed, N failed".
"""
import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from checks import Checks  # noqa: E402

TAG = "v2.5.5"
# Rows that this OpenBao has and the API that coffer serves has not: its own additions.
NEWER = ("current_metadata_version", "metadata_cas_required")
HOME_OF_BAO = "https://github.com/openbao/openbao"
PLACE = os.path.join(TOP, "build", "clients-bao")


class Missing(Exception):
    """OpenBao cannot be had here; says why."""


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Missing("%s: %s" % (" ".join(words[:4]), (done.stderr or done.stdout).strip()[-300:]))
    return done.stdout


def take_source(to):
    given = os.environ.get("COFFER_BAO_SOURCE")
    if given and os.path.exists(os.path.join(given, "go.mod")):
        return given
    if given:
        os.makedirs(to, exist_ok=True)
        tar = subprocess.Popen(["git", "--git-dir", given, "archive", TAG], stdout=subprocess.PIPE)
        run("tar", "-x", "-C", to, stdin=tar.stdout)
        if tar.wait() != 0:
            raise Missing("%s has no tag %s" % (given, TAG))
        return to
    run("git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", "clone", "-q", "--depth", "1",
        "--branch", TAG, HOME_OF_BAO, to, timeout=600)
    return to


def openbao():
    """The program, built when it has to be."""
    given = os.environ.get("COFFER_BAO")
    if given:
        return given
    program = os.path.join(PLACE, "bao-" + TAG)
    if os.path.exists(program):
        return program
    if shutil.which("go") is None:
        raise Missing("there is no Go compiler to build OpenBao %s with" % TAG)
    source = os.path.join(PLACE, "source")
    shutil.rmtree(source, ignore_errors=True)
    os.makedirs(PLACE, exist_ok=True)
    where = take_source(source)
    run("go", "build", "-buildvcs=false", "-o", program + ".new", ".", cwd=where, timeout=3600)
    os.rename(program + ".new", program)
    shutil.rmtree(source, ignore_errors=True)
    return program


def free_port():
    """A port whose neighbour is free, too: the cluster port is one further."""
    for _ in range(200):
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            port = a.getsockname()[1]
            try:
                b.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise Missing("no two free ports beside each other")


class Server:
    def __init__(self, program, folder, name):
        self.addr = "http://127.0.0.1:%d" % free_port()
        self.log = open(os.path.join(folder, name + ".log"), "w")
        words = [program, "server", "-dev", "-dev-root-token-id=root",
                 "-dev-listen-address=" + self.addr[7:]]
        env = dict(os.environ, HOME=os.path.join(folder, "home-server-" + name))
        os.makedirs(env["HOME"], exist_ok=True)
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, env=env, cwd=folder)
        for _ in range(600):
            try:
                urllib.request.urlopen(self.addr + "/v1/sys/health", timeout=2).read()
                return
            except OSError:
                time.sleep(0.1)
                if self.process.poll() is not None:
                    break
        raise Missing("%s server does not come up: %s" % (name, self.log.name))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Runner:
    """One program against one server, with a home of its own."""

    def __init__(self, program, server, folder, name):
        self.program, self.server, self.name = program, server, name
        self.home = os.path.join(folder, "home-" + name)
        os.makedirs(self.home)
        self.kept = {}

    def run(self, words, stdin=""):
        env = {"PATH": os.environ["PATH"], "HOME": self.home, "VAULT_ADDR": self.server.addr,
               "BAO_ADDR": self.server.addr, "VAULT_CLI_NO_COLOR": "1", "TZ": "UTC"}
        if "@login" not in words:
            env["VAULT_TOKEN"] = env["BAO_TOKEN"] = self.kept.get("as", "root")
        line = [self.program] + [self.fill(w) for w in words if w != "@login"]
        return subprocess.run(line, input=stdin, capture_output=True, text=True, env=env, cwd=self.home,
                              timeout=120)

    def fill(self, word):
        """{name}: what an earlier command of this runner printed; {pre}: a mount of its own."""
        word = word.replace("{pre}", self.name)
        return re.sub(r"\{(\w+)\}", lambda m: self.kept.get(m.group(1), m.group(0)), word)


def shape(value):
    """Types and keys of JSON, without the values that differ by nature."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value[:1]]
    return type(value).__name__ if value != "" else "empty"


def covers(want, got, path=""):
    """What `got` lacks of `want`; keys of its own are its own business. What OpenBao's program prints as null
    or "" may be absent: it fills in what the server did not say."""
    if isinstance(want, dict) and isinstance(got, dict):
        return [p for k in want for p in
                (covers(want[k], got[k], path + "." + k) if k in got else
                 [path + "." + k + " is missing"] if want[k] not in ("NoneType", "empty") else [])]
    if isinstance(want, list) and isinstance(got, list):
        return covers(want[0], got[0], path + "[]") if want and got else []
    alike = want == got or "NoneType" in (want, got) or {str(want), str(got)} <= {"str", "empty"} or {str(want), str(got)} <= {"int", "float"}
    empty = (want in ({}, []) and got == "NoneType") or (got in ({}, []) and want == "NoneType")
    return [] if alike or empty or isinstance(want, (dict, list)) and got == "NoneType" \
        else ["%s is %s, not %s" % (path, got, want)]


def plain(text, runner):
    """A text without addresses, ids and times."""
    text = text.replace(runner.server.addr, "ADDR").replace(runner.name, "PRE")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"\b[hsbr]\w{0,2}\.[A-Za-z0-9_-]{20,}", "TOKEN", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][0-9:.]+(Z| \+0000 UTC)?", "TIME", text)
    return re.sub(r"\bbao\b|\bcoffer\b", "PROGRAM", text)


def rows(text):
    """The first column of each table row, without mounts of the other runners."""
    lines = text.splitlines()
    dashes = [i for i, line in enumerate(lines) if re.match(r"^---", line)]
    cells = [re.split(r" {2,}", line)[0] for line in lines[dashes[0] + 1 if dashes else 0:] if line]
    return [c for c in cells if not re.match(r"q\dx", c) and c not in NEWER]


def judge(want, got, reference, runner, rule):
    """A list of complaints."""
    wrong = []
    if want.returncode != got.returncode:
        wrong.append("exit code %d, not %d (%s)" % (got.returncode, want.returncode,
                                                    (got.stderr or got.stdout).strip()[:200]))
        return wrong
    wanted, found = plain(want.stdout, reference), plain(got.stdout, runner)
    if rule == "exit":
        return wrong
    if rule == "json":
        wrong += covers(shape(json.loads(want.stdout)), shape(json.loads(got.stdout)))
    elif rule == "exact":
        if wanted != found:
            wrong.append("prints %r, not %r" % (found[:300], wanted[:300]))
    elif rule == "table":
        lacks = [r for r in rows(wanted) if r not in rows(found)]
        if lacks or not rows(found):
            wrong.append("rows missing: %s in %r" % (", ".join(lacks), found[:200]))
    elif rule == "error":
        first, other = (plain(t.stderr, r).strip() for t, r in ((want, reference), (got, runner)))
        if first.split("\n")[0] != other.split("\n")[0]:
            wrong.append("says %r, not %r" % (other[:200], first[:200]))
    else:
        raise AssertionError("rule %s" % rule)
    return wrong


POLICY = 'path "secret/*" {\n  capabilities = ["read", "list"]\n}\n'

# (words, rule, standard input, what to keep: name and JSON path of the output)
COMMANDS = [
    (["status"], "table"),
    (["status", "-format=json"], "json"),
    (["token", "lookup"], "table"),
    (["token", "lookup", "-format=json"], "json"),
    (["print", "token"], "exact"),
    (["secrets", "list"], "table"),
    (["secrets", "list", "-format=json"], "json"),
    (["secrets", "enable", "-path={pre}1", "-version=1", "kv"], "exact"),
    (["secrets", "enable", "-path={pre}2", "-version=2", "kv"], "exact"),
    (["secrets", "enable", "-path={pre}2", "kv"], "error"),
    (["secrets", "tune", "-default-lease-ttl=1h", "-description=x", "{pre}1"], "exact"),
    (["secrets", "enable", "nothing-like-it"], "exit"),
    (["write", "{pre}1/a", "x=1", "y=two"], "exact"),
    (["write", "{pre}1/b", "-"], "exact", '{"n": 1.50, "l": [1, 2]}'),
    (["read", "{pre}1/a"], "exact"),
    (["read", "-field=y", "{pre}1/a"], "exact"),
    (["read", "-field=z", "{pre}1/a"], "error"),
    (["read", "-format=json", "{pre}1/b"], "json"),
    (["read", "-format=yaml", "{pre}1/b"], "exit"),
    (["read", "{pre}1/none"], "error"),
    (["read"], "error"),
    (["list", "{pre}1"], "exact"),
    (["list", "-format=json", "{pre}1"], "exact"),
    (["list", "{pre}1/none"], "error"),
    (["delete", "{pre}1/a"], "exact"),
    (["write", "{pre}1/a"], "error"),
    (["kv", "put", "{pre}2/a", "x=1"], "table"),
    (["kv", "put", "-mount={pre}2", "-cas=1", "a", "x=2", "y=@nofile"], "exit"),
    (["kv", "put", "-mount={pre}2", "-cas=1", "a", "x=2"], "table"),
    (["kv", "put", "-mount={pre}2", "-cas=1", "a", "x=3"], "error"),
    (["kv", "get", "{pre}2/a"], "table"),
    (["kv", "get", "-format=json", "{pre}2/a"], "json"),
    (["kv", "get", "-field=x", "{pre}2/a"], "exact"),
    (["kv", "get", "-version=1", "-field=x", "{pre}2/a"], "exact"),
    (["kv", "patch", "{pre}2/a", "z=9"], "table"),
    (["kv", "list", "{pre}2"], "exact"),
    (["kv", "metadata", "put", "-max-versions=5", "-custom-metadata=k=v", "{pre}2/a"], "exact"),
    (["kv", "metadata", "get", "{pre}2/a"], "table"),
    (["kv", "rollback", "-version=1", "{pre}2/a"], "table"),
    (["kv", "delete", "{pre}2/a"], "exact"),
    (["kv", "get", "{pre}2/a"], "table"),
    (["kv", "undelete", "-versions=4", "{pre}2/a"], "exact"),
    (["kv", "destroy", "-versions=1", "{pre}2/a"], "exact"),
    (["kv", "metadata", "delete", "{pre}2/a"], "exact"),
    (["kv", "get", "{pre}2/a"], "error"),
    (["kv", "enable-versioning", "{pre}1"], "exact"),
    (["policy", "write", "{pre}-p", "-"], "exact", POLICY),
    (["policy", "read", "{pre}-p"], "exact"),
    (["policy", "list"], "exit"),
    (["policy", "read", "none-of-it"], "error"),
    (["token", "create", "-policy={pre}-p", "-ttl=1h", "-format=json"], "json", "",
     {"tok": "auth.client_token", "acc": "auth.accessor"}),
    (["token", "create", "-policy={pre}-p", "-ttl=1h"], "table"),
    (["token", "lookup", "{tok}"], "table"),
    (["token", "lookup", "-accessor", "{acc}"], "table"),
    (["token", "capabilities", "{tok}", "secret/x"], "exact"),
    (["token", "renew", "{tok}"], "table"),
    (["token", "revoke", "{tok}"], "exact"),
    (["token", "lookup", "{tok}"], "exit"),
    (["auth", "enable", "-path={pre}-u", "userpass"], "exact"),
    (["auth", "list"], "table"),
    (["auth", "tune", "-max-lease-ttl=2h", "{pre}-u"], "exact"),
    (["write", "auth/{pre}-u/users/ann", "password=pw", "policies={pre}-p"], "exact"),
    (["login", "@login", "-method=userpass", "-path={pre}-u", "username=ann", "password=pw"], "table"),
    (["login", "@login", "-method=userpass", "-path={pre}-u", "username=ann", "password=no"], "exit"),
    (["login", "@login", "-token-only", "-method=userpass", "-path={pre}-u", "username=ann",
      "password=pw"], "exit"),
    (["print", "@login", "token"], "exit"),
    (["auth", "disable", "{pre}-u"], "exact"),
    (["read", "-wrap-ttl=60s", "-format=json", "sys/mounts"], "json", "", {"wrap": "wrap_info.token"}),
    (["unwrap", "{wrap}"], "exit"),
    (["unwrap", "{wrap}"], "error"),
    (["namespace", "create", "{pre}-ns"], "table"),
    (["namespace", "list"], "exit"),
    (["namespace", "lookup", "{pre}-ns"], "table"),
    (["secrets", "list", "-namespace={pre}-ns"], "table"),
    (["namespace", "patch", "-custom-metadata=a=b", "{pre}-ns"], "table"),
    (["namespace", "lookup", "none-of-it"], "error"),
    (["namespace", "delete", "{pre}-ns"], "exit"),
    (["audit", "list"], "exit"),
    (["operator", "key-status"], "table"),
    (["operator", "rotate"], "exit"),
    (["operator", "init", "-status"], "exact"),
    (["lease", "lookup", "none/of/it"], "exit"),
    (["lease", "revoke", "-prefix", "{pre}1"], "exact"),
    (["path-help", "sys/mounts"], "exit"),
    (["secrets", "move", "{pre}1", "{pre}3"], "exit"),
    (["secrets", "disable", "{pre}3"], "exact"),
    (["secrets", "disable", "{pre}2"], "exact"),
    (["policy", "delete", "{pre}-p"], "exact"),
    (["no-such-command"], "exit"),
    (["read", "-no-such-flag", "x"], "exit"),
]


def keep(runner, done, wanted):
    for name, path in wanted.items():
        value = json.loads(done.stdout)
        for part in path.split("."):
            value = value[part]
        runner.kept[name] = value


def compare(t, runners, show):
    reference, others = runners[0], runners[1:]
    for entry in COMMANDS:
        words, rule, stdin, wanted = (entry + ("", {}))[:4] if len(entry) < 3 else (entry + ({},))[:4]
        want = reference.run(words, stdin)
        if want.returncode == 0:
            keep(reference, want, wanted)
        for runner in others:
            with t.check("%s: %s" % (runner.title, " ".join(words))):
                got = runner.run(words, stdin)
                if got.returncode == 0:
                    keep(runner, got, wanted)
                wrong = judge(want, got, reference, runner, rule)
                if wrong and show:
                    print("--- wanted\n%s%s--- got\n%s%s" % (want.stdout, want.stderr, got.stdout, got.stderr))
                assert not wrong, "; ".join(wrong)


def everything(t, program, show=False):
    """False, and the reason on standard output, when OpenBao cannot be had."""
    try:
        bao = openbao()
    except (Missing, subprocess.TimeoutExpired, OSError) as why:
        print("OpenBao's command line is not compared: %s" % why)
        return False
    servers = []
    with tempfile.TemporaryDirectory(prefix="coffer-bao-") as folder:
        try:
            for name, binary in (("theirs", bao), ("ours", program)):
                servers.append(Server(binary, folder, name))
            theirs, ours = servers
            runners = []
            for name, binary, server, title in (
                    ("q1x", bao, theirs, ""), ("q2x", program, theirs, "coffer asks OpenBao"),
                    ("q3x", bao, ours, "bao asks coffer"), ("q4x", program, ours, "coffer asks coffer")):
                runners.append(Runner(binary, server, folder, name))
                runners[-1].title = title
            with t.scenario("command lines"):
                compare(t, runners, show)
        finally:
            for server in servers:
                server.stop()
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=os.environ.get("COFFER_BINARY",
                                                           os.path.join(TOP, "build", "coffer")))
    parser.add_argument("--show", action="store_true", help="both outputs of what differs")
    opts = parser.parse_args()
    t = Checks()
    there = everything(t, os.path.abspath(opts.binary), opts.show)
    if not there:
        print("0 passed, 0 failed")
        sys.exit(0)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
