#!/usr/bin/env python3
"""Reads every #include of the tree and compares it with the module map below: dependencies point
one way. Also: every folder of code has a README.md, no word of unfinished work stands in a source,
and no path of somebody's machine.

    layers.py              check the tree; ends with "N passed, N failed"
    layers.py --self-test  show that made-up offences are found

Standard library only.
"""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Folder -> folders whose headers it may include (its own always). The most specific folder counts.
# `core/` means: the interface headers of node/core only (INTERFACE below).
MAP = {
    "node/base": [],
    "node/format": ["node/base"],
    "node/crypto": ["node/base"],
    "node/storage": ["node/base"],
    "node/barrier": ["node/base", "node/crypto", "node/storage"],
    "proto": ["node/base"],
    "node/cluster": ["node/base", "node/crypto", "proto", "node/barrier"],
    "consensus/core": ["node/base"],
    "consensus/driver": ["consensus/core", "node/base", "node/storage", "proto", "node/cluster"],
    "replication/core": ["node/base"],
    "replication/driver": ["replication/core", "node/base", "node/crypto", "node/storage",
                           "node/barrier", "proto", "node/cluster"],
    # Deviation: proto, too. A command of the log is a protobuf message, and its codec (command.c)
    # stands beside the code that makes and applies it.
    "node/core": ["node/base", "node/format", "node/crypto", "node/storage", "node/barrier", "proto"],
    "node/engines": ["node/base", "node/format", "node/crypto", "core/"],
    "node/auth": ["node/base", "node/format", "node/crypto", "core/"],
    "node/audit": ["node/base", "node/format", "node/crypto", "core/"],
    "node/http": ["node/base", "node/format", "node/core", "node/cluster"],
    "node/ui": ["node/base", "node/http"],
    # Deviation: crypto, too. `operator raft snapshot verify` checks digests without a server.
    "tools": ["node/base", "node/format", "node/crypto", "proto"],
    # The only folder that knows everyone.
    "node/server": ["node/", "proto", "consensus/", "replication/", "tools"],
}

# What engines, auth methods and audit devices see of node/core. None: every header of it that is
# not a <module>_int.h.
INTERFACE = None

# Libraries that one folder alone may include: the wrapping of a library is in one place.
LIBRARIES = [
    (re.compile(r"^openssl/"), ["node/crypto", "node/cluster"]),
    (re.compile(r"^rnp/"), ["node/crypto"]),
    (re.compile(r"^rocksdb/"), ["node/storage"]),
    (re.compile(r"^zlib\.h"), ["node/format"]),
    (re.compile(r"^(event2/|event\.h)"),
     ["node/cluster", "node/http", "node/server", "consensus/driver", "replication/driver"]),
    (re.compile(r"^curl/"), ["tools", "node/server", "replication/driver", "node/cluster"]),
    (re.compile(r"^protobuf-c/"), ["proto"]),
]

# Pure folders: nothing that waits, reads time or prints.
PURE = ["consensus/core", "replication/core"]
IMPURE = re.compile(r"^(time\.h|stdio\.h|unistd\.h|pthread\.h|signal\.h|fcntl\.h|poll\.h|sys/|event2/|"
                    r"openssl/|rocksdb/|arpa/|net/|netinet/|netdb\.h)")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Spelt in pieces, so that this file does not offend against itself.
WORDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|"
                   r"\b(?i:st" r"ub|place" r"holder|not (?:yet )?impl" r"emented|unimpl" r"emented|"
                   r"for n" r"ow)\b")
# Words that the file has to speak.
SPOKEN = {("node/http/answer.c", "Not Impl" "emented")}  # the reason of 501, RFC 9110 15.6.2
MACHINE = re.compile(r"(?<![\w.])/(?:wo" r"rk/(?:main|shared)|ro" r"ot/|ho" r"me/\w+/|tmp/br" r"ief)")
SOURCES = (".c", ".h", ".py", ".sh", ".proto", ".def", ".build", ".js", ".css", ".html", ".hcl")
CODE = ("node", "proto", "consensus", "replication", "tools")


def folder_of(path):
    """The entry of the map that a file belongs to: the longest that its path begins with."""
    best = None
    for name in MAP:
        if path.startswith(name + "/") and (best is None or len(name) > len(best)):
            best = name
    return best


def allowed(owner, header):
    """Is `header` (a path from the top) open to the folder `owner`? Returns a complaint or None."""
    target = folder_of(header)
    if target is None:
        return "is no header of a folder of the map"
    if target == owner:
        return None
    if header.endswith("_int.h"):
        return "is for %s alone (_int.h)" % target
    for rule in MAP[owner]:
        if rule == "core/":
            if target == "node/core":
                if INTERFACE is None or os.path.basename(header) in INTERFACE:
                    return None
                return "is no interface header of node/core"
        elif rule.endswith("/"):
            if header.startswith(rule):
                return None
        elif target == rule:
            return None
    return "%s may not include %s" % (owner, target)


def leaf_of(path, owner):
    """Engines never include each other: node/engines/kv and node/engines/transit are two leaves."""
    rest = path[len(owner) + 1:].split("/")
    return rest[0] if len(rest) > 1 else None


def check_include(path, owner, kind, name, top):
    if kind == "<":
        for pattern, owners in LIBRARIES:
            if pattern.search(name) and owner not in owners:
                return "<%s> belongs to %s alone" % (name, ", ".join(owners))
        if owner in PURE and IMPURE.search(name):
            return "<%s> in a pure folder" % name
        return None
    header = name
    if not os.path.exists(os.path.join(top, header)):
        # A generated header of proto, or one beside the file: written without the folder.
        beside = os.path.join(os.path.dirname(path), name)
        if os.path.exists(os.path.join(top, beside)):
            header = beside
        elif name.endswith(".pb-c.h"):
            header = "proto/" + os.path.basename(name)
        elif not folder_of(header):
            return '"%s" does not exist' % name
    bad = allowed(owner, header)
    if bad:
        return '"%s" %s' % (name, bad)
    if owner in ("node/engines", "node/auth", "node/audit") and folder_of(header) == owner:
        mine, other = leaf_of(path, owner), leaf_of(header, owner)
        if mine and other and mine != other:
            return '"%s": %s/%s and %s/%s must not know each other' % (name, owner, mine, owner, other)
    return None


def tracked(top):
    """The files under version control, or all files where there is none (the self-test)."""
    git = subprocess.run(["git", "-C", top, "ls-files"], capture_output=True, text=True)
    if git.returncode == 0 and git.stdout:
        return [f for f in git.stdout.splitlines() if os.path.isfile(os.path.join(top, f))]
    found = []
    for base, _, files in os.walk(top):
        found += [os.path.relpath(os.path.join(base, f), top) for f in files]
    return sorted(found)


def check(top):
    """Returns (number of checks, list of complaints)."""
    checks, bad = 0, []
    files = tracked(top)
    folders = set()
    for path in files:
        if not path.endswith(SOURCES) and os.path.dirname(path) not in ("tests", ".ci", "deploy"):
            continue
        if path.startswith("tests/conformance/cases/"):
            continue
        with open(os.path.join(top, path), errors="replace") as f:
            lines = f.read().split("\n")
        in_code = path.split("/")[0] in CODE and path.endswith((".c", ".h"))
        owner = folder_of(path)
        if in_code:
            folders.add(os.path.dirname(path))
            checks += 1
            if owner is None:
                bad.append("%s: its folder is not in the module map" % path)
        for n, line in enumerate(lines, 1):
            m = INCLUDE.match(line)
            if m and in_code and owner:
                checks += 1
                complaint = check_include(path, owner, m.group(1), m.group(2), top)
                if complaint:
                    bad.append("%s:%d: %s" % (path, n, complaint))
            m = WORDS.search(line)
            if m and (path, m.group(0)) not in SPOKEN:
                bad.append("%s:%d: the word \"%s\"" % (path, n, m.group(0)))
            m = MACHINE.search(line)
            if m:
                bad.append("%s:%d: a path of one machine: %s" % (path, n, m.group(0)))
    more, worse = check_leaves(top, files)
    checks, bad = checks + more, bad + worse
    for folder in sorted(folders):
        checks += 1
        # Small leaves (one engine, one method) may be told of in the README.md above.
        if not any(os.path.exists(os.path.join(top, d, "README.md"))
                   for d in (folder, os.path.dirname(folder)) if d and d not in ("node",)):
            bad.append("%s: no README.md" % folder)
    return checks, bad


# Adding an engine touches its folder and one line (node/README.md): the folder, the list, who names one of them
# elsewhere. And the smallest shows how little that is.
LISTS = {"node/engines": ("engines.def", "ENGINE"), "node/auth": ("auth.def", "AUTH"),
         "node/audit": ("audit.def", "AUDIT")}
SMALLEST_MAX = 150  # lines of the smallest secrets engine, all of its files of code


def check_leaves(top, files):
    checks, bad, sizes = 0, [], []
    texts = {}
    for path in files:
        if path.startswith("node/") and path.endswith((".c", ".h", ".build")):
            with open(os.path.join(top, path), errors="replace") as f:
                texts[path] = f.read()
    for group, (table, macro) in LISTS.items():
        if not os.path.exists(os.path.join(top, group, table)):
            continue
        with open(os.path.join(top, group, table)) as f:
            names = re.findall(r"^%s\((\w+)\)$" % macro, f.read(), re.M)
        folders = {path[len(group) + 1:].split("/")[0] for path in files
                   if path.startswith(group + "/") and path.count("/") > 2}
        checks += 1
        for name in sorted(folders.symmetric_difference(names)):
            bad.append("%s: %s is in %s and not in the other" % (group, name, table if name in names else "the tree"))
        for name in names:
            own = "%s/%s/" % (group, name)
            symbol = re.compile(r"\b%s_%s\b" % (macro.lower(), name))
            checks += 1
            for path, text in texts.items():
                if not path.startswith(own) and (symbol.search(text) or '"%s' % own in text):
                    bad.append("%s: names %s, which only its folder and %s may" % (path, own, table))
            if group == "node/engines":
                sizes.append((sum(text.count("\n") for path, text in texts.items()
                                  if path.startswith(own) and path.endswith((".c", ".h"))), name))
    if sizes:
        checks += 1
        if min(sizes)[0] >= SMALLEST_MAX:
            bad.append("node/engines: the smallest, %s, has %d lines: below %d is what one can be"
                       % (min(sizes)[1], min(sizes)[0], SMALLEST_MAX))
    return checks, bad


def self_test():
    """Each offence alone in a made-up tree must be found, and a good file must not be."""
    cases = [
        ("good", "node/core/a.c", '#include "node/barrier/b.h"\n', ["node/barrier/b.h"], 0),
        ("upward", "node/base/a.c", '#include "node/core/b.h"\n', ["node/core/b.h"], 1),
        ("sideways", "consensus/core/a.c", '#include "replication/core/b.h"\n',
         ["replication/core/b.h"], 1),
        ("impure", "consensus/core/a.c", "#include <time.h>\n", [], 1),
        ("prints", "replication/core/a.h", "#include <stdio.h>\n", [], 1),
        ("openssl", "node/core/a.c", "#include <openssl/evp.h>\n", [], 1),
        ("rocksdb", "consensus/driver/a.c", "#include <rocksdb/c.h>\n", [], 1),
        ("internal", "node/core/a.c", '#include "node/barrier/b_int.h"\n',
         ["node/barrier/b_int.h"], 1),
        ("engines", "node/engines/kv/a.c", '#include "node/engines/pki/b.h"\n',
         ["node/engines/pki/b.h"], 1),
        ("engine to storage", "node/engines/kv/a.c", '#include "node/storage/b.h"\n',
         ["node/storage/b.h"], 1),
        ("missing", "node/core/a.c", '#include "nowhere.h"\n', [], 1),
        ("word", "node/core/a.c", "/* TO" "DO later */\n", [], 1),
        ("path", "node/core/a.c", "/* see /wo" "rk/main/x */\n", [], 1),
        ("no readme", "tools/a.c", "int a;\n", [], 1),
        ("unlisted engine", "node/engines/engines.def", "ENGINE(kv)\n",
         ["node/engines/kv/kv.c", "node/engines/pki/pki.c"], 1),
        ("engine named elsewhere", "node/core/a.c", '&engine_kv;\n',
         ["node/engines/engines.def=ENGINE(kv)\n", "node/engines/kv/kv.c"], 1),
        ("no small engine", "node/engines/kv/kv.c", "int a;\n" * 150,
         ["node/engines/engines.def=ENGINE(kv)\n"], 1),
    ]
    passed = failed = 0
    for name, path, text, headers, want in cases:
        with tempfile.TemporaryDirectory() as top:
            for extra in headers + [path]:
                extra, _, content = extra.partition("=")
                full = os.path.join(top, extra)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                if name != "no readme":
                    open(os.path.join(os.path.dirname(full), "README.md"), "w").close()
                with open(full, "w") as f:
                    f.write(text if extra == path else content)
            _, bad = check(top)
        if len(bad) == want:
            passed += 1
        else:
            failed += 1
            print("FAIL self-test %s: found %s" % (name, bad))
    return passed, failed


def main():
    passed, failed = self_test()
    if "--self-test" not in sys.argv[1:]:
        checks, bad = check(TOP)
        for line in bad[:60]:
            print("FAIL " + line)
        if len(bad) > 60:
            print("... and %d more" % (len(bad) - 60))
        # One test a kind would hide how much was read; thousands of includes would drown the
        # sum of the whole run. So: one test for the tree, and one failure for each complaint.
        print("read %d includes and files" % checks)
        passed, failed = passed + (0 if bad else 1), failed + len(bad)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
