#!/usr/bin/env python3
"""Leases and their ends after a DR promotion: what was lent out on A goes on at C, ends when it should, and is taken back; what ended
while nobody was active is taken back soon after."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, World, arguments, wait_for  # noqa: E402
import replicas  # noqa: E402

LONG, SHORT = 45, 8  # seconds


def token(node, **fields):
    return node.write("auth/token/create", dict({"policies": ["admin"], "no_default_policy": True}, **fields))["auth"]


def user(node):
    return node.write("auth/userpass/login/operator", {"password": "operator-password"}, token="")["auth"]


def works(node, auth):
    return node.ask("GET", "auth/token/lookup-self", token=auth["client_token"])[0] == 200


def ttl(node, auth):
    return node.read("auth/token/lookup-self", token=auth["client_token"])["data"]["ttl"]


def accessors(node):
    return set(node.call("LIST", "auth/token/accessors")["data"]["keys"])


def main():
    arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        with t.scenario("leases"):
            a = world.cluster("a", nodes=1).up()
            c = world.cluster("c", nodes=1).up(kv=False)
            replicas.add_operator(a)
            replicas.enable_primary(a, "dr")
            replicas.attach(a, c, "dr", "c")
            node = a.nodes[0]
            node.write("auth/userpass/users/operator", {"password": "operator-password", "token_policies": "admin",
                                                        "token_ttl": "1h"})
            made = time.monotonic()
            long_one = token(node, ttl="%ds" % int(LONG * SLOW), explicit_max_ttl="%ds" % int(LONG * SLOW))
            short_one = token(node, ttl="%ds" % SHORT)
            child = node.write("auth/token/create", {"policies": ["admin"], "ttl": "1h"}, token=short_one["client_token"])["auth"]
            periodic = token(node, period="1h")
            login = user(node)
            parent = token(node, ttl="1h")
            heir = node.write("auth/token/create", {"policies": ["admin"], "ttl": "1h"}, token=parent["client_token"])["auth"]
            operation = replicas.operation_token(c)
            replicas.in_step(a, c, "dr")
            node.kill()
            while time.monotonic() < made + SHORT + 1:  # nobody is active while the short one ends
                time.sleep(0.2)
            replicas.promote_dr(c, operation)
            c.root = a.root
            node = c.nodes[0]
            with t.check("tokens, those of logins too, go on working; none has got more time by the outage"):
                for auth in (long_one, periodic, login, parent, heir):
                    true(works(node, auth), auth["accessor"])
                left, age = ttl(node, long_one), time.monotonic() - made
                true(0 < left <= LONG * SLOW, left)
                t.note("made %.1f s ago for %d s, %d s left" % (age, LONG * SLOW, left))
            with t.check("what ended meanwhile does not work, and is taken back soon, with what hangs on it"):
                wait_for("the short one to end", lambda: not works(node, short_one), 20)
                wait_for("its record and its child's to be gone",
                         lambda: not {short_one["accessor"], child["accessor"]} & accessors(node), 30)
                equal(works(node, child), False, "the child works")
            with t.check("the periodic one and that of the login are renewed"):
                for auth in (periodic, login):
                    renewed = node.write("auth/token/renew-self", {}, token=auth["client_token"])["auth"]
                    equal(renewed["lease_duration"], 3600)
            with t.check("a revocation takes back what hangs on it, too"):
                node.write("auth/token/revoke", {"token": parent["client_token"]})
                equal((works(node, parent), works(node, heir)), (False, False))
            with t.check("new ones are made, and logins work"):
                true(works(node, user(node)) and works(node, token(node, ttl="1h")), "a new token does not work")
            with t.check("the long one ends in its time, neither early nor never"):
                true(works(node, long_one), "it ended early")
                wait_for("its end", lambda: not works(node, long_one), LONG + 30)
                age = time.monotonic() - made
                true(age >= LONG * SLOW - 2, "it ended after %.1f s, made for %d s" % (age, LONG * SLOW))
                wait_for("its record to be gone", lambda: long_one["accessor"] not in accessors(node), 30)
                true(works(node, periodic), "the periodic one ended")
                t.note("ended after %.1f s" % age)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
