#!/usr/bin/env python3
"""Runs several of tests/cluster at the same time, for tests/run: they wait more than they compute.

    side_by_side.py --jobs 3 --label cluster --out DIR [--long] NAME[:SECONDS] ...

The longest start first, so SECONDS (60 if not told) need to be right only roughly. What a script says is kept in
DIR/LABEL-NAME.log and shown when it ends, without the checks that passed. One that prints no result, or hangs,
counts as one failure. Ends with a line "N passed, N failed", the sum. Python 3.9 and its standard library only.
"""
import argparse
import os
import re
import subprocess
import sys
import time

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster")
RESULT = re.compile(r"^(\d+) passed, (\d+) failed$")
HANGS_S, HANGS_LONG_S = 900, 7200  # no script takes so long, however slow the machine


class Script:
    def __init__(self, name, opts):
        self.name = name
        self.log = os.path.join(opts.out, "%s-%s.log" % (opts.label, name))
        self.limit = (HANGS_LONG_S if opts.long else HANGS_S) * float(os.environ.get("COFFER_TEST_SLOW", "1"))
        self.began = time.monotonic()
        command = [sys.executable, os.path.join(FOLDER, name + ".py")] + (["--long"] if opts.long else [])
        with open(self.log, "wb") as log:
            self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def has_ended(self):
        if self.proc.poll() is None and time.monotonic() - self.began > self.limit:
            self.proc.kill()  # its nodes go with it
            self.proc.wait()
        return self.proc.returncode is not None

    def report(self):
        """Shows what is worth it; returns (passed, failed)."""
        with open(self.log, errors="replace") as f:
            lines = f.read().splitlines()
        result = RESULT.match(lines[-1]) if lines else None
        passed, failed = (int(result[1]), int(result[2])) if result else (0, 1)
        if self.proc.returncode != 0:
            failed = max(failed, 1)
        print("-- %s: %d passed, %d failed, %.0f s" % (self.name, passed, failed, time.monotonic() - self.began))
        for line in lines[:-1] if result else lines:
            if not line.startswith("pass "):
                print("   " + line)
        if result is None:
            print("   no result (exit code %d)" % self.proc.returncode)
        sys.stdout.flush()
        return passed, failed


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--jobs", type=int, required=True)
    ap.add_argument("--label", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--long", action="store_true")
    ap.add_argument("scripts", nargs="+", metavar="NAME[:SECONDS]")
    opts = ap.parse_args()
    waiting = [script.partition(":") for script in opts.scripts]
    waiting.sort(key=lambda parts: int(parts[2] or 60))  # the longest is the last, and taken first
    running, passed, failed = [], 0, 0
    while waiting or running:
        while waiting and len(running) < opts.jobs:
            running.append(Script(waiting.pop()[0], opts))
        time.sleep(0.1)
        for script in [s for s in running if s.has_ended()]:
            running.remove(script)
            good, bad = script.report()
            passed, failed = passed + good, failed + bad
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
