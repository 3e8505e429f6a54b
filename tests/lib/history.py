"""Concurrent clients that write down what they did and saw, for the checker in linear.py.

    load = Load(cluster, registers=8, cas=4)   # after mount(cluster)
    load.start(); ...faults...; load.stop()
    load.read_all()                            # every key on every node, into the history
    load.wrong(REGISTER) -> {key: lines}       # histories without an order

What an answer means: 2xx is done; 504, a lost connection and no answer in time are an unknown outcome; any other
status promises that nothing happened (promise P-4), and the history holds the server to it.
"""
import http.client
import random
import threading
import time

from cluster import SLOW
from linear import CAS, CAS_FAILED, CAS_REGISTER, READ, REGISTER, WRITE, linearizable, op

KEYS = 3
TURN_S = 8.0  # then clients go on with fresh keys, so that no history gets long
TIMEOUT_S = 2.5
PAUSE_S = 0.03


def mount(cluster):
    cluster.any().write("sys/mounts/reg", {"type": "kv", "options": {"version": "1"}})
    cluster.any().write("sys/mounts/cas", {"type": "kv", "options": {"version": "2"}})


class Load:
    def __init__(self, cluster, registers=8, cas=4):
        self.cluster = cluster
        self.done = threading.Event()
        self.lock = threading.Lock()
        self.histories = {REGISTER: {}, CAS_REGISTER: {}}
        self.counts = {"ok": 0, "failed": 0, "unknown": 0}
        self.refusals = {}
        self.acks = []  # when acknowledged writes were sent
        self.surprises = []
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.client, args=(self.register, "r%d" % i), daemon=True)
                        for i in range(registers)]
        self.threads += [threading.Thread(target=self.client, args=(self.cas, "c%d" % i), daemon=True)
                         for i in range(cas)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join(60 * SLOW)

    def acknowledged_after(self, moment):
        """Acknowledged writes that were sent after it."""
        with self.lock:
            return sum(sent > moment for sent in self.acks[-2000:])

    # ------------------------------------------------------------ clients

    def client(self, call, who):
        rng = random.Random(who)
        number = 0
        while not self.done.is_set():
            number += 1
            turn = int((time.monotonic() - self.began) / TURN_S)
            node = rng.choice(self.cluster.nodes)
            call(rng, node, "%d-%d" % (turn, rng.randrange(KEYS)), who, "%s-%d" % (who, number))
            time.sleep(rng.random() * PAUSE_S)

    def ask(self, node, method, path, body=None, timeout=TIMEOUT_S):
        """(called, answered, status, body); status 0: nobody can tell, -1: surely nothing happened."""
        called = time.monotonic()
        try:
            status, answer, _ = node.ask(method, path, body, timeout=timeout)
        except ConnectionRefusedError:
            status, answer = -1, None
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            status, answer = 0, None
        status = 0 if status == 504 else status
        kind = "ok" if 200 <= status < 300 or status == 404 else "unknown" if status == 0 else "failed"
        with self.lock:
            self.counts[kind] += 1
            if kind == "failed":
                self.refusals[status] = self.refusals.get(status, 0) + 1
            if kind == "ok" and method != "GET":
                self.acks.append(called)
        return called, time.monotonic(), status, answer

    def note(self, model, key, *what):
        with self.lock:
            self.histories[model].setdefault(key, []).append(op(*what))

    def register(self, rng, node, key, who, value):
        if rng.random() < 0.5:
            self.read_register(node, key, who)
            return
        called, answered, status, _ = self.ask(node, "POST", "reg/" + key, {"v": value})
        if 200 <= status < 300:
            self.note(REGISTER, key, called, answered, WRITE, value, None, who)
        elif status == 0:
            self.note(REGISTER, key, called, None, WRITE, value, None, who)

    def read_register(self, node, key, who, timeout=TIMEOUT_S):
        called, answered, status, body = self.ask(node, "GET", "reg/" + key, timeout=timeout)
        if status in (200, 404):
            value = body["data"]["v"] if status == 200 else None
            self.note(REGISTER, key, called, answered, READ, value, None, who)
        return status

    def read_cas(self, node, key, who, timeout=TIMEOUT_S):
        """The version it saw, or None."""
        called, answered, status, body = self.ask(node, "GET", "cas/data/" + key, timeout=timeout)
        if status not in (200, 404):
            return None
        version, value = 0, None
        if status == 200:
            version, value = body["data"]["metadata"]["version"], body["data"]["data"]["v"]
        self.note(CAS_REGISTER, key, called, answered, READ, value, version, who)
        return version

    def cas(self, rng, node, key, who, value):
        version = self.read_cas(node, key, who)
        if version is None or rng.random() < 0.3:
            return
        node = rng.choice(self.cluster.nodes)
        called, answered, status, body = self.ask(
            node, "POST", "cas/data/" + key, {"data": {"v": value}, "options": {"cas": version}})
        if 200 <= status < 300:
            self.note(CAS_REGISTER, key, called, answered, CAS, value, version, who)
            if body["data"]["version"] != version + 1:
                self.surprises.append("%s: cas %d answered version %r" % (key, version, body["data"]))
        elif status == 0:
            self.note(CAS_REGISTER, key, called, None, CAS, value, version, who)
        elif status == 400 and "check-and-set" in str(body):
            self.note(CAS_REGISTER, key, called, answered, CAS_FAILED, value, version, who)
        elif status == 400:
            self.surprises.append("%s: cas %d answered 400 %r" % (key, version, body))

    # ------------------------------------------------------------ the end

    def read_all(self):
        """What is there in the end, on every node; returns what could not be read."""
        missing = []
        for node in self.cluster.nodes:
            for key in list(self.histories[REGISTER]):
                if self.read_register(node, key, "end", 20) not in (200, 404):
                    missing.append("%s: reg/%s" % (node.name, key))
            for key in list(self.histories[CAS_REGISTER]):
                if self.read_cas(node, key, "end", 20) is None:
                    missing.append("%s: cas/%s" % (node.name, key))
        return missing

    def operations(self, model):
        return sum(len(h) for h in self.histories[model].values())

    def wrong(self, model):
        found = {}
        for key, history in self.histories[model].items():
            lines = linearizable(history, model)
            if lines is not None:
                found[key] = lines
        return found
