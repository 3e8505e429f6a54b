#!/usr/bin/env python3
"""The soak: A (primary), B (performance secondary) and C (DR secondary), three nodes each, written to and read
everywhere, while nodes die, pause and hand over and the clusters lose sight of each other.

At the end all keys are equal on A, B and (promoted) C, nothing acknowledged is lost, nothing ran twice, what A's clients
and B's writers saw has an order, B never went back, and no secondary took a second copy or had anything to repair.

Three minutes, with --long thirty (COFFER_SOAK_S). Each cluster lives in a network namespace of its own, so the links
between them can be cut; without root there are only kills and pauses, and it says so. The faults are drawn from a seed
(COFFER_SOAK_SEED repeats them: the same faults at the same times, though not the same interleaving).
"""
import http.client
import math
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import history  # noqa: E402
import netns  # noqa: E402
import replicas  # noqa: E402
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, die_with_parent, wait_for  # noqa: E402
from counters import Chain  # noqa: E402
from linear import CAS, CAS_REGISTER, READ, REGISTER  # noqa: E402

RUN_S, RUN_LONG_S = 180, 1800
CUT_S, CUT_LONG_S = 20, 300    # the longest time without a link
DOWN_S = 8                     # the longest time that a node is dead or paused
CHAINS = 3                     # of each sort, through A and through B
LATE = "Timeout hit while waiting for local replicated cluster"
COPY, REPAIRED = "needs a snapshot", "secondary: repaired"


class Secondary(history.Load):
    """Clients of B. Their writes go into the history of A, which carries them out; their reads are of B's own state,
    which may be behind A's: they are kept apart, for what has to hold of them."""

    def __init__(self, cluster, of):
        super().__init__(cluster, registers=3, cas=2)
        self.histories, self.began, self.lock = of.histories, of.began, of.lock
        self.reads = {}      # key -> [(called, answered, version, value)]
        self.late = set()    # when writes were called whose answers warn that B does not have them yet

    def client(self, call, who):
        super().client(call, "b-" + who)

    def ask(self, *args, **kwargs):
        called, answered, status, body = super().ask(*args, **kwargs)
        if isinstance(body, dict) and LATE in str(body.get("warnings")):
            self.late.add(called)
        return called, answered, status, body

    def read_register(self, node, key, who, timeout=history.TIMEOUT_S):
        return self.ask(node, "GET", "reg/" + key, timeout=timeout)[2]

    def read_cas(self, node, key, who, timeout=history.TIMEOUT_S):
        called, answered, status, body = self.ask(node, "GET", "cas/data/" + key, timeout=timeout)
        if status not in (200, 404):
            return None
        data = body["data"] if status == 200 else None
        version = data["metadata"]["version"] if data else 0
        with self.lock:
            self.reads.setdefault(key, []).append((called, answered, version, data and data["data"]["v"]))
        return version

    def went_back(self):
        """A read that shows less than was shown, or acknowledged without that warning on B, before it began."""
        for key, reads in self.reads.items():
            known = [(answered, version, "read") for _, answered, version, _ in reads]
            known += [(o.answer, o.version + 1, "acknowledged") for o in self.histories[CAS_REGISTER].get(key, [])
                      if o.kind == CAS and o.answer is not None and o.who.startswith("b-") and o.call not in self.late]
            known.sort()
            newest, at = (0, 0, ""), 0
            for called, _, version, _ in sorted(reads, key=lambda r: r[0]):
                while at < len(known) and known[at][0] < called:
                    newest, at = max(newest, known[at], key=lambda k: k[1]), at + 1
                if version < newest[1]:
                    return "%s: version %d was read %.3f s after %d had been %s, %.1f s after the start" % (
                        key, version, called - newest[0], newest[1], newest[2], called - self.began)
        return None

    def strange(self):
        """A version that is another value on A."""
        for key, reads in self.reads.items():
            values = {o.version: o.value for o in self.histories[CAS_REGISTER].get(key, []) if o.kind == READ}
            for _, _, version, value in reads:
                if values.get(version, value) != value:
                    return "%s, version %d: %r on B, %r on A" % (key, version, value, values[version])
        return None


class Asker(threading.Thread):
    """Reads the same key again and again, and nothing else: B has to show it always, C never."""

    def __init__(self, cluster, token):
        super().__init__(daemon=True)
        self.cluster, self.token = cluster, token
        self.done = threading.Event()
        self.shown_at, self.refused, self.wrong = [], 0, []

    def run(self):
        while not self.done.wait(0.2):
            try:
                status, body, _ = random.choice(self.cluster.nodes).ask("GET", "secret/data/ready", token=self.token,
                                                                        timeout=2)
            except (OSError, http.client.HTTPException, ValueError):  # dead or paused
                continue
            if status == 200:
                self.shown_at.append(time.monotonic())
            elif status == 404:
                self.wrong.append(body)
            else:
                self.refused += 1


class Faults:
    """Two hands: one cuts and heals the links between the clusters, one deals with processes. Each draws from a
    generator of its own, so that what it does depends on the seed alone."""

    def __init__(self, t, net, clusters, seed, seconds, longest_cut):
        self.t, self.net, self.clusters = t, net, clusters
        self.seconds, self.longest_cut = seconds, longest_cut
        self.counts, self.lines, self.errors = {}, [], []
        self.cut_off = []  # when B did not have A
        self.hit_b = []    # when a node of B was dead or paused
        self.began = time.monotonic()
        self.seed = seed

    def run(self):
        """Processes by this thread: they die with the one that started them."""
        links = threading.Thread(target=self.hand, args=(self.link, random.Random("%d links" % self.seed)), daemon=True)
        if self.net is not None:
            links.start()
        self.hand(self.process, random.Random("%d processes" % self.seed))
        if self.net is not None:
            links.join()
            true(self.net.dropped() > 0, "no packet was dropped: the links were never cut")
            self.net.heal()

    def hand(self, one, rng):
        try:
            while not self.errors and self.left() > 0:
                one(rng)
        except Exception as e:  # the run ends, and the check says why
            self.errors.append(e)

    def left(self):
        return self.began + self.seconds - time.monotonic()

    def wait(self, seconds):
        end = time.monotonic() + min(seconds, max(0, self.left()))
        while time.monotonic() < end and not self.errors:
            time.sleep(min(0.2, max(0, end - time.monotonic())))

    def note(self, text):
        self.lines.append("%6.1f s  %s" % (time.monotonic() - self.began, text))

    def count(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1

    # ------------------------------------------------------------ links

    def link(self, rng):
        kinds = {"A and B lose each other": (("a", "b"), ("b", "a")),
                 "A and C lose each other": (("a", "c"), ("c", "a")),
                 "A is alone": (("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")),
                 "B does not hear A": (("a", "b"),),
                 "A does not hear B": (("b", "a"),),
                 "a third of the packets between clusters is lost": ()}
        name = rng.choice(list(kinds))
        seconds = math.exp(rng.uniform(0, math.log(self.longest_cut)))  # short ones are more
        pause = rng.uniform(1, 6)
        self.note("%s for %.1f s" % (name, seconds))
        self.count(name)
        began = time.monotonic()
        for source, target in kinds[name]:
            self.net.cut(source, target)
        if not kinds[name]:
            for one, two in (("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")):
                self.net.lose(one, two, 33)
        self.wait(seconds)
        if ("a", "b") in kinds[name] and ("b", "a") in kinds[name]:
            self.cut_off.append((began, time.monotonic()))
        self.net.heal()
        self.wait(pause)

    # ------------------------------------------------------------ processes

    def process(self, rng):
        kind = rng.choice(("kill -9 of the leader of %s", "kill -9 of the leader of %s", "kill -9 of a node of %s",
                           "kill -9 of a node of %s", "the leader of %s is paused", "a node of %s is paused",
                           "the leader of %s steps down", "all nodes of %s die"))
        cluster = rng.choice(self.clusters)
        number, seconds, pause = rng.randrange(3), rng.uniform(0.2, DOWN_S), rng.uniform(1, 5)
        self.count(kind % "a cluster")
        began = time.monotonic()
        hit = cluster.nodes if "all" in kind else [cluster.active(60)] if "leader" in kind else [cluster.nodes[number]]
        self.note("%s (%s) for %.1f s" % (kind % cluster.name.upper(), " ".join(n.name for n in hit), seconds))
        if "steps down" in kind and cluster.name != "c":
            try:
                hit[0].write("sys/step-down")
            except (OSError, http.client.HTTPException, Refused) as e:  # it may have lost the lead meanwhile
                self.note("no step-down: %s" % e)
        elif "paused" in kind:
            hit[0].pause()
            self.wait(seconds)
            hit[0].resume()
        else:
            for node in hit:
                if "steps down" in kind:  # a DR secondary takes no such call: by SIGTERM
                    equal(node.stop(), 0, "exit code of " + node.name)
                node.kill()
            self.wait(seconds)
            for node in hit:
                node.start(wait=False)
        for node in cluster.nodes:
            true(node.is_running(), "%s has ended: %s" % (node.name, node.log()[-800:]))
            wait_for("%s to be back" % node.name, lambda: not node.is_sealed(), 60)
        cluster.active(60)
        if cluster.name == "b":
            self.hit_b.append((began, time.monotonic()))
        self.wait(pause)


class Soak:
    def __init__(self, t, world, net, opts, seed):
        self.t, self.world, self.net = t, world, net
        self.a, self.b, self.c = self.clusters = [world.cluster(name, extra=COMPARE) for name in "abc"]
        for cluster in self.clusters:
            for node in cluster.nodes:
                if net is not None:
                    node.live_at(net.address(cluster.name))
                    node.before_exec = lambda name=cluster.name: (net.enter(name), die_with_parent())
        self.a.up()
        self.b.up(kv=False)
        self.c.up(kv=False)
        history.mount(self.a)
        replicas.add_operator(self.a)
        for kind, cluster in (("performance", self.b), ("dr", self.c)):
            replicas.enable_primary(self.a, kind)
            replicas.attach(self.a, cluster, kind, cluster.name)
        self.b.root = replicas.login(self.b)
        self.c.root = self.a.root
        self.copies = self.said(self.a, COPY)
        seconds = float(os.environ.get("COFFER_SOAK_S", RUN_LONG_S if opts.long else RUN_S))
        self.faults = Faults(t, net, self.clusters, seed, seconds, CUT_LONG_S if opts.long else CUT_S)
        self.on_a = history.Load(self.a, registers=3, cas=2)
        self.on_b = Secondary(self.b, self.on_a)
        self.chains = [Chain(cluster, "%s-%s-%d" % (cluster.name, "cas" if cas else "plain", i), cas, self.a)
                       for cluster in (self.a, self.b) for cas in (True, False) for i in range(CHAINS)]
        self.ask_b, self.ask_c = Asker(self.b, self.b.root), Asker(self.c, self.a.root)
        self.loads = [self.on_a, self.on_b, self.ask_b, self.ask_c] + self.chains

    @staticmethod
    def said(cluster, text):
        return sum(node.log().count(text) for node in cluster.nodes)

    def run(self):
        for load in self.loads:
            load.start()
        with self.t.check("under faults every node comes back and every cluster finds a leader"):
            self.faults.run()
            if self.faults.errors:
                raise self.faults.errors[0]
        with self.t.check("after them writes go on, on A and through B"):
            for load in (self.on_a, self.on_b):
                moment = time.monotonic()
                wait_for("20 acknowledged writes", lambda: load.acknowledged_after(moment) >= 20, 60)
        for load in self.chains + [self.ask_b, self.ask_c]:
            load.done.set()
        self.on_a.stop()
        self.on_b.stop()
        for chain in self.chains:
            chain.stop()

    def judge(self):
        t, a, b, c = self.t, self.a, self.b, self.c
        with t.check("B and C follow, and their roots are A's"):
            replicas.streaming(b, "performance", 120)
            replicas.streaming(c, "dr", 120)
            replicas.in_step(a, b, "performance", 120)
            replicas.in_step(a, c, "dr", 120)
        with t.check("no secondary took a second copy or had anything to repair"):
            equal(self.said(a, COPY) - self.copies, 0, "copies")
            equal([self.said(x, REPAIRED) for x in (b, c)], [0, 0], "repairs")
        with t.check("nothing acknowledged is lost, nothing ran twice: %d keys written version by version" % len(self.chains)):
            for chain in self.chains:
                for node in a.nodes + b.nodes:
                    equal(chain.verdict(node), None, "on " + node.name)
            true(all(chain.acknowledged > 20 for chain in self.chains), "hardly anything was written: %r"
                 % [(chain.key, chain.answers) for chain in self.chains])
        with t.check("every node of A shows every key"):
            equal(self.on_a.read_all()[:5], [], "not shown")
            equal(self.on_a.surprises[:5] + self.on_b.surprises[:5], [], "answers that make no sense")
        for model, name in ((REGISTER, "registers"), (CAS_REGISTER, "check-and-set")):
            with t.check("what was seen of %s by A's clients and B's writers has an order" % name):
                true(self.on_a.operations(model) > 100, "hardly anything happened")
                for key, lines in self.on_a.wrong(model).items():
                    raise AssertionError("%s\n%s" % (key, "\n".join(lines)))
        with t.check("B shows a prefix of A: no node of it ever went back behind what B has shown or acknowledged"):
            true(sum(map(len, self.on_b.reads.values())) > 100, "hardly anything was read")
            equal(self.on_b.went_back(), None)
            equal(self.on_b.strange(), None)
        with t.check("B's clients read while it had no primary; C answered nobody"):
            alone = [(x, y) for x, y in self.faults.cut_off
                     if y - x > 4 and not any(x < end and begin < y for begin, end in self.faults.hit_b)]
            equal([(x, y) for x, y in alone if not any(x + 1 < at < y for at in self.ask_b.shown_at)], [])
            equal((self.ask_b.wrong[:3], self.ask_c.wrong[:3], self.ask_c.shown_at), ([], [], []))
            true(self.ask_c.refused > 0, "C was never asked")
        with t.check("all keys are equal: A, every node of B, and every node of C once A is gone and C is promoted"):
            want = wait_for("A to show all", lambda: everything(a.active()), 60)
            true(len(want) > 30, "only %d keys" % len(want))
            for node in b.nodes:
                same(node, want)
            for node in a.nodes:
                node.kill()
            replicas.promote_dr(c, replicas.operation_token(c))
            for node in c.nodes:
                wait_for("%s to serve" % node.name, lambda: node.health() in (200, 429, 473), 60)
                same(node, want)

    def figures(self):
        t, count = self.t, self.faults.counts
        for name in sorted(count):
            t.note("%d times: %s" % (count[name], name))
        for name, load in (("A", self.on_a), ("B", self.on_b)):
            t.note("requests on %s: %d done, %d refused %r, %d with unknown outcome"
                   % (name, load.counts["ok"], load.counts["failed"], dict(sorted(load.refusals.items())),
                      load.counts["unknown"]))
        t.note("keys written version by version: %d acknowledged; %d versions"
               % (sum(c.acknowledged for c in self.chains), sum(c.version for c in self.chains)))
        t.note("writes through B that were not there yet when they were answered, and said so: %d" % len(self.on_b.late))


# Compared all the time, so that what differs is found while it happens and not only at the end.
COMPARE = ["replication {", '  compare_interval = "10s"', "}"]


def everything(node):
    """path -> what is there, of all mounts of the test."""
    found = {}
    for mount in ("secret", "cas"):
        for key in node.call("LIST", mount + "/metadata")["data"]["keys"]:
            body = node.read("%s/data/%s" % (mount, key))["data"]
            found[mount + "/" + key] = (body["data"], body["metadata"]["version"], body["metadata"]["created_time"])
    for key in node.call("LIST", "reg")["data"]["keys"]:
        found["reg/" + key] = node.read("reg/" + key)["data"]
    return found


def same(node, want):
    got = wait_for("%s to show all" % node.name, lambda: everything(node), 60)
    differ = sorted(key for key in set(got) | set(want) if got.get(key) != want.get(key))
    equal([(key, got.get(key), want.get(key)) for key in differ[:3]], [], "%s has %d other keys than A; " %
          (node.name, len(differ)))


def make_net():
    """The network, or None and the reason."""
    try:
        net = netns.Net(["client", "a", "b", "c"])
    except netns.Unavailable as e:
        return None, str(e)
    net.enter("client")
    return net, None


def main():
    opts = arguments(__doc__)
    t = Checks()
    seed = int(os.environ.get("COFFER_SOAK_SEED", random.randrange(1 << 30)))
    net, why = make_net()
    if net is None:
        t.note("the links between the clusters hold, since %s; kills and pauses only, on loopback" % why)
    with World() as world, t.scenario("soak"):
        soak = None

        def show():
            if not world.kept and soak is not None:
                print("     the faults (COFFER_SOAK_SEED=%d):" % seed)
                for line in soak.faults.lines:
                    print("     " + line)
            world.keep()
        t.on_failure = show
        t.note("seed %d" % seed)
        soak = Soak(t, world, net, opts, seed)
        soak.run()
        soak.judge()
        soak.figures()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
