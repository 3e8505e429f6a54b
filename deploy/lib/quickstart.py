"""What deploy/quickstart does after the build: nine nodes, replication, real data, a full comparison."""
import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time

import nodes
from nodes import DIR, Cluster, Failed, Refused, Screen, wait_for

MOUNT = "packages"
ADMIN = 'path "*" {\n  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]\n}\n'
screen = Screen()


def step(text):
    screen.line("[%5.1f s] %s" % (time.monotonic() - BEGAN, text))


def command(node, *args, **kwargs):
    """A documented operator command, shown as it could be typed."""
    screen.line("          %s$ coffer %s" % (node.cluster.name.upper(), " ".join(nodes.shown(a) for a in args)))
    return node.coffer(*args, **kwargs)


def start_all(clusters):
    nodes.make_certificates()
    for cluster in clusters:
        nodes.make_seal_key(cluster)
    step("Starting nine nodes on ports %d to %d" % (nodes.BASE_PORT, clusters[2].nodes[2].cluster_port))
    for cluster in clusters:
        cluster.start()
    for cluster in clusters:
        if not cluster.is_initialised():
            cluster.init()
            step("Cluster %s is initialised: %d recovery shares, %d needed; they and the root token are in %s"
                 % (cluster.name.upper(), nodes.SHARES, nodes.THRESHOLD, shown_path(cluster.init_path)))
        cluster.ready()
    step("All nine nodes are unsealed")


def operator(a):
    """A user on A, replicated to every cluster: the token of B's own init is void once it is secondary."""
    path = os.path.join(DIR, "operator-password")
    if not os.path.exists(path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(secrets.token_urlsafe(18))
    with open(path) as f:
        password = f.read()
    node = a.active()
    command(node, "policy", "write", "admin", "-", stdin=ADMIN)
    command(node, "auth", "enable", "userpass")
    node.coffer("write", "auth/userpass/users/operator", "password=" + password, "token_policies=admin")
    return password


def replicate(a, b, c, password):
    for kind, secondary, name in (("performance", b, "datacenter-b"), ("dr", c, "datacenter-c")):
        if secondary.replication(kind)["mode"] == "secondary":
            continue
        primary = a.active()
        if a.replication(kind)["mode"] != "primary":
            command(primary, "write", "-f", "sys/replication/%s/primary/enable" % kind)
            wait_for("A to be %s primary" % kind, lambda: a.replication(kind)["mode"] == "primary")
        token = command(primary, "write", "-field=wrapping_token",
                        "sys/replication/%s/primary/secondary-token" % kind, "id=" + name).strip()
        began = time.monotonic()
        command(secondary.active(), "write", "sys/replication/%s/secondary/enable" % kind, "token=" + token,
                "ca_file=" + nodes.ca_file())
        wait_for("%s to stream" % secondary.name.upper(),
                 lambda: secondary.replication(kind)["state"] == "stream-wals", 90)
        step("%s is %s of A, %.1f s after the command"
             % (secondary.name.upper(), "performance secondary" if kind == "performance" else "DR secondary",
                time.monotonic() - began))
    if not is_valid(b):
        def log_in():
            return b.active().call("POST", "auth/userpass/login/operator", {"password": password}, token="")
        b.replace_token(wait_for("the operator's login on B", log_in)["auth"]["client_token"])
        step("The operator that was made on A has logged in on B")


def is_valid(cluster):
    return cluster.active().ask("GET", "auth/token/lookup-self", token=cluster.token)[0] == 200


def package_index():
    """All of `apt-cache dumpavail`, in a file of the quickstart's."""
    path = os.path.join(DIR, "packages.txt")
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        for attempt in (1, 2):
            with open(path, "wb") as f:
                subprocess.run(["apt-cache", "dumpavail"], stdout=f, check=True)
            if os.path.getsize(path) > 0:
                break
            if attempt == 1:
                step("apt knows no packages yet: apt-get update")
                root = [] if os.geteuid() == 0 else ["sudo"]
                subprocess.run(root + ["apt-get", "-q", "update"], stdout=subprocess.DEVNULL, check=True)
        else:
            raise Failed("apt-cache dumpavail prints nothing, also after apt-get update")
    return path


def names_in(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return {line[9:].strip() for line in f if line.startswith("Package: ")}


def import_packages(a):
    node = a.active()
    path = package_index()
    done_path = os.path.join(DIR, "imported")
    if os.path.exists(done_path):
        return path
    names = names_in(path)
    if MOUNT + "/" not in node.call("GET", "sys/mounts")["data"]:
        command(node, "secrets", "enable", "-path=" + MOUNT, "-version=2", "kv")
    began = time.monotonic()
    command(node, "import", "-mount=" + MOUNT, *["-address=" + n.addr for n in a.nodes], path, stream=True)
    took = time.monotonic() - began
    step("Imported %d packages into A in %.1f s (%.0f a second)" % (len(names), took, len(names) / took))
    open(done_path, "w").close()
    return path


def in_step(a, secondary, kind, seconds=60):
    """Equal hash roots at equal positions: needs A to be idle for a moment."""
    def same():
        one, two = a.replication(kind), secondary.replication(kind)
        return two["state"] == "stream-wals" and one["merkle_root"] and one["merkle_root"] == two["merkle_root"]
    wait_for("%s to have A's root" % secondary.name.upper(), same, seconds, 0.2)
    return a.replication(kind)["merkle_root"]


def verify(a, b, c, path):
    root = in_step(a, b, "performance")
    step("B has the same hash root as A over all replicated data: %s" % root[:16])
    nodes.compare([a.active(), b.active()], MOUNT, path)
    step("Every key and value of the package index compared with A and with B: equal")
    root = in_step(a, c, "dr")
    step("C answers nobody before its promotion; its root over all data equals A's: %s" % root[:16])


def shown_path(path):
    return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path


def tell(clusters):
    a, b, c = clusters
    binary = shown_path(nodes.BINARY)
    screen.line("")
    for cluster in clusters:
        screen.line("%s  %-22s %s   tokens and shares: %s" % (
            cluster.name.upper(), nodes.NAMES[cluster.name], "  ".join(n.addr for n in cluster.nodes),
            shown_path(cluster.init_path)))
    screen.line("""
Try next:
  export VAULT_CACERT=%s
  export VAULT_ADDR=%s VAULT_TOKEN=%s        # A
  %s kv get -mount=%s bash
  export VAULT_ADDR=%s VAULT_TOKEN=%s        # B: a write here is made on A and read back here at once
  %s kv put -mount=%s bash hello=world && %s kv get -mount=%s bash
  %s read sys/replication/status
  ./deploy/quickstart --status    who runs, who leads, who lags
  ./deploy/drill                  kill A, promote C, see what was lost
  ./deploy/quickstart --stop      stop; start again with ./deploy/quickstart""" % (
        shown_path(nodes.ca_file()), a.nodes[0].addr, a.token, binary, MOUNT, b.nodes[0].addr, b.token, binary, MOUNT,
        binary, MOUNT, binary))


def up(clusters):
    if not os.access(nodes.BINARY, os.X_OK):
        raise Failed("no binary at %s" % nodes.BINARY)
    a, b, c = clusters
    os.makedirs(DIR, mode=0o700, exist_ok=True)
    again = all(x.is_initialised() for x in clusters) and os.path.exists(os.path.join(DIR, "imported"))
    start_all(clusters)
    if again:
        step("The clusters were set up before; they carry on")
        status(clusters)
        return
    wait_for("all nodes of A to be voters", a.all_voters, 60)
    for cluster in (b, c):
        if all(cluster.replication(k)["mode"] == "disabled" for k in ("performance", "dr")):
            wait_for("all nodes of %s to be voters" % cluster.name.upper(), cluster.all_voters, 60)
    password = operator(a)
    replicate(a, b, c, password)
    verify(a, b, c, import_packages(a))
    tell(clusters)
    screen.line("\nDone in %.0f s." % (time.monotonic() - BEGAN))


def status(clusters):
    """One line a node, then what replication says."""
    screen.line("node  process  role      sealed  applied     address")
    for cluster in clusters:
        for node in cluster.nodes:
            pid, role, sealed, applied = node.pid(), "-", "-", "-"
            if pid:
                try:
                    code, body = node.health()
                    sealed = str(body["sealed"]).lower()
                    leader = node.call("GET", "sys/leader", token="", timeout=3)
                    role = "active" if leader["is_self"] else "standby"
                    applied = leader.get("raft_applied_index", "-")
                except (OSError, http.client.HTTPException, Refused, KeyError) as e:
                    role = "no answer" if not isinstance(e, Refused) else "sealed"
            screen.line("%-5s %-8s %-9s %-7s %-11s %s" % (node.name, pid or "stopped", role, sealed, applied, node.addr))
    for cluster in clusters:
        if not cluster.running():
            continue
        for kind in ("performance", "dr"):
            try:
                seen = cluster.replication(kind, 3)
            except Failed as e:
                screen.line("%s %s: %s" % (cluster.name.upper(), kind, e))
                continue
            if seen["mode"] == "disabled":
                continue
            words = ["%s=%s" % (k, seen[k]) for k in ("state", "connection_state", "last_wal", "last_remote_wal",
                                                      "known_secondaries", "merkle_root") if seen.get(k)]
            screen.line("%s %s %s: %s" % (cluster.name.upper(), kind, seen["mode"], " ".join(words)))


def stop(clusters):
    stopped = 0
    for cluster in reversed(clusters):
        for node in cluster.nodes:
            stopped += node.signal(signal.SIGTERM)
    screen.line("Stopped %d nodes. Their data is in %s." % (stopped, shown_path(DIR)))


def main():
    clusters = [Cluster(name) for name in "abc"]
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if what == "--status":
            if not os.path.isdir(DIR):
                raise Failed("nothing was set up yet: run ./deploy/quickstart")
            status(clusters)
        elif what in ("--stop", "--wipe"):
            stop(clusters)
            if what == "--wipe":
                shutil.rmtree(DIR, ignore_errors=True)
                screen.line("Removed %s." % shown_path(DIR))
        else:
            up(clusters)
    except (Failed, Refused, OSError) as e:
        screen.line("quickstart: %s" % e)
        sys.exit(1)
    except KeyboardInterrupt:
        screen.line("interrupted; the nodes that run go on (./deploy/quickstart --stop)")
        sys.exit(130)


BEGAN = time.monotonic()

if __name__ == "__main__":
    main()
