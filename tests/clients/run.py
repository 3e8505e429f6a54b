#!/usr/bin/env python3
"""The Python client hvac, unchanged from PyPI, and the Go API client against real nodes, and the command lines of coffer and
OpenBao against both servers (bao.py).

    run.py [--binary build/coffer] [--venv build/clients-venv] [--only single|three|secondary|command_lines|go]

Installs hvac into a virtual environment of its own the first time (that needs the network once),
runs itself there, and ends with "N passed, N failed".
"""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, HERE)
REQUIREMENTS = os.path.join(HERE, "requirements.txt")


def enter_venv():
    """Makes the virtual environment when it is missing or older than the requirements."""
    venv = os.environ.get("COFFER_CLIENTS_VENV") or os.path.join(TOP, "build", "clients-venv")
    python = os.path.join(venv, "bin", "python3")
    if os.path.realpath(sys.prefix) == os.path.realpath(venv):
        return
    stamp = os.path.join(venv, "requirements.txt")
    with open(REQUIREMENTS) as f:
        want = f.read()
    if not os.path.exists(stamp) or open(stamp).read() != want:
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", venv])
        if made.returncode == 0:
            made = subprocess.run([os.path.join(venv, "bin", "pip"), "install", "--quiet",
                                   "--disable-pip-version-check", "-r", REQUIREMENTS])
        if made.returncode != 0:
            print("could not install %s into %s: is the network there?" % (REQUIREMENTS, venv))
            print("0 passed, 1 failed")
            sys.exit(1)
        with open(stamp, "w") as f:
            f.write(want)
    os.execv(python, [python] + sys.argv)


def everything(t, target):
    import suite
    import suite_auth
    import suite_identity
    import suite_sys
    for part in (suite, suite_identity, suite_auth, suite_sys):
        part.everything(t, target)


def single(t, world):
    """A node with key shares, set up by hvac itself, on a TLS listener."""
    import hvac
    import suite
    import suite_auth
    import suite_sys
    cluster = world.cluster("one", nodes=1, seal="shamir", tls=world.certificates("one"),
                            listener_extra=["disable_unauthed_generate_root_endpoints = false"],
                            storage_extra=['snapshot_path = "%s"' % world.dir],
                            extra=["unsafe_allow_api_audit_creation = true",
                                   'audit_directories = ["%s"]' % world.dir])
    node = cluster.nodes[0].start()
    client = hvac.Client(url=node.addr, verify=cluster.tls.ca)
    suite.set_up(t, client, cluster)
    target = suite.Target(client, "s")
    everything(t, target)
    with t.scenario("certificates"):
        suite_auth.certificates(t, target, world.certificates("people"), cluster.tls.ca)
    with t.scenario("sys"):
        suite_sys.initial(t, client)
        suite_sys.audit(t, client, world.dir)
        suite_sys.snapshots(t, client, world.dir)
    with t.scenario("OpenAPI"):
        openapi(t, client)
    suite.root_generation(t, client, cluster)
    with t.scenario("rekeying"):
        suite_sys.rekeying(t, client, cluster)


def openapi(t, client):
    """The document is one that tools take: looked at with the schema of OpenAPI 3.0 itself."""
    from openapi_spec_validator import OpenAPIV30SpecValidator
    with t.check("sys/internal/specs/openapi is a valid document"):
        document = client.adapter.get("/v1/sys/internal/specs/openapi")
        assert len(document["paths"]) > 150, len(document["paths"])
        errors = [str(e)[:300] for e in OpenAPIV30SpecValidator(document).iter_errors()]
        assert not errors, errors[:5]


def three(t, world):
    """Each node of a cluster of three: the leader, then both standbys."""
    import hvac
    import suite
    import suite_sys
    cluster = world.cluster("tri", nodes=3, tls=world.certificates("tri")).up()
    active = cluster.active()
    for node in [active] + cluster.standbys():
        client = hvac.Client(url=node.addr, verify=cluster.tls.ca, token=cluster.root)
        with t.scenario("leader" if node is active else "standby " + node.name):
            everything(t, suite.Target(client, "n" + node.name))
    others = [hvac.Client(url=n.addr, verify=cluster.tls.ca, token=cluster.root) for n in cluster.nodes]
    suite.across(t, others)
    with t.scenario("membership"):
        suite_sys.membership(t, world, cluster, others[0])
    suite.step_down(t, others, cluster)


def secondary(t, world):
    """A performance secondary: its own tokens, and writes that the primary makes."""
    import hvac
    import suite
    from replicas import performance_pair
    primary, second, token = performance_pair(world)
    for node in [second.active()] + second.standbys():
        client = hvac.Client(url=node.addr, token=token)
        with t.scenario(node.name):
            everything(t, suite.Target(client, "p" + node.name, is_secondary=True))
    suite.both_clusters(t, hvac.Client(url=primary.active().addr, token=primary.root),
                        hvac.Client(url=second.active().addr, token=token))


def command_lines(t, world):
    """Four ways: either program, either server."""
    import bao
    from cluster import binary
    bao.everything(t, os.path.abspath(binary()))


def main():
    enter_venv()
    from checks import Checks
    from cluster import World, arguments
    import calls
    opts = arguments(__doc__.split("\n")[0])
    t = Checks()
    calls.record()
    with World() as world:
        t.on_failure = world.keep
        for scenario in SCENARIOS:
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
        if not opts.only:
            calls.complete(t)
    sys.exit(t.finish())


def go(t, world):
    """The Go API client, where the go command is there; its checks count like the others."""
    if shutil.which("go") is None:
        t.note("skipped: there is no go command on this machine (Debian: golang-go)")
        return
    program = os.path.join(world.dir, "go-client")
    built = subprocess.run(["go", "build", "-o", program, "."], cwd=os.path.join(HERE, "go"),
                           env=dict(os.environ, GOTOOLCHAIN="auto", GOFLAGS="-mod=readonly"),
                           capture_output=True, text=True)
    with t.check("the program builds"):
        if built.returncode != 0:
            raise AssertionError(built.stderr[-2000:])
    if built.returncode != 0:
        return
    cluster = world.cluster("golang", nodes=1, tls=world.certificates("golang")).up()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_"))}
    env.update(COFFER_TEST_ADDR=cluster.nodes[0].addr, COFFER_TEST_TOKEN=cluster.root,
               BAO_CACERT=cluster.tls.ca, VAULT_CACERT=cluster.tls.ca)
    done = subprocess.run([program], env=env, capture_output=True, text=True, timeout=300)
    counted = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    with t.check("the program ran to its end"):
        if counted is None:
            raise AssertionError(done.stdout[-1000:] + done.stderr[-1000:])
    print("\n".join(x for x in done.stdout.splitlines() if x.startswith(("pass", "FAIL"))))
    if counted is not None:
        t.passed += int(counted.group(1))
        t.failed += int(counted.group(2))


SCENARIOS = (single, three, secondary, command_lines, go)

if __name__ == "__main__":
    main()
