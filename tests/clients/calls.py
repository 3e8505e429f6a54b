"""Which methods of hvac the suites called: found by reflection, so that a new method shows as missing.

A call counts when a test makes it; what the library calls inside itself does not. A method that no suite
calls stands in NOT_CALLED with its reason, and one that stands there may not be called.
"""
import collections
import functools
import inspect
import threading

import hvac
from hvac.api.auth_methods import AppRole, Cert, Token, Userpass
from hvac.api.secrets_engines import Identity, KvV1, KvV2
from hvac.api.system_backend import SystemBackend

from checks import equal

CLASSES = (SystemBackend, KvV1, KvV2, Identity, AppRole, Token, Userpass, Cert, hvac.Client)

# The library's own helpers, which it calls itself whenever it likes: neither asked for nor counted.
HELPERS = {"get_private_attr_name"}
NOT_CALLED = {
    "Identity.validate_member_id_params_for_group_type": "asks no server: a check of the library",
}

made = collections.Counter()
_inside = threading.local()


def methods(kind):
    """Public ones; classes nested in it (errors) and properties are none."""
    found = []
    for name in dir(kind):
        value = inspect.getattr_static(kind, name)
        if not name.startswith("_") and name not in HELPERS and (inspect.isfunction(value) or isinstance(value, staticmethod)):
            found.append(name)
    return found


def _counted(label, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        if getattr(_inside, "yes", False):
            return function(*args, **kwargs)
        made[label] += 1
        _inside.yes = True
        try:
            return function(*args, **kwargs)
        finally:
            _inside.yes = False
    return call


def record():
    """From now on each call is counted."""
    for kind in CLASSES:
        for name in methods(kind):
            value = inspect.getattr_static(kind, name)
            if isinstance(value, staticmethod):
                setattr(kind, name, staticmethod(_counted("%s.%s" % (kind.__name__, name), value.__func__)))
            else:
                setattr(kind, name, _counted("%s.%s" % (kind.__name__, name), getattr(kind, name)))


def complete(t):
    """One check a class: every method was called, or has a reason."""
    for kind in CLASSES:
        labels = ["%s.%s" % (kind.__name__, name) for name in methods(kind)]
        with t.check("every method of %s" % kind.__name__):
            equal([x for x in labels if x not in made and x not in NOT_CALLED], [], "never called")
            equal([x for x in labels if x in made and x in NOT_CALLED], [], "called, yet listed as not called")
        t.note("%s: %d of %d methods, %d calls" % (kind.__name__, sum(x in made for x in labels), len(labels),
                                                   sum(made[x] for x in labels)))
