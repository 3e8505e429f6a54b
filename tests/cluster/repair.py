#!/usr/bin/env python3
"""Repair: a secondary whose position left its primary's log compares hash trees and has only the records moved that
differ; what was changed behind its back is found while it streams, reported and repaired."""
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, disk_tool, wait_for  # noqa: E402
from replicas import (add_operator, attach, enable_primary, in_step, login, operation_token,  # noqa: E402
                      status, streaming)

KEYS = 1500
SHORT_LOG = ["trailing_logs = 20", 'snapshot_interval = "1s"']
SHORT_TIMES = ["replication {", '  log_retention = "2s"', '  compare_interval = "2s"', "}"]


def each(count, call):
    """By a few clients."""
    def some(first):
        for i in range(first, count, 8):
            call(i)
    threads = [threading.Thread(target=some, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write(node, i, value):
    node.write("plain/k%05d" % i, {"v": "%s %d " % (value, i) + "x" * 150})


def forget_log(node):
    """Writes until everything that is in the log now has left it."""
    index = node.applied()

    def gone():
        for i in range(30):
            node.write("plain/hot", {"v": str(i)})
        gauges = {g["Name"]: g["Value"] for g in node.read("sys/metrics")["Gauges"]}
        return gauges["coffer_raft_first_index"] > index
    wait_for("the log to be cut", gone, 60, 0.3)


def repair_of(node, kind):
    return status(node, kind)["repair"]


def same_secrets(a, b, token=None):
    """Every secret of the mount, on a cluster that serves clients."""
    for i in range(0, KEYS, 97):
        one = a.ask("GET", "plain/k%05d" % i)
        two = b.ask("GET", "plain/k%05d" % i, token=token)
        equal(one[0], two[0], "k%05d" % i)
        if one[0] == 200:
            equal(one[1]["data"], two[1]["data"])


def bend(node, count, prefix="d/", data_class="r"):
    """A stopped node: bytes of records change, checksums do not tell."""
    done = subprocess.run([disk_tool("state_bend"), node.data, data_class, prefix, str(count)],
                          stdout=subprocess.PIPE, universal_newlines=True, check=True)
    equal(int(done.stdout), count)


def change(node):
    """20 secrets change, 5 go, 5 are new."""
    for i in range(20):
        write(node, i * 50, "second")
    for i in range(5):
        node.call("DELETE", "plain/k%05d" % (i * 50 + 7))
        write(node, KEYS + i, "new")


def moved(node, kind, copies):
    """How much a repair of what change() did has moved."""
    seen = repair_of(node, kind)
    equal(status(node, kind)["bootstraps"], copies, "copies")
    equal(seen["repairs"], 1, "repairs")
    true(25 <= seen["records_written"] <= 60, "%d records written" % seen["records_written"])
    true(5 <= seen["records_deleted"] <= 30, "%d records deleted" % seen["records_deleted"])
    return seen


def gap(t, world):
    """The log is gone: both kinds fetch what differs and nothing else."""
    a = world.cluster("gapa", nodes=1, storage_extra=SHORT_LOG, extra=SHORT_TIMES).up()
    b = world.cluster("gapb", nodes=1, extra=SHORT_TIMES).up(kv=False)
    c = world.cluster("gapc", nodes=1, extra=SHORT_TIMES).up(kv=False)
    one, two, three = a.nodes[0], b.nodes[0], c.nodes[0]
    add_operator(a)
    one.write("sys/mounts/plain", {"type": "kv", "options": {"version": "1"}})
    wait_for("the mount", lambda: write(one, 0, "first") or True)
    each(KEYS, lambda i: write(one, i, "first"))
    enable_primary(a, "dr")
    enable_primary(a, "performance")
    attach(a, b, "dr", "b")
    attach(a, c, "performance", "c")
    c.root = login(c)
    with t.check("in step after the first copy"):
        in_step(a, b, "dr")
        in_step(a, c, "performance")
    two.stop()
    three.stop()
    change(one)
    forget_log(one)
    two.start()
    three.start()
    with t.check("a DR secondary whose position left the log repairs itself"):
        streaming(b, "dr")
        in_step(a, b, "dr")
        seen = moved(two, "dr", 0)
        true("needs a snapshot" in one.log(), "the log was not gone")
        t.note("dr: %d bytes for %d records" % (seen["bytes_moved"], seen["records_written"]))
    with t.check("so does a performance secondary, and serves the same"):
        streaming(c, "performance")
        in_step(a, c, "performance")
        seen = moved(three, "performance", 0)
        t.note("performance: %d bytes for %d records" % (seen["bytes_moved"], seen["records_written"]))
        same_secrets(one, three, c.root)
    with t.check("the stream goes on from there"):
        write(one, 3, "third")
        in_step(a, b, "dr")
        in_step(a, c, "performance")
        equal(status(two, "dr")["bootstraps"], 0)
    behind_its_back(t, a, b, "dr")
    behind_its_back(t, a, c, "performance")
    calls(t, a, b, c)


def behind_its_back(t, a, cluster, kind):
    """Bytes change on the disk of a secondary that streams: found, told, repaired."""
    node = cluster.nodes[0]
    node.stop()
    bend(node, 9)
    node.start()
    with t.check("%s: nine records that were bent are found while streaming, and repaired" % kind):
        streaming(cluster, kind)

        def repaired():
            seen = repair_of(node, kind)
            return seen["differences"] >= 1 and seen["repairs"] >= 1 and seen["last_repair"] and seen
        seen = wait_for("the difference to be found", repaired, 60, 0.2)
        true(1 <= seen["leaves"] <= 9, "%d leaves" % seen["leaves"])
        true(9 <= seen["records_written"] <= 40, "%d records" % seen["records_written"])
        in_step(a, cluster, kind)
        true("differs from the primary's at the same position" in node.log(), "it was not said")
        equal(status(node, kind)["bootstraps"], 0)
    with t.check("%s: and no difference is found afterwards" % kind):
        before = repair_of(node, kind)["comparisons"]
        wait_for("more comparisons", lambda: repair_of(node, kind)["comparisons"] >= before + 2, 60, 0.2)
        equal(repair_of(node, kind)["differences"], 1)


def refused(node, path, code, text, token=None, body=None):
    try:
        node.write(path, body or {}, token=token)
    except Refused as e:
        equal(e.status, code, str(e))
        true(text in str(e), str(e))
        return
    raise AssertionError(path + " was not refused")


def calls(t, a, b, c):
    """merkle-check, reindex and recover."""
    one, two, three = a.nodes[0], b.nodes[0], c.nodes[0]
    with t.check("merkle-check: two trees, nothing damaged, equal roots where data is equal"):
        reports = []
        for node, token in ((one, None), (three, c.root)):
            data = node.write("sys/replication/merkle-check", {}, token=token)["data"]
            report = data["merkle_corruption_report"]
            equal(report["corrupted_root"], False)
            equal(sorted(report["corrupted_tree_map"]), ["1", "2"])
            equal(report["corrupted_tree_map"]["1"]["corrupted_index_tuples_map"], None)
            equal(report["corrupted_tree_map"]["1"]["tree_type"], "replicated")
            true(report["last_corruption_check_epoch"].startswith("20"), report)
            reports.append(report)
        equal(*[r["corrupted_tree_map"]["1"]["root_hash"] for r in reports])
    with t.check("reindex answers at once, and the status says when it was done"):
        equal(status(one, "dr")["last_reindex_epoch"], "0")
        true(one.write("sys/replication/reindex", {"diff": True})["warnings"], "no warning")
        wait_for("the reindex", lambda: int(status(one, "dr")["last_reindex_epoch"]) > 0, 30)
    with t.check("recover: the link begins anew"):
        true("begins anew" in three.write("sys/replication/recover", {}, token=c.root)["warnings"][0], "text")
        streaming(c, "performance")
    with t.check("on a DR secondary all three want an operation token"):
        for name in ("recover", "reindex", "merkle-check"):
            refused(two, "sys/replication/dr/secondary/" + name, 403, "dr_operation_token", token="")
            refused(one, "sys/replication/dr/secondary/" + name, 400, "Not a DR secondary.")
        body = {"dr_operation_token": operation_token(b)}
        report = two.write("sys/replication/dr/secondary/merkle-check", body, token="")["data"]
        equal(report["merkle_corruption_report"]["corrupted_root"], False)
        true(two.write("sys/replication/dr/secondary/reindex", body, token="")["warnings"], "no warning")
        true(two.write("sys/replication/dr/secondary/recover", body, token="")["warnings"], "no warning")
        streaming(b, "dr")


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in (gap,):
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
