#!/usr/bin/env python3
"""Three nodes in network namespaces of their own, clients that write everything down, and one fault after another.

Registers (kv v1) and check-and-set (kv v2) are written and read on every node all the time; at the end a checker
looks for an order in which every answer was right. Each fault is a check of its own: that it took place (packets
dropped, a process stopped), that writes go on where a majority is left, and that every node serves when it is over.
Promises P-1, P-2, P-4, P-11 to P-13.

Needs root for namespaces and nft. Without them it says so and runs what loopback allows: kills, pauses, disks.
--long: five more minutes of faults at random, two at a time (COFFER_NEMESIS_S, COFFER_NEMESIS_SEED).
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import netns  # noqa: E402
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, TOP, World, arguments, binary, die_with_parent, wait_for  # noqa: E402
from history import Load, mount  # noqa: E402
from linear import (CAS, CAS_FAILED, CAS_REGISTER, READ, REGISTER, WRITE,  # noqa: E402
                    linearizable, op)

LEAST_S = 2.0      # a fault lasts so long at least
GO_ON_S = 20.0     # writes go on within this where a majority is left (P-12: 10 s; machines differ)
ENOUGH = 20        # so many of them
SMALL_DISK_MB = 320
NAMES = ["n1", "n2", "n3"]


def checker(t):
    """A checker that finds nothing proves nothing: each of these is wrong, or right, and it says so."""
    write, read = lambda a, b, v: op(a, b, WRITE, v), lambda a, b, v: op(a, b, READ, v)
    right = [
        [write(0, 1, "a"), read(2, 3, "a")],
        [write(0, 9, "a"), read(1, 2, "a"), read(3, 4, "a")],
        [write(0, 9, "a"), read(1, 2, None), read(3, 4, "a")],
        [write(0, None, "a"), read(5, 6, None), read(7, 8, "a")],
        [write(0, 5, "a"), write(1, 6, "b"), read(7, 8, "a"), read(9, 10, "a")],
    ]
    wrong = {
        "a stale read": [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")],
        "a lost write": [write(0, 1, "a"), read(2, 3, None)],
        "back in time": [write(0, 9, "a"), read(1, 2, "a"), read(3, 4, None)],
        "two minds": [write(0, 5, "a"), write(1, 6, "b"), read(7, 8, "a"), read(9, 10, "b")],
        "a refused write that came": [read(0, 1, "x")],
        "unknown, seen, gone": [write(0, None, "a"), read(1, 2, "a"), read(3, 4, None)],
    }
    wrong_cas = {
        "both won": [op(0, 5, CAS, "a", 0), op(1, 6, CAS, "b", 0)],
        "lost for nothing": [op(0, 1, CAS, "a", 0), op(2, 3, CAS_FAILED, "b", 1)],
        "an update undone": [op(0, 1, CAS, "a", 0), op(2, 3, CAS, "b", 1), op(4, 5, READ, "a", 1)],
    }
    with t.check("the checker takes what is right"):
        for history in right:
            equal(linearizable(history, REGISTER), None)
        equal(linearizable([op(0, 5, CAS, "a", 0), op(1, 6, CAS_FAILED, "b", 0), op(7, 8, READ, "a", 1)],
                           CAS_REGISTER), None)
        equal(linearizable([op(0, None, CAS, "a", 0), op(1, 2, CAS_FAILED, "b", 0)], CAS_REGISTER), None)
    with t.check("the checker refuses what is wrong"):
        for name, history in wrong.items():
            true(linearizable(history, REGISTER) is not None, name)
        for name, history in wrong_cas.items():
            true(linearizable(history, CAS_REGISTER) is not None, name)


class Nemesis:
    """The cluster, what can be done to it, and how all of it is undone."""

    def __init__(self, t, world, net, seed):
        self.t, self.net, self.rng = t, net, random.Random(seed)
        built = [os.path.join(os.path.dirname(os.path.abspath(binary())), "tests", "lib"),
                 os.path.join(TOP, "build", "tests", "lib")]
        self.tools = next(d for d in built if os.path.exists(os.path.join(d, "disk_shim.so")))
        self.cluster = world.cluster("n")
        self.filled = None
        for node in self.cluster.nodes:
            if net is not None:
                node.live_at(net.address(node.name))
                node.before_exec = lambda name=node.name: (net.enter(name), die_with_parent())
        small = self.cluster.nodes[2]
        if net is not None:
            disk = os.path.join(small.dir, "small")
            netns.small_disk(disk, SMALL_DISK_MB)
            small.data = os.path.join(disk, "data")
        for node in self.cluster.nodes:
            os.makedirs(node.data, mode=0o700, exist_ok=True)
            node.env = self.disk_env(node)
        self.cluster.up(kv=False)
        mount(self.cluster)
        self.load = Load(self.cluster)

    def disk_env(self, node):
        """The disk that forgets what was not synced (tests/lib/README.md)."""
        env = {"LD_PRELOAD": os.path.join(self.tools, "disk_shim.so"), "COFFER_DISK_DIR": node.data}
        if "ASAN_OPTIONS" in os.environ:
            env["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        return env

    # ------------------------------------------------------------ roles

    def leader(self):
        return self.cluster.active()

    def others(self, node):
        return [n for n in self.cluster.nodes if n is not node]

    # ------------------------------------------------------------ healing

    def control(self, node, text):
        path = os.path.join(node.data + ".disk", "control")
        if not node.env or not os.path.isdir(os.path.dirname(path)):
            return  # on a real disk, or after a power cut
        with open(path + ".new", "w") as f:
            f.write(text + "\n")
        os.rename(path + ".new", path)

    def revive(self):
        """Everything that was done is undone, and everybody runs."""
        if self.net is not None:
            self.net.heal()
        if self.filled is not None:
            os.remove(self.filled)
            self.filled = None
            self.cluster.nodes[2].kill()
            self.cluster.nodes[2].env = self.disk_env(self.cluster.nodes[2])
        for node in self.cluster.nodes:
            self.control(node, "stall=0")
            if node.is_paused:
                node.resume()
            if not node.is_running() and node.proc is not None:
                self.t.note("%s had ended with code %d" % (node.name, node.proc.returncode))
                node.proc = None
            if node.proc is None:
                node.start(wait=False)

    def all_serve(self):
        for node in self.cluster.nodes:
            wait_for("%s to take writes again" % node.name,
                     lambda: node.ask("POST", "reg/serves", {"v": node.name}, timeout=3)[0] == 204, 60)

    def go_on(self, moment):
        wait_for("%d acknowledged writes that were sent after the fault" % ENOUGH,
                 lambda: self.load.acknowledged_after(moment) >= ENOUGH, GO_ON_S)

    def during(self, name, begin, writes=True, evidence=None):
        """One fault from begin to the end of its healing, as one check."""
        with self.t.check(name):
            before = evidence() if evidence else 0
            try:
                begin()
                moment = time.monotonic()
                if writes:
                    self.go_on(moment)
                left = moment + LEAST_S * SLOW - time.monotonic()
                time.sleep(max(0, left))
                if evidence:
                    true(evidence() > before, "the fault did not take place: nothing was counted")
            finally:
                self.revive()
            self.all_serve()

    # ------------------------------------------------------------ faults: functions that begin one

    def kill_leader(self):
        self.leader().kill()

    def kill_standby(self):
        self.others(self.leader())[0].kill()

    def pause_leader(self):
        self.leader().pause()

    def kill_all(self):
        for node in self.cluster.nodes:
            node.proc.send_signal(signal.SIGKILL)
        for node in self.cluster.nodes:
            node.kill()

    def power_cut(self):
        self.kill_all()
        done = subprocess.run([os.path.join(self.tools, "disk_cut"), "--seed", str(self.rng.randrange(1 << 30))]
                              + [n.data for n in self.cluster.nodes if os.path.isdir(n.data + ".disk")], check=True, capture_output=True, text=True)
        self.t.note("power cut: " + done.stdout.strip())

    def isolate_leader(self):
        old = self.leader().name
        self.net.split([old], [n for n in NAMES if n != old])

    def deafen_leader(self):
        """It hears nobody, but everybody hears it."""
        old = self.leader().name
        for other in NAMES:
            if other != old:
                self.net.cut(other, old)

    def mute_leader(self):
        old = self.leader().name
        self.net.cut(old, *[n for n in NAMES if n != old])

    def bridge(self):
        """A leader and a standby that see the third node, but not each other."""
        old = self.leader()
        self.net.split([old.name], [self.others(old)[0].name])

    def lossy(self):
        for a in NAMES:
            for b in NAMES:
                if a != b:
                    self.net.lose(a, b, 20)

    def slow_links(self):
        self.net.delay(self.leader().name, 0.08)

    def fill_disk(self):
        small = self.cluster.nodes[2]
        if self.net is None:
            self.control(small, "space=1")
            return
        # The image of the forgetting disk would lie on the full one: this fault is for the real thing.
        small.kill()
        small.env = {}
        shutil.rmtree(small.data + ".disk", ignore_errors=True)
        small.start()
        self.cluster.caught_up(small)
        self.filled = os.path.join(os.path.dirname(small.data), "filler")
        with open(self.filled, "wb", buffering=0) as f:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        f.write(b"\0" * size)
                except OSError:
                    continue

    def slow_disk(self):
        self.control(self.leader(), "fsync_delay_ms=60")

    def stall_disk(self):
        self.control(self.leader(), "stall=1")

    # ------------------------------------------------------------ checks that are more than a fault

    def minority(self):
        with self.t.check("partition_minority_refuses: a leader cut off acknowledges nothing, shows nothing"):
            old = self.leader()
            others = self.others(old)
            old.ask("POST", "reg/minority", {"v": "before"})
            before = self.net.dropped()
            try:
                self.isolate_leader()
                wait_for("the majority to go on", lambda: others[0].ask(
                    "POST", "reg/minority", {"v": "majority"}, timeout=3)[0] == 204, 20)
                for i in range(3):
                    # What the cut-off node could not answer may still come to pass when it is healed.
                    for method, key, body in (("POST", "reg/cut-off", {"v": "minority %d" % i}),
                                              ("GET", "reg/minority", None)):
                        try:
                            status = old.ask(method, key, body, timeout=4)[0]
                        except OSError:
                            continue  # no answer at all is fine
                        true(status >= 400 and status != 404, "%s was answered with %d" % (method, status))
                true(self.net.dropped() > before, "nothing was dropped")
            finally:
                self.revive()
            self.all_serve()
            for node in self.cluster.nodes:
                equal(node.read("reg/minority")["data"]["v"], "majority", node.name)

    def sigstop(self):
        with self.t.check("cluster_sigstop_leader: a paused leader is replaced; awake, it says nothing old"):
            old = self.leader()
            old.ask("POST", "reg/paused", {"v": "before"})
            old.pause()
            try:
                wait_for("another leader", lambda: self.others(old)[0].ask(
                    "POST", "reg/paused", {"v": "after"}, timeout=3)[0] == 204, GO_ON_S)
                self.go_on(time.monotonic())
            finally:
                self.revive()
            for _ in range(20):
                try:
                    status, body, _ = old.ask("GET", "reg/paused", timeout=4)
                except OSError:
                    continue
                if status == 200:
                    equal(body["data"]["v"], "after")
            self.all_serve()

    def faults(self):
        """Name, what begins it, do writes go on, what must have been counted."""
        found = [
            ("kill -9 of the leader", self.kill_leader, True, None),
            ("kill -9 of a standby", self.kill_standby, True, None),
            ("cluster_kill9_all: kill -9 of all nodes", self.kill_all, False, None),
            ("power cut of all nodes", self.power_cut, False, None),
            ("slow fsync on the leader", self.slow_disk, True, None),
            ("the leader's disk hangs", self.stall_disk, True, None),
            ("a full disk", self.fill_disk, True, None),
        ]
        if self.net is not None:
            dropped, delayed = self.net.dropped, self.net.delayed
            found += [
                ("the leader is cut off, both ways", self.isolate_leader, True, dropped),
                ("the leader hears nobody", self.deafen_leader, True, dropped),
                ("nobody hears the leader", self.mute_leader, True, dropped),
                ("a bridge: two nodes see the third, not each other", self.bridge, True, dropped),
                ("20 % of all packets between nodes are lost", self.lossy, True, dropped),
                ("all that the leader sends comes 80 ms late", self.slow_links, True, delayed),
            ]
        return found

    def storm(self, seconds):
        """Faults at random, sometimes two at once."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            chosen = self.rng.sample(self.faults(), self.rng.choice((1, 1, 2)))

            def begin():
                for _, start, _, _ in chosen:
                    if not any(n.is_running() for n in self.cluster.nodes):
                        break  # all are dead: there is nothing left to hit
                    try:
                        start()
                    except (TimeoutError, OSError, AttributeError) as e:
                        self.t.note("the second fault found nothing to hit: %s" % e)
                    time.sleep(self.rng.random())
            self.during("storm: " + " + ".join(name for name, _, _, _ in chosen), begin,
                        len(chosen) == 1 and chosen[0][2])

    # ------------------------------------------------------------ all of it

    def judge(self, least):
        load = self.load
        with self.t.check("in the end every node shows every key"):
            equal(load.read_all()[:5], [], "not shown")
            equal(load.surprises[:5], [], "answers that make no sense")
        for name, model in (("jepsen_register", REGISTER), ("jepsen_cas", CAS_REGISTER)):
            with self.t.check("%s: %d operations on %d keys have an order"
                              % (name, load.operations(model), len(load.histories[model]))):
                true(load.operations(model) >= least, "hardly anything happened")
                for key, lines in load.wrong(model).items():
                    raise AssertionError("%s of %s\n%s" % (key, name, "\n".join(lines)))
        self.t.note("requests: %(ok)d done, %(failed)d refused, %(unknown)d with unknown outcome" % load.counts)
        self.t.note("refusals by status (-1: no connection): %s" % dict(sorted(load.refusals.items())))

    def run(self, opts, seconds):
        self.load.start()
        for name, begin, writes, evidence in self.faults():
            if opts.only in name:
                self.during(name, begin, writes, evidence)
        if opts.only in "cluster_sigstop_leader":
            self.sigstop()
        if self.net is not None and opts.only in "partition_minority_refuses":
            self.minority()
        if seconds > 0:
            self.storm(seconds)
        self.load.stop()
        self.judge(1 if opts.only else 100)


def make_net():
    """The network, or None and the reason."""
    try:
        netns.private_mounts()
        net = netns.Net(["client"] + NAMES)
    except (netns.Unavailable, OSError, subprocess.CalledProcessError) as e:
        return None, str(e)
    net.enter("client")
    return net, None


def main():
    opts = arguments(__doc__)
    t = Checks()
    checker(t)
    seed = int(os.environ.get("COFFER_NEMESIS_SEED", random.randrange(1 << 30)))
    seconds = float(os.environ.get("COFFER_NEMESIS_S", 300 if opts.long else 0))
    net, why = make_net()
    if net is None:
        t.note("no network faults, since %s; kills, pauses and disks only, on loopback" % why)
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("nemesis"):
            t.note("seed %d" % seed)
            Nemesis(t, world, net, seed).run(opts, seconds)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
