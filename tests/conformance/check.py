#!/usr/bin/env python3
"""Plays every recorded case against a coffer binary and compares the outcome with pending.txt.

    check.py [--binary build/coffer] [--workers N] [--only GLOB] [--verbose]

A failure that is not listed there fails the run, and so does a listed case that passes: the list
stays true. Cases are spread over several runners, each with servers and ports of its own. The last
line is "N passed, N failed"; a listed failure is neither. Standard library only.
"""
import argparse
import fnmatch
import glob
import json
import os
import random
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
PORTS_EACH = 100
RUN_LIMIT_S = 1200


def pending():
    """The names in pending.txt; what follows a # is a comment."""
    with open(os.path.join(HERE, "pending.txt")) as f:
        lines = [line.split("#")[0].strip() for line in f]
    return {line for line in lines if line}


def is_free(base):
    """A runner takes its ports from here upwards; look at a few of them."""
    for port in range(base, base + 8):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def port_bases(count):
    """Below the ephemeral ports, so that no outgoing connection takes one of them."""
    found = []
    bases = list(range(21000, 32000, PORTS_EACH))
    random.shuffle(bases)  # several runs on one machine rarely look at the same range
    for base in bases:
        if len(found) < count and is_free(base):
            found.append(base)
    if len(found) < count:
        sys.exit("no %d free ranges of ports between 21000 and 32000" % count)
    return found


def weight(path):
    """Rough seconds: cases that start servers or sleep take longest and are dealt out first."""
    with open(path) as f:
        case = json.load(f)
    seconds = 3 * len(case.get("servers") or {})
    return seconds + 0.02 * len(case["steps"]) + sum(s.get("sleep", 0) for s in case["steps"])


def deal(files, count):
    """Longest first, each to the hand that has least."""
    hands = [[0.0, []] for _ in range(count)]
    for path in sorted(files, key=weight, reverse=True):
        hand = min(hands, key=lambda h: h[0])
        hand[0] += weight(path)
        hand[1].append(path)
    return [h[1] for h in hands if h[1]]


def run(hands, command, folder, verbose):
    """One runner a hand; returns name -> result, and what the runners printed."""
    jobs = []
    for i, (files, base) in enumerate(zip(hands, port_bases(len(hands)))):
        out = os.path.join(folder, "%d.json" % i)
        log = open(os.path.join(folder, "%d.log" % i), "w+")
        args = [sys.executable, os.path.join(HERE, "run.py"), "--server-cmd", command,
                "--port-base", str(base), "--json", out] + (["-v"] if verbose else [])
        jobs.append((subprocess.Popen(args + files, stdout=log, stderr=subprocess.STDOUT), out, log))
    results = {}
    for proc, out, log in jobs:
        try:
            proc.wait(RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
        log.seek(0)
        text = log.read()
        log.close()
        if verbose:
            sys.stdout.write(text)
        if os.path.exists(out):
            with open(out) as f:
                results.update((r["name"], r) for r in json.load(f)["results"])
        else:
            print("a runner ended without results:\n" + text[-3000:])
    return results


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--binary", default=os.path.join(TOP, "build", "coffer"))
    ap.add_argument("--server-cmd", help="in place of the binary; {config} is the configuration")
    ap.add_argument("--workers", type=int, default=4)
    ap.add_argument("--only", default="*", help="glob over names")
    ap.add_argument("--verbose", action="store_true")
    opts = ap.parse_args()
    command = opts.server_cmd or "%s server -config={config}" % os.path.abspath(opts.binary)

    cases = {}
    for path in glob.glob(os.path.join(HERE, "cases", "*", "*.json")):
        with open(path) as f:
            name = json.load(f)["name"]
        if fnmatch.fnmatch(name, opts.only):
            cases[name] = path
    listed = pending()
    unknown = listed - set(cases) if opts.only == "*" else set()
    with tempfile.TemporaryDirectory(prefix="coffer-conformance-") as folder:
        results = run(deal(list(cases.values()), opts.workers), command, folder, opts.verbose)

    passed, failed, waiting = 0, 0, 0
    for name in sorted(cases):
        result = results.get(name)
        good = result is not None and result["result"] == "pass"
        if result is None:
            failed += 1
            print("FAIL %s: no result" % name)
        elif good and name in listed:
            failed += 1
            print("FAIL %s: passes, but stands in pending.txt" % name)
        elif good:
            passed += 1
            print("pass %s" % name)
        elif name in listed:
            waiting += 1
            print("pending %s: step %s %s" % (name, result.get("step"), result.get("request")))
        else:
            failed += 1
            print("FAIL %s: step %s %s" % (name, result.get("step"), result.get("request")))
            for line in result.get("diff", [])[:6]:
                print("     " + line)
    for name in sorted(unknown):
        failed += 1
        print("FAIL %s: stands in pending.txt, but there is no such case" % name)
    print("%d listed in pending.txt" % waiting)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
