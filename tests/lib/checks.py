"""Counts checks of a Python test script: `with t.check("what must hold"): ...`, one test each.

A script ends with `sys.exit(t.finish())`, which prints "N passed, N failed" as its last line. A
check that raises fails and the script goes on with the next; what a scenario cannot do without
stands outside of checks, inside `with t.scenario("name")`, and counts as one failure when it raises.
"""
import contextlib
import sys
import time
import traceback


class Checks:
    def __init__(self, only=""):
        self.passed = 0
        self.failed = 0
        self.only = only
        self.prefix = ""
        self.on_failure = None  # called once for each failure: show logs, keep folders

    def _fail(self, name, error):
        self.failed += 1
        print("FAIL %s%s: %s: %s" % (self.prefix, name, type(error).__name__, error))
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/lib/python" not in f.filename][-3:]
        for frame in ours:
            print("     %s:%d %s" % (frame.filename.split("/tests/")[-1], frame.lineno, frame.line))
        if self.on_failure:
            self.on_failure()
        sys.stdout.flush()

    @contextlib.contextmanager
    def check(self, name):
        began = time.monotonic()
        try:
            yield
        except Exception as e:  # an assertion, a wrong answer, a time limit: all the same here
            self._fail(name, e)
            return
        self.passed += 1
        print("pass %s%s (%.1f s)" % (self.prefix, name, time.monotonic() - began))
        sys.stdout.flush()

    @contextlib.contextmanager
    def scenario(self, name):
        outer, self.prefix = self.prefix, self.prefix + name + ": "
        try:
            yield
        except Exception as e:
            self._fail("set-up or steps between checks", e)
        finally:
            self.prefix = outer

    def note(self, text):
        """A figure worth keeping, on a line of its own."""
        print("note %s%s" % (self.prefix, text))
        sys.stdout.flush()

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        return 1 if self.failed or not self.passed else 0


def equal(got, want, what=""):
    if got != want:
        raise AssertionError("%sgot %r, want %r" % ("%s: " % (what,) if what else "", got, want))


def true(value, what):
    if not value:
        raise AssertionError(what)


def raises(kind, call, *args, **kwargs):
    """Runs call and returns the exception of that kind; anything else fails."""
    try:
        result = call(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError("%s expected, got %r" % (kind.__name__, result))
