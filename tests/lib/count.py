#!/usr/bin/env python3
"""Counts single tests for tests/run.

    count.py tap DIR          TAP files and exit codes that tests/lib/check-wrap left in DIR
    count.py warnings LOG BUILD
                              the output of ninja: fails on any warning

Prints "PASSED FAILED" as its last line; what failed goes before it. Standard library only.
"""
import os
import re
import sys

# What the simulator says at the end: "seeds 1..2000: 2000 passed", "12 regressions passed".
SEEDS = re.compile(r"^(?:seeds \d+\.\.\d+: (\d+)|(\d+) (?:regressions|seeds|cases)) passed", re.M)
LINE = re.compile(r"^(not )?ok \d+ - (.*)$")


def tap(folder):
    """A test executable that failed without a failing test (crash, sanitizer, timeout) counts as
    one failure; one that reports no single tests counts as one test. A name ends with the process
    id, since one executable may run several times with different arguments."""
    passed = failed = 0
    for name in sorted(f[:-5] for f in os.listdir(folder) if f.endswith(".code")):
        with open(os.path.join(folder, name + ".code")) as f:
            code = int(f.read() or 1)
        good = bad = 0
        path = os.path.join(folder, name + ".tap")
        if os.path.exists(path):
            with open(path, errors="replace") as f:
                for line in f:
                    m = LINE.match(line.rstrip("\n"))
                    if m and m.group(1):
                        bad += 1
                        print("  FAIL %s: %s" % (name, m.group(2)))
                    elif m:
                        good += 1
        if good + bad == 0:
            with open(os.path.join(folder, name + ".out"), errors="replace") as f:
                good = sum(int(a or b) for a, b in SEEDS.findall(f.read()))
        if code != 0 and bad == 0:
            bad = 1
            print("  FAIL %s: exit code %d" % (name, code))
        if code == 0 and good + bad == 0:
            good = 1
        passed += good
        failed += bad
    print("%d %d" % (passed, failed))


def warnings(log, build):
    """Any warning of compiler, linker or meson fails. The object that drew it is deleted, so that
    the next run compiles it again and sees the warning again."""
    target, found, doomed = "", [], set()
    with open(log, errors="replace") as f:
        for line in f:
            m = re.match(r"^\[\d+/\d+\] \w+ .*?(\S+)$", line)
            if m:
                target = m.group(1)
            elif re.search(r"\bwarning: ", line, re.I) or line.startswith("WARNING:"):
                found.append(line.rstrip())
                doomed.add(target)
    for name in doomed:
        path = os.path.join(build, name)
        if name.endswith(".o") and os.path.exists(path):
            os.unlink(path)
    for line in found[:20]:
        print("  " + line)
    print("%d %d" % (0 if found else 1, len(found)))


if __name__ == "__main__":
    {"tap": tap, "warnings": warnings}[sys.argv[1]](*sys.argv[2:])
