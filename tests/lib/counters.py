"""Clients whose writes show when one ran twice, was lost, or was answered with an error and is there nevertheless."""
import http.client
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
