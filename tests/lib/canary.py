"""Unique texts, and where they turn up again: in files, and in the memory of a process."""
import base64
import os
import re

PART = 1 << 20


def canary(name):
    """Nobody else has it, and it is found in its base64 as well."""
    return "canary-%s-%s" % (name, os.urandom(12).hex())


def forms(name, text):
    """The ways in which a secret text may lie somewhere: as it is, and in base64 at each of the three offsets."""
    raw = text.encode()
    found = {name: raw}
    for shift in range(3):
        inner = base64.b64encode(b"\0" * shift + raw)[4:-4]
        found["%s in base64" % name] = inner if shift == 0 else found["%s in base64" % name]
        found["%s in base64, shifted %d" % (name, shift)] = inner
    return found


def wanted(secrets):
    return {how: what for name, text in secrets.items() for how, what in forms(name, text).items()}


def search(stream, size, needles):
    """Which of the needles are in so many bytes from here."""
    longest = max(len(n) for n in needles.values())
    found, tail = set(), b""
    while size > 0:
        part = stream.read(min(PART, size))
        if not part:
            break
        size -= len(part)
        text = tail + part
        found |= {name for name, needle in needles.items() if needle in text}
        tail = text[-longest:]
    return found


def on_disk(folder, needles):
    found = []
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    found += [(os.path.relpath(path, folder), what) for what in search(f, 1 << 40, needles)]
    return sorted(found)


def is_sanitized(pid):
    """A sanitizer maps terabytes for itself, and keeps stack frames and freed memory on purpose: nothing to be searched."""
    with open("/proc/%d/maps" % pid, encoding="ascii") as maps:
        spans = [line.split()[0].split("-") for line in maps]
    return any(int(end, 16) - int(first, 16) > 1 << 40 for first, end in spans)


def in_memory(pid, needles):
    """Where in the process, by mapping: whoever is root can look, whatever the process says of itself."""
    found = []
    with open("/proc/%d/maps" % pid, encoding="ascii") as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \d+ *(.*)", line)
            if match is None or match.group(3) in ("[vvar]", "[vsyscall]"):
                continue
            first, end = int(match.group(1), 16), int(match.group(2), 16)
            try:
                mem.seek(first)
                found += [(match.group(3) or "anonymous", what) for what in search(mem, end - first, needles)]
            except OSError:
                pass  # gone meanwhile, or a guard
    return sorted(found)
