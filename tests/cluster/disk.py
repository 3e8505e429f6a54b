#!/usr/bin/env python3
"""Bad disks under real processes (consensus.md 13): a sync that fails, a disk that hangs, one that is
full. The disk is tests/lib/disk_shim.c."""
import errno
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, World, Writer, arguments, wait_for  # noqa: E402

MIB = 1 << 20


def ended(node, limit):
    """Waits for the process to end by itself; its exit code."""
    code = node.proc.wait(limit * SLOW)
    node.proc = None
    return code


def fsync_fails(t, world):
    """store_fsync_fail_exit (P-6): no second try, no answer, a status of its own."""
    cluster = world.cluster("sync", nodes=1)
    node = cluster.nodes[0]
    node.disk = ""
    cluster.up()
    node.put_kv("before", "1")
    node.set_disk("fsync_errors=1 only=.log")
    answers = []

    def write():
        try:
            answers.append(node.ask("POST", "secret/data/during", {"data": {"v": "1"}})[0])
        except OSError:
            answers.append(None)
    thread = threading.Thread(target=write)
    thread.start()
    with t.check("a failed sync ends the process with status 74"):
        equal(ended(node, 10), 74)
    thread.join()
    with t.check("what it carried was not acknowledged"):
        equal(answers, [None])
    with t.check("the log says what failed"):
        true("fatal: storage input/output error" in node.log(), node.log()[-800:])
    node.cut_power(1)
    node.start()
    cluster.active()
    with t.check("after the restart everything acknowledged is there, and it writes again"):
        equal(node.get_kv("before"), "1")
        node.put_kv("after", "1")


def log_full(t, world):
    """ENOSPC on the log itself, in spite of every precaution: as a failed sync."""
    cluster = world.cluster("enospc", nodes=1)
    node = cluster.nodes[0]
    node.disk = ""
    cluster.up()
    node.put_kv("before", "1")
    node.set_disk("write_left=%d only=.log" % (100 * 1024))
    acknowledged = []
    with t.check("no room for the log ends the process with status 74"):
        try:
            for i in range(1000):
                node.put_kv("k%d" % i, "x" * 2000, timeout=5)
                acknowledged.append(i)
        except OSError:
            pass
        equal(ended(node, 10), 74)
    node.cut_power(3)
    node.start()
    cluster.active()
    with t.check("what was acknowledged until then is there"):
        true(len(acknowledged) > 5, "only %d" % len(acknowledged))
        for i in acknowledged:
            equal(node.get_kv("k%d" % i), "x" * 2000)


def disk_hangs(t, world):
    """P-12: the leader's disk stalls; the others elect, and the process ends by itself."""
    cluster = world.cluster("hang", nodes=3)
    for node in cluster.nodes:
        node.disk = ""
    cluster.up()
    old = cluster.active()
    old.put_kv("a", "1")
    old.set_disk("stall=1")
    began = time.monotonic()

    def write():
        try:
            old.ask("POST", "secret/data/stuck", {"data": {"v": "1"}})
        except OSError:
            pass
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    others = [n for n in cluster.nodes if n is not old]
    with t.check("another node leads and takes writes"):
        wait_for("a write elsewhere", lambda: [n for n in others if n.put_kv("b", "2", timeout=2)], 20)
    print("hung disk: writes again after %.2f s" % (time.monotonic() - began))
    with t.check("the process with the hung disk ends by itself, status 74"):
        equal(ended(old, 30), 74)
        true("the disk has not answered for 10 seconds" in old.log(), old.log()[-500:])
    print("hung disk: the process ended after %.1f s" % (time.monotonic() - began))
    old.cut_power(2)
    old.start()
    with t.check("it comes back and catches up"):
        wait_for("the value", lambda: old.get_kv("b") == "2", 20)


def metric(node, name):
    for line in node.ask("GET", "sys/metrics?format=prometheus")[1].splitlines():
        if line.startswith(name + " "):
            return int(float(line.split()[1]))
    raise ValueError("no metric %s" % name)


def older_image(t, world):
    """consensus.md 13.8: the disk of a follower goes back in time while the leader that it acknowledged to is gone. The
    third one knows what the follower had, so its log is not taken for sound."""
    cluster = world.cluster("image").up()
    leader, (back, third) = cluster.active(), cluster.standbys()
    image = back.data + ".image"
    equal(back.stop(), 0)
    shutil.copytree(back.data, image)
    back.start()
    cluster.unseal(back)
    for i in range(60):
        leader.put_kv("k%d" % i, "v%d" % i)
    for node in (back, third):
        cluster.caught_up(node)
    time.sleep(0.5)  # ten heartbeats: the third one has heard of the follower's acknowledgements
    back.kill()
    leader.kill()
    shutil.rmtree(back.data)
    shutil.move(image, back.data)
    back.start()
    with t.check("it is told, and says so"):
        wait_for("the word of the other one", lambda: "lacks what it had acknowledged" in back.log(), 20)
    with t.check("its vote makes no leader"):
        time.sleep(3 * SLOW)  # six election timeouts
        true(not any(n.leader()["is_self"] or n.leader()["leader_address"] for n in (back, third)),
             "somebody leads")
    leader.start()
    cluster.unseal(leader)
    cluster.active()
    with t.check("it gets every entry back, and its vote never: also after a restart, as the alarm says"):
        cluster.any().put_kv("after", "1")
        cluster.caught_up(back)
        equal(metric(back, "coffer_raft_acknowledged_lost"), 1)
        cluster.unseal(back)
        for i in range(60):
            equal(back.get_kv("k%d" % i), "v%d" % i)
        equal(back.stop(), 0)
        back.start()
        cluster.unseal(back)
        cluster.any().put_kv("after", "2")
        cluster.caught_up(back)
        equal(metric(back, "coffer_raft_votes"), 0)
        true("under this id it does not vote any more" in back.log(), "the log does not say so")
    with t.check("with an empty directory it joins under a new id, and votes"):
        back.kill()
        shutil.rmtree(back.data)
        os.makedirs(back.data, mode=0o700)
        back.start()
        cluster.unseal(back)
        wait_for("its place", lambda: "takes its place" in "".join(n.log() for n in cluster.nodes), 30)
        wait_for("three voters", lambda: len(cluster.voters()) == 3, 30)
        cluster.caught_up(back)
        equal(metric(back, "coffer_raft_votes"), 1)
    with t.check("and its vote counts"):
        next(n for n in cluster.nodes if n is not back and n is not cluster.active()).kill()
        wait_for("a write", lambda: back.put_kv("two", "1"), 30)


def neighbour(t, world):
    """A foreign process fills the disk at 40 MB/s, and frees it again, while clients write: the node answers 507 and lives."""
    cluster = world.cluster("beside", nodes=1)
    node = cluster.nodes[0]
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m,mode=0700", "tmpfs", node.data],
                      stderr=subprocess.DEVNULL).returncode != 0:
        t.note("no right to mount a tmpfs: skipped")
        return
    writer = None
    try:
        cluster.up()
        writer = Writer(cluster)
        writer.start()
        writer.until(50)
        for attempt in (1, 2):
            with t.check("filled up while clients write, time %d: 507 and no dead node" % attempt):
                before = writer.errors.get("507", 0)
                foreign = os.path.join(node.data, "foreign")
                with open(foreign, "wb", buffering=0) as f:
                    began, size, block = time.monotonic(), 0, b"x" * MIB
                    try:
                        while True:
                            f.write(block)
                            size += MIB
                            time.sleep(max(0.0, began + size / 40e6 - time.monotonic()))
                    except OSError as e:
                        equal(e.errno, errno.ENOSPC)
                true(size > 50 * MIB, "only %d bytes fitted" % size)
                wait_for("507", lambda: writer.errors.get("507", 0) > before, 20)
                true(node.is_running(), "the node ended: %s" % node.log()[-600:])
                equal(metric(node, "coffer_raft_disk_full"), 1)
                for key in list(writer.acknowledged)[:20]:
                    equal(node.get_kv(key), writer.acknowledged[key])
                os.unlink(foreign)
                writer.until(len(writer.times) + 20)
        with t.check("nothing is lost, nor after a restart"):
            writer.stop()
            keys = {k.split("/")[1] for k in writer.acknowledged}
            node.kill()
            node.start()
            cluster.unseal(node)
            cluster.active()
            there = set(node.call("LIST", "secret/metadata/w", timeout=60)["data"]["keys"])
            equal(sorted(keys - there)[:5], [])
            for key in list(writer.acknowledged)[-500:]:
                equal(node.get_kv(key), writer.acknowledged[key])
        t.note("%d acknowledged, refused: %s" % (len(writer.acknowledged), writer.errors))
    finally:
        if writer is not None:
            writer.stop()
        node.kill()
        subprocess.run(["umount", "-l", node.data], check=False)


def used(node):
    return sum(os.stat(os.path.join(folder, name)).st_size
               for folder, _, names in os.walk(node.data) for name in names)


def disk_full(t, world):
    """13.3: writes are refused with 507, deletes and reads go on, nothing dies; room heals it."""
    cluster = world.cluster("full", nodes=1)
    node = cluster.nodes[0]
    node.disk = ""
    cluster.up()
    node.put_kv("small", "1")
    node.set_disk("space=%d" % (256 * MIB))
    time.sleep(0.3)
    value = "x" * (700 * 1024)
    written, refused, lock = [], [], threading.Lock()

    def fill(worker):
        for i in range(200):
            status = node.ask("POST", "secret/data/big-%d-%d" % (worker, i), {"data": {"v": value}})[0]
            with lock:
                if status == 507:
                    refused.append(status)
                    return
                written.append((worker, i, status))
    threads = [threading.Thread(target=fill, args=(n,)) for n in range(6)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    print("full disk: %d values of 700 KiB in %.1f s, then 507" % (len(written), took))
    with t.check("a disk that fills up is told with 507 by every writer, and nothing else is"):
        equal(len(refused), 6)
        equal({status for _, _, status in written}, {200})
    with t.check("the node lives, and reads go on"):
        true(node.is_running(), "the node died: " + node.log()[-500:])
        equal(node.get_kv("small"), "1")
        equal(node.get_kv("big-%d-%d" % written[-1][:2]), value)
    with t.check("small writes are refused as well, with a message"):
        status, body, _ = node.ask("POST", "secret/data/more", {"data": {"v": "1"}})
        equal(status, 507)
        true(body["errors"], "no message")
    with t.check("deletes are admitted"):
        for worker, i, _ in written:
            node.call("DELETE", "secret/metadata/big-%d-%d" % (worker, i))
        equal(node.ask("GET", "secret/data/big-%d-%d" % written[0][:2])[0], 404)
    with t.check("so is the revocation of a token"):
        true(node.is_running(), "died")
        equal(node.ask("POST", "auth/token/revoke", {"token": "s.none"})[0] in (204, 400, 403), True)
    with t.check("it starts on a disk without any room, and serves"):
        node.kill()
        node.disk = "space=%d" % used(node)
        node.start()
        cluster.active()
        equal(node.get_kv("small"), "1")
    node.set_disk("space=%d" % (used(node) + 12 * MIB))
    with t.check("and refuses to write there"):
        wait_for("507", lambda: node.ask("POST", "secret/data/more", {"data": {"v": "1"}})[0] == 507)
        equal(node.get_kv("small"), "1")
    with t.check("with room again it writes"):
        node.set_disk("space=%d" % (1024 * MIB))
        wait_for("a write", lambda: node.put_kv("more", "2"), 15)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in (fsync_fails, log_full, disk_hangs, disk_full, older_image, neighbour):
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
