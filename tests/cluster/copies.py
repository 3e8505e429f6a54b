#!/usr/bin/env python3
"""The first copy of a secondary, disturbed: it goes on where it was when its receiver is killed, and when the node that sends
is; what moves again is counted in bytes. The old data serves until the copy is there."""
import http.client
import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import in_step, status, streaming  # noqa: E402

MIB = 1 << 20
SIZE = 64 * MIB  # of the secrets
PART = 40 * MIB  # is there when the copy is disturbed
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


def receiver(b, least):
    """The node that has taken so much of the copy, and not all; which one it is may change under load."""
    for node in b.running():
        try:
            seen = status(node, "dr")
        except (OSError, http.client.HTTPException, Refused):
            continue
        if seen.get("merkle_sync_progress", {}).get("bytes", 0) >= least:
            return node
        true(seen["state"] != "stream-wals", "the copy was over before it could be disturbed")
    return None


def begin(a, b):
    token = replicas.secondary_token(a, "dr", b.name)
    b.active().write("sys/replication/dr/secondary/enable", {"token": token}, timeout=60)


def copied(b):
    """Bytes that each node has taken since it began to receive."""
    return {node: status(node, "dr").get("copied_bytes", 0) for node in b.running()}


def sender_of(a, name):
    """The node that said that this secondary needs a copy, the last to do so."""
    best, when = None, ""
    for node in a.running():
        for line in node.log().splitlines():
            if '"%s"' % name in line and "needs a snapshot" in line and line[:24] >= when:
                best, when = node, line[:24]
    return best


def arrived(a, b):
    streaming(b, "dr", 120)
    in_step(a, b, "dr", 120)
    switches = sum(node.log().count("the copy is complete") for node in b.nodes)
    equal(switches, 1, "switches")


def receiver_dies(t, world, a):
    b = world.cluster("b").up(kv=False)
    with t.check("kill -9 of the receiver: another node goes on where it was"):
        begin(a, b)
        victim = wait_for("a part of it", lambda: receiver(b, PART), 120, 0.01)
        victim.kill()
        heir = b.active(other_than=victim)
        victim.start()
        b.unseal(victim)
        arrived(a, b)
        said = [int(n) for n in re.findall(r"a copy is under way, (\d+) bytes are here", heir.log())]
        moved = copied(b)[heir]
        # Killed too late, the switch was in the log already, and nothing moves again.
        true(moved == 0 or (said and said[-1] > 0), "begun again: %r, %d bytes moved" % (said, moved))
        true(moved <= SIZE * 1.05 - PART + FLIGHT, "%d bytes moved again, %r were there" % (moved, said))
        t.note("%.1f MiB were there, %.1f MiB moved after it" % (said[-1] / MIB if said else SIZE / MIB, moved / MIB))
    world.end(b)


def sender_dies(t, world, a):
    b = world.cluster("c").up(kv=False)
    with t.check("kill -9 of the node that sends: of another node's snapshot only what differs is taken"):
        begin(a, b)
        node = wait_for("a part of it", lambda: receiver(b, PART), 120, 0.01)
        victim = sender_of(a, "c")
        victim.kill()
        a.active(other_than=victim)
        arrived(a, b)
        moved = copied(b)[node]
        true(moved <= SIZE * 1.05 + FLIGHT, "%d bytes moved" % moved)
        t.note("%.1f MiB moved of %d" % (moved / MIB, SIZE / MIB))
        victim.start()
        a.unseal(victim)
    world.end(b)


def late_node(t, world, a):
    d = world.cluster("d").up(kv=False)
    with t.check("a node that was away for the copy fetches it from the others when it comes to the switch"):
        away = d.standbys()[0]
        away.kill()
        begin(a, d)
        wait_for("the copy", lambda: status(d.active(), "dr").get("state") == "stream-wals", 120)
        true(not os.path.isdir(os.path.join(away.data, "db", "runs")), "it has files already")
        away.start()
        d.unseal(away)
        d.caught_up(away)
        arrived(a, d)
        true("are lacking here" in away.log(), "it did not ask")
    world.end(d)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("copies"):
            a = world.cluster("a").up()
            a.active().write("sys/mounts/plain", {"type": "kv"})
            fill(a.active(), SIZE // 65536)
            replicas.enable_primary(a, "dr")
            for _ in range(5 if opts.long else 1):
                receiver_dies(t, world, a)
                sender_dies(t, world, a)
                late_node(t, world, a)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
