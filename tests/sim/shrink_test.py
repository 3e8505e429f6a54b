"""A failing seed shrinks to a short scenario that fails with the bug and passes without it.

shrink_test.py SIM SIM_MUTANTS MUTANT...
"""
import os
import re
import subprocess
import sys
import tempfile

LINES_MAX = 80


def check(sim, mutants, mutant):
    hunt = subprocess.run([mutants, "--mutant", mutant, "--seeds", "1..300"],
                          capture_output=True, text=True)
    found = re.search(r"caught after (\d+) seeds", hunt.stdout)
    if hunt.returncode != 0 or not found:
        return f"{mutant}: no seed fails: {hunt.stdout}{hunt.stderr}"
    shrunk = subprocess.run([mutants, "--mutant", mutant, "--shrink", found[1]],
                            capture_output=True, text=True)
    lines = [line for line in shrunk.stdout.splitlines() if not line.startswith("#")]
    if shrunk.returncode != 0 or not 3 < len(lines) <= LINES_MAX:
        return f"{mutant}: {len(lines)} lines are left: {shrunk.stdout}{shrunk.stderr}"
    with tempfile.NamedTemporaryFile("w", suffix=".scn", delete=False) as file:
        file.write(shrunk.stdout)
    try:
        for program in (mutants, sim):  # the first also runs it with the bug, which it has to find
            run = subprocess.run([program, "--scenario", file.name], capture_output=True, text=True)
            if run.returncode != 0:
                return f"{mutant}: {program}: {run.stdout}{run.stderr}\n{shrunk.stdout}"
    finally:
        os.unlink(file.name)
    print(f"{mutant}: seed {found[1]}: {shrunk.stderr.strip()}")
    return None


def main():
    sim, mutants, *names = sys.argv[1:]
    wrong = [text for text in (check(sim, mutants, name) for name in names) if text]
    for text in wrong:
        print(text, file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
