"""Clients whose writes show when one ran twice, was lost, or was answered with an error and is there nevertheless."""
import http.client
import random
import threading
import time

from cluster import SLOW, wait_for

LOST = "lost"  # no answer: the connection broke


def ask(node, *args, **kwargs):
    """(status, body, headers); status LOST when the connection broke."""
    try:
        return node.ask(*args, **kwargs)
    except (OSError, http.client.HTTPException):
        return LOST, {}, {}


class Counter(threading.Thread):
    """Adds one to a counter of its own, by check-and-set, over one node; every write that ran twice would be
    refused the second time, and what was refused must not be there. Ends at a 504, whose outcome is unknown."""

    def __init__(self, node, key):
        super().__init__(daemon=True)
        self.node, self.key = node, key
        self.done = threading.Event()
        self.version = 0
        self.is_unknown = False
        self.answers = {}
        self.wrong = []

    def run(self):
        while not self.done.is_set():
            body = {"data": {"n": self.version + 1}, "options": {"cas": self.version}}
            status, answer, _ = ask(self.node, "POST", "secret/data/" + self.key, body, timeout=60)
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200:
                self.version += 1
                if answer["data"]["version"] != self.version:
                    self.wrong.append(answer)
            elif status == 503:
                time.sleep(0.05)
            elif status == 504:
                self.is_unknown = True
                return
            else:
                self.wrong.append((status, answer))
                return

    def until(self, count):
        wait_for("%d writes of %s" % (count, self.key),
                 lambda: self.version >= count or self.is_unknown or self.wrong, 60)

    def stop(self):
        self.done.set()
        self.join(90 * SLOW)
        return self.version

    def verdict(self, node):
        """What is wrong, going by what `node` has: None when everything is as it was answered."""
        if self.wrong:
            return "answers of %s: %r" % (self.key, self.wrong)
        def look():
            status, body, _ = ask(node, "GET", "secret/metadata/" + self.key)
            return (status, body) if status in (200, 404) else None
        status, body = wait_for("what is there of " + self.key, look, 30)
        there = body["data"]["current_version"] if status == 200 else 0
        if there != self.version and not (self.is_unknown and there == self.version + 1):
            return "%s: %d acknowledged, %d there" % (self.key, self.version, there)
        return None


class Chain(threading.Thread):
    """Writes one key of its own again and again over any node of a cluster, and goes on after unknown outcomes: each
    version that the key gets must be one of its own writes. With `cas` a write that ran twice, or after it was given up, is
    refused; without, it shows as a version too many. `judge` is the cluster that says what is there (the primary)."""

    def __init__(self, cluster, key, cas, judge):
        super().__init__(daemon=True)
        self.cluster, self.key, self.cas, self.judge = cluster, key, cas, judge
        self.rng = random.Random(key)
        self.done = threading.Event()
        self.number = 0     # of the last write tried: its value
        self.version = 0    # the last one known to be there
        self.acknowledged = 0
        self.open = []      # values of unknown outcome that may still come
        self.answers = {}
        self.wrong = []

    def run(self):
        while not self.done.is_set() and not self.wrong:
            self.number += 1
            body = {"data": {"n": self.number}, "options": {"cas": self.version} if self.cas else {}}
            status, answer = self.ask(self.rng.choice(self.cluster.nodes), "POST", "secret/data/" + self.key, body)
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200:
                self.advance(answer["data"]["version"])
            elif status in (LOST, 504):
                self.open.append(self.number)
            elif status == 400 and self.cas and "check-and-set" in str(answer):
                self.resolve()
            elif status == 400:
                self.wrong.append((status, answer))
            self.done.wait(0.05 if status == 200 else 0.2)  # any other answer promises that nothing happened

    def ask(self, node, *args):
        try:
            return node.ask(*args, timeout=5)[:2]
        except ConnectionRefusedError:
            return "refused", {}
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return LOST, {}

    def advance(self, version):
        """Our write got that version; between it and the last one there may be some of the open ones."""
        others = version - self.version - 1
        if others < 0 or others > (0 if self.cas else len(self.open)):
            self.wrong.append("write %d became version %d after %d, open were %r"
                              % (self.number, version, self.version, self.open))
        # Under check-and-set no open one can come any more. Which of the others came is not known, only how many.
        self.open = [] if self.cas else self.open[max(others, 0):]
        self.version = version
        self.acknowledged += 1

    def resolve(self):
        """Refused: one of the open ones was there before."""
        for _ in range(300):
            status, body = self.ask(self.rng.choice(self.judge.nodes), "GET", "secret/data/" + self.key)
            if status in (200, 404):
                break
            time.sleep(0.2)
        there = (0, None)
        if status == 200:
            there = body["data"]["metadata"]["version"], body["data"]["data"]["n"]
        if there[0] != self.version + 1 or there[1] not in self.open:
            self.wrong.append("write %d was refused; %r is there after version %d, open were %r"
                              % (self.number, there, self.version, self.open))
        self.version, self.open = self.version + 1, []

    def stop(self):
        self.done.set()
        self.join(90 * SLOW)

    def verdict(self, node):
        """What is wrong, going by what `node` has."""
        if self.wrong:
            return "%s: %s" % (self.key, self.wrong[0])
        body = wait_for("what is there of " + self.key, lambda: node.read("secret/metadata/" + self.key), 30)
        there = body["data"]["current_version"]
        if not 0 <= there - self.version <= (min(1, len(self.open)) if self.cas else len(self.open)):
            return "%s: version %d is known, %d there; open: %r" % (self.key, self.version, there, self.open)
        return None
