#!/usr/bin/env python3
"""store_corrupt_each_file (P-8): a flipped byte in each kind of file of a node is detected, and repaired
from the others or refused with a text that says what to do. Never a wrong answer."""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, true  # noqa: E402
from cluster import World, arguments, wait_for  # noqa: E402

KEYS = 60


def kinds(node):
    """One path for each kind of file, the largest of the kind. Each table is a kind of its own: one may hold
    the records that a start reads, another what clients read."""
    found = {}
    for folder, _, names in os.walk(node.data):
        for name in names:
            path = os.path.join(folder, name)
            kind = name if name.endswith(".sst") else re.sub(r"[0-9]{4,}", "N", name)
            size = os.stat(path).st_size
            if size > 0 and size >= found.get(kind, ("", 0))[1]:
                found[kind] = (path, size)
    return {kind: path for kind, (path, _) in sorted(found.items())}


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x40]))


def value(i):
    return "value %d " % i + "x" * (i * 37 % 400)


def all_right(node, keys=KEYS):
    """True when every key reads as it was written; a wrong value raises at once."""
    for i in range(keys):
        status, body, _ = node.ask("GET", "secret/data/k%d" % i, timeout=5)
        if status != 200:
            return False
        if body["data"]["data"]["v"] != value(i):
            raise ValueError("WRONG DATA for key %d" % i)
    return True


def wrong(error):
    return "WRONG DATA" in str(error)


def outcome(node):
    """Starts the node as a service manager would, up to four times: "served" or "refused"."""
    code = None
    for _ in range(4):
        node.start(wait=False)

        def served():
            if node.proc.poll() is not None:
                return "ended"
            try:
                return "served" if all_right(node) else None
            except ValueError as e:
                if wrong(e):
                    return "wrong"
                raise
        try:
            result = wait_for("an outcome", served, 12)
        except TimeoutError:
            node.kill()
            return "hangs", None
        if result != "ended":
            return result, None
        code = node.proc.returncode
        node.proc = None
    return "refused", code


def in_a_cluster(t, world):
    cluster = world.cluster("harm", nodes=3, storage_extra=["trailing_logs = 20",
                                                              'snapshot_interval = "1s"']).up()
    for i in range(KEYS):
        cluster.active().put_kv("k%d" % i, value(i))
    victim = [n for n in cluster.nodes if n is not cluster.active()][0]
    wait_for("the follower", lambda: all_right(victim))
    victim.stop()
    spare = victim.data + ".spare"
    shutil.copytree(victim.data, spare)
    for kind, path in kinds(victim).items():
        size = os.stat(path).st_size
        for part in (0.1, 0.5, 0.9):
            with t.check("%s, byte at %d %%: repaired or refused" % (kind, 100 * part)):
                flip(path, int(size * part))
                result, code = outcome(victim)
                print("%s at %d %%: %s %s" % (kind, 100 * part, result, code if code else ""))
                true(result in ("served", "refused"), result)
                if result == "refused":
                    true(code not in (0, None) and code > 0, "exit code %r" % code)
                    true(re.search(r"damag|not a coffer|lost|foreign", victim.log()[-3000:]),
                         victim.log()[-600:])
                    # Without its index a table cannot be opened, nor the database: that needs its operator.
                    true(not kind.endswith(".sst") or
                         re.search(r"damage in the database.*let this node join", victim.log()[-3000:]),
                         victim.log()[-600:])
            if victim.proc is not None:
                victim.stop()
            shutil.rmtree(victim.data)
            shutil.copytree(spare, victim.data)
    victim.start()
    with t.check("and the untouched copy still serves"):
        wait_for("all keys", lambda: all_right(victim), 20)


def unread(t, world):
    """A damaged table file that no client reads: the comparison of states has to meet it by itself."""
    cluster = world.cluster("quiet", nodes=3, storage_extra=["trailing_logs = 20",
                                                              'snapshot_interval = "1s"']).up()
    for i in range(KEYS):
        cluster.active().put_kv("k%d" % i, value(i))
    victim = cluster.standbys()[0]
    cluster.caught_up(victim)
    victim.stop()
    table = max((p for k, p in kinds(victim).items() if k.endswith(".sst")),
                key=lambda p: os.stat(p).st_size)  # of the state or of the log: both count
    flip(table, os.stat(table).st_size // 3)
    mark = len(victim.log())
    with t.check("store_corrupt_each_file: damage that nobody reads is detected within a minute"):
        victim.start(wait=False)
        wait_for("a word in the log", lambda: re.search(r"damag|corrupt", victim.log()[mark:]), 75, 0.2)
    with t.check("and repaired from its peers, or refused: no wrong answer"):
        starts = []

        def repaired():
            if victim.proc.poll() is not None:  # as a service manager would
                true(victim.proc.returncode > 0 and len(starts) < 4, "exit code %d" % victim.proc.returncode)
                starts.append(victim.proc.returncode)
                victim.proc = None
                victim.start(wait=False)
            return all_right(victim)
        wait_for("its data", repaired, 60, 0.3)
        victim.stop()
        victim.start()
        wait_for("its data again", lambda: all_right(victim), 30, 0.5)


def alone(t, world):
    """Nobody to ask: an error that says so, or the right answer."""
    cluster = world.cluster("lone", nodes=1).up()
    node = cluster.nodes[0]
    for i in range(KEYS):
        node.put_kv("k%d" % i, value(i))
    node.kill()  # what was written last is in the write-ahead log alone
    spare = node.data + ".spare"
    shutil.copytree(node.data, spare)
    for kind, path in kinds(node).items():
        size = os.stat(path).st_size
        with t.check("%s on the only node: never wrong, never silently less" % kind):
            flip(path, size // 2)
            node.start(wait=False)

            def settled():
                if node.proc.poll() is not None:
                    return "ended"
                return all_right(node) and "served"
            try:
                result = wait_for("an outcome", settled, 8)
            except TimeoutError:
                result = "errors"
            log = node.log()[-3000:]
            if result == "ended":
                true(node.proc.returncode > 0, "exit code %d" % node.proc.returncode)
                node.proc = None
                true(re.search(r"damag|not a coffer|lost|foreign", log), log[-600:])
            elif result == "errors":
                for i in range(KEYS):
                    status, body, _ = node.ask("GET", "secret/data/k%d" % i, timeout=5)
                    true(status >= 500 or body["data"]["data"]["v"] == value(i),
                         "key %d: %d" % (i, status))
            print("alone, %s: %s" % (kind, result))
        if node.proc is not None:
            node.kill()
        shutil.rmtree(node.data)
        shutil.copytree(spare, node.data)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in (in_a_cluster, unread, alone):
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
