#!/usr/bin/env python3
"""The Python client hvac, unchanged from PyPI, against real nodes, and the command lines of coffer and
OpenBao against both servers (bao.py).

    run.py [--binary build/coffer] [--venv build/clients-venv] [--only single|three|secondary|command_lines]

Installs hvac into a virtual environment of its own the first time (that needs the network once),
runs itself there, and ends with "N passed, N failed".
"""
import os
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


def single(t, world):
    """A node with key shares, set up by hvac itself, on a TLS listener."""
    import hvac
    import suite
    cluster = world.cluster("one", nodes=1, seal="shamir", tls=world.certificates("one"),
                            listener_extra=["disable_unauthed_generate_root_endpoints = false"])
    node = cluster.nodes[0].start()
    client = hvac.Client(url=node.addr, verify=cluster.tls.ca)
    suite.set_up(t, client, cluster)
    suite.everything(t, suite.Target(client, "s"))
    suite.root_generation(t, client, cluster)


def three(t, world):
    """Each node of a cluster of three: the leader, then both standbys."""
    import hvac
    import suite
    cluster = world.cluster("tri", nodes=3, tls=world.certificates("tri")).up()
    active = cluster.active()
    for node in [active] + cluster.standbys():
        client = hvac.Client(url=node.addr, verify=cluster.tls.ca, token=cluster.root)
        with t.scenario("leader" if node is active else "standby " + node.name):
            suite.everything(t, suite.Target(client, "n" + node.name))
    others = [hvac.Client(url=n.addr, verify=cluster.tls.ca, token=cluster.root) for n in cluster.nodes]
    suite.across(t, others)
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
            suite.everything(t, suite.Target(client, "p" + node.name, is_secondary=True))
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
    opts = arguments(__doc__.split("\n")[0])
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in SCENARIOS:
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


SCENARIOS = (single, three, secondary, command_lines)

if __name__ == "__main__":
    main()
