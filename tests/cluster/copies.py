#!/usr/bin/env python3
"""The first copy of a secondary, disturbed: it goes on where it was when its receiver is killed, and when the node that sends
is; what moves again is counted in bytes. The old data serves until the copy is there."""
import http.client
import json
import os
import re
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, disk_tool, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

MIB = 1 << 20
SIZE = 64 * MIB  # of the secrets
PART = 40 * MIB  # is sent when the sender dies
COUNT = SIZE // 65536
FLIGHT = 28 * MIB  # at most: pages that no majority has yet, pages on their way


def fill(node, count):
    """Secrets of 64 KiB that do not compress."""
    def some(first):
        conn = http.client.HTTPConnection(node.host, node.port, timeout=60)
        for i in range(first, count, 4):
            body = json.dumps({"value": os.urandom(32768).hex()})
            conn.request("PUT", "/v1/plain/fill-%d" % i, body, {"X-Vault-Token": node.cluster.root})
            answer = conn.getresponse()
            answer.read()
            assert answer.status < 300, answer.status
    threads = [threading.Thread(target=some, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def up(world, name):
    """Of its nodes, one dies at the step that arm() names (tests/lib/step_kill.c)."""
    made = world.cluster(name)
    for node in made.nodes:
        node.binary = disk_tool("coffer-steps")
        node.env["COFFER_STEP_FILE"] = os.path.join(made.dir, "step")
    return made.up(kv=False)


def arm(cluster, step):
    path = os.path.join(cluster.dir, "step")
    with open(path + ".new", "w") as f:
        f.write(step)
    os.rename(path + ".new", path)


def dead(cluster):
    """Who came to the step."""
    def look():
        return next((n for n in cluster.nodes if n.proc is not None and n.proc.poll() is not None), None)
    node = wait_for("a node to come to its step", look, 120, 0.01)
    node.kill()
    return node


class Progress(threading.Thread):
    """What the nodes of a secondary say of a copy while it is under way."""
    def __init__(self, b):
        super().__init__(daemon=True)
        self.b, self.over, self.seen = b, False, []

    def run(self):
        while not self.over:
            for node in self.b.running():
                try:
                    seen = status(node, "dr").get("merkle_sync_progress")
                except (OSError, http.client.HTTPException, Refused, KeyError, AttributeError):
                    continue
                if seen and seen["bytes"] > 0:
                    self.seen.append(seen)

    def end(self):
        self.over = True
        self.join()
        return self.seen


def begin(a, b):
    token = replicas.secondary_token(a, "dr", b.name)
    b.active().write("sys/replication/dr/secondary/enable", {"token": token}, timeout=60)


def copied(b):
    """Bytes that each node has taken since it began to receive."""
    return {node: status(node, "dr").get("copied_bytes", 0) for node in b.running()}


def arrived(a, b):
    streaming(b, "dr", 120)
    in_step(a, b, "dr", 120)
    switches = sum(node.log().count("the copy is complete") for node in b.nodes)
    equal(switches, 1, "switches")


def receiver_dies(t, world, a):
    b = up(world, "b")
    with t.check("kill -9 of the receiver: another node goes on where it was"):
        arm(b, "page:2")  # the first may hold the few records of class cluster
        begin(a, b)
        victim = dead(b)
        heir = b.active(other_than=victim)
        victim.start()
        b.unseal(victim)
        arrived(a, b)
        said = [int(n) for n in re.findall(r"a copy is under way, (\d+) bytes are here", heir.log())]
        moved = copied(b)[heir]
        true(said and said[0] > MIB, "begun again: %r, %d bytes moved" % (said, moved))
        true(moved <= SIZE * 1.05 - said[0], "%d bytes moved again, %r were there" % (moved, said))
        t.note("%.1f MiB were there, %.1f MiB moved after it" % (said[0] / MIB, moved / MIB))
    world.end(b)


def sender_dies(t, world, a):
    b = up(world, "c")
    with t.check("kill -9 of the node that sends: of another node's snapshot only what differs is taken"):
        arm(a, "page-sent:%d" % (PART // (4 * MIB)))
        begin(a, b)
        victim = dead(a)
        a.active(other_than=victim)
        arrived(a, b)
        moved = max(copied(b).values())
        true(PART <= moved <= SIZE * 1.05 + FLIGHT, "%d bytes moved" % moved)
        t.note("%.1f MiB moved of %d" % (moved / MIB, SIZE / MIB))
        victim.start()
        a.unseal(victim)
    world.end(b)


def late_node(t, world, a):
    d = up(world, "d")
    with t.check("a node that was away for the copy fetches it from the others when it comes to the switch"):
        away = d.standbys()[0]
        away.kill()
        progress = Progress(d)
        progress.start()
        begin(a, d)
        wait_for("the copy", lambda: status(d.active(), "dr").get("state") == "stream-wals", 120)
        seen = progress.end()
        true(not os.path.isdir(os.path.join(away.data, "db", "runs")), "it has files already")
        away.start()
        d.unseal(away)
        d.caught_up(away)
        arrived(a, d)
        true("are lacking here" in away.log(), "it did not ask")
    with t.check("the status of a copy under way tells how much it will be"):
        true(seen, "nobody saw the copy")
        for one in seen:
            true(COUNT * 0.9 < one["sync_total_keys"] < COUNT * 2 and one["sync_progress"] <= COUNT * 2, str(one))
            true(SIZE * 0.5 < one["total_bytes"] < SIZE * 2, str(one))
        t.note("%d looks while it was copied" % len(seen))
    world.end(d)


def lost_files(t, world, a):
    e = up(world, "e")
    with t.check("where no node has the files of a copy any more, the late node takes all from its leader"):
        away = e.standbys()[0]
        away.kill()
        begin(a, e)
        wait_for("the copy", lambda: status(e.active(), "dr").get("state") == "stream-wals", 120)
        for node in e.running():
            shutil.rmtree(os.path.join(node.data, "db", "runs"))
        away.start(wait=False)  # it may end before it answers anybody

        def is_back():
            if away.proc.poll() is not None:  # as its service manager does
                away.kill()
                away.start(wait=False)
            return away.applied() >= want
        want = e.active().applied()
        wait_for("it to have all", is_back, 60, 0.5)
        true("takes all of the state from its leader" in away.log(), away.log()[-800:])
        arrived(a, e)
    world.end(e)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("copies"):
            a = up(world, "a")
            a.active().write("sys/mounts/plain", {"type": "kv"})
            fill(a.active(), COUNT)
            replicas.enable_primary(a, "dr")
            for _ in range(5 if opts.long else 1):
                receiver_dies(t, world, a)
                sender_dies(t, world, a)
                late_node(t, world, a)
                lost_files(t, world, a)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
