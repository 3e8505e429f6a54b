"""Reads every secret of a kv v2 mount from several clusters and compares path by path, value by value.

Several processes, one kept TLS connection each, a few requests ahead of the answers: tens of thousands
of secrets take seconds, not minutes.
"""
import hashlib
import json
import multiprocessing
import socket
from urllib.parse import quote

import nodes

WORKERS = 3
AHEAD = 16  # requests sent before the first answer is awaited


class Reader:
    """One TLS connection that asks for many paths."""

    def __init__(self, port, token):
        raw = socket.create_connection(("127.0.0.1", port), 30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = nodes.tls_context().wrap_socket(raw, server_hostname="127.0.0.1")
        self.file = self.sock.makefile("rb")
        self.head = "X-Vault-Token: %s\r\nX-Vault-Request: true\r\nHost: 127.0.0.1\r\n\r\n" % token

    def send(self, paths):
        self.sock.sendall("".join("GET /v1/%s HTTP/1.1\r\n%s" % (quote(p), self.head) for p in paths).encode())

    def receive(self):
        """(status, body) of the next answer."""
        status = int(self.file.readline().split()[1])
        length = 0
        while True:
            line = self.file.readline()
            if line in (b"\r\n", b""):
                break
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        return status, self.file.read(length)


def digest(status, body):
    """What two clusters must agree on: the secret and its version, not the request's id."""
    if status != 200:
        return "status %d" % status
    data = json.loads(body)["data"]
    text = json.dumps([data["data"], data["metadata"]["version"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_part(job):
    """Runs in a worker: digests of some names at every place."""
    mount, names, places = job
    found = []
    for port, token in places:
        reader = Reader(port, token)
        got = []
        for at in range(0, len(names), AHEAD):
            part = names[at:at + AHEAD]
            reader.send("%s/data/%s" % (mount, n) for n in part)
            got += [digest(*reader.receive()) for _ in part]
        found.append(got)
    return list(zip(names, *found))


def list_names(node, mount, folder=""):
    """Every secret below a folder."""
    try:
        keys = node.call("LIST", "%s/metadata/%s" % (mount, quote(folder)), timeout=60)["data"]["keys"]
    except nodes.Refused as e:
        if e.status == 404:
            return []
        raise
    names = []
    for key in keys:
        if key.endswith("/"):
            names += list_names(node, mount, folder + key)
        else:
            names.append(folder + key)
    return names


def compare(nodes, mount, screen, names=None):
    """Returns (number of names, list of (name, digest, digest...) that are not equal everywhere).

    Without `names` the union of what each place lists is compared, so that a secret that only one of
    them has is found, too.
    """
    if names is None:
        names = sorted(set().union(*(list_names(n, mount) for n in nodes)))
    places = [(n.port, n.cluster.token) for n in nodes]
    size = max(AHEAD, min(1000, len(names) // (WORKERS * 4) or 1))
    jobs = [(mount, names[i:i + size], places) for i in range(0, len(names), size)]
    different, done = [], 0
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        for rows in pool.imap_unordered(read_part, jobs):
            done += len(rows)
            different += [r for r in rows if len(set(r[1:])) != 1 or r[1].startswith("status")]
            screen.progress("compared %d of %d secrets on %s" % (
                done, len(names), " and ".join(n.cluster.name.upper() for n in nodes)))
    screen.progress("compared %d of %d secrets on %s: %s" % (
        done, len(names), " and ".join(n.cluster.name.upper() for n in nodes),
        "%d differ" % len(different) if different else "all equal"), last=True)
    return len(names), different
