#!/usr/bin/env python3
"""The transition table of replication (replication.md 2.5): every call in every state gives what the table says, and a kill -9
after any step of a call leaves one of the two neighbouring states, from which the call, made again, gets to its end."""
import http.client
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import Refused, World, arguments, disk_tool, wait_for  # noqa: E402
import replicas  # noqa: E402
from replicas import DISABLED_TEXT, status, streaming  # noqa: E402

KINDS = ("performance", "dr")
FILLED_TEXT = "this cluster is being filled"
POLICY = 'path "sys/replication/*" { capabilities = ["update", "sudo"] }'


def batch_token(node):
    """Good on a DR secondary as dr_operation_token, for all of its calls."""
    node.write("sys/policies/acl/failover", {"policy": POLICY})
    return node.write("auth/token/create-orphan", {"type": "batch", "ttl": "2h", "policies": ["failover"]}
                      )["auth"]["client_token"]


def base(kind):
    return "sys/replication/%s/" % kind


def mode(node, kind):
    """What the cluster is: the mode, and of a secondary whether it has a primary."""
    seen = status(node, kind)
    if seen["mode"] != "secondary":
        return seen["mode"]
    return "secondary" if seen["secondary_id"] and seen["primary_cluster_addr"] else "detached"


# ---------------------------------------------------------------- every call in every state

# What a call that is refused says, by the state of the kind that it is for. Calls that a state allows stand as None.
SECOND = {"performance": "cluster is not a performance secondary", "dr": "Not a DR secondary."}
CALLS = ("primary/enable", "primary/demote", "primary/disable", "primary/secondary-token", "primary/revoke-secondary",
         "secondary/enable", "secondary/promote", "secondary/disable", "secondary/update-primary")


def expected(kind, state, call, promoted=False):
    if promoted and call == "secondary/promote":
        return None  # once more
    not_primary = "cluster is not a %s primary" % kind
    if call == "primary/enable":
        return {"disabled": None, "primary": None}.get(state, "cluster is a %s secondary" % kind)
    if call.startswith("primary/"):
        if call == "primary/demote" and state == "detached":
            return None  # once more
        return None if state == "primary" else not_primary
    if call == "secondary/enable":
        return {"disabled": None, "primary": "cluster is a %s primary" % kind}.get(
            state, "cluster is a %s secondary already" % kind)
    return None if state in ("secondary", "detached", "bootstrapping") else SECOND[kind]


def fields_of(call, on_dr, operation):
    fields = {"id": "nobody"} if call in ("primary/revoke-secondary", "primary/secondary-token") else {}
    if call == "secondary/enable" or call == "secondary/update-primary":
        fields["token"] = "nonsense"
    if on_dr:
        fields["dr_operation_token"] = operation
    return fields


def every_call(t, cluster, name, states, operation="", promoted=()):
    """Refused calls are made; those that are allowed are left to the walks below."""
    node = cluster.nodes[0]
    on_dr = states["dr"] in ("secondary", "detached")
    with t.check("every call in state %s" % name):
        equal({kind: mode(node, kind) for kind in KINDS}, {k: "disabled" if on_dr and k == "performance" else v
                                                           for k, v in states.items()})
        before = node.applied()
        for kind in KINDS:
            for call in CALLS:
                text = expected(kind, states[kind], call, kind in promoted)
                is_closed = on_dr and (kind == "performance" or call.startswith("primary/") or
                                       call == "secondary/enable")
                if is_closed:
                    text = DISABLED_TEXT
                    if call == "primary/demote" and states[kind] == "detached":
                        continue
                if kind == "dr" and states["performance"] == "bootstrapping":
                    text = {"primary/enable": FILLED_TEXT, "secondary/enable": "cluster is a performance secondary"}.get(
                        call, text)
                if text is None:
                    continue
                code, body, _ = node.ask("POST", base(kind) + call, fields_of(call, on_dr, operation))
                got = "; ".join(body.get("errors") or [])
                want = 503 if text == FILLED_TEXT else 400
                true(code == want and text in got, "%s%s: %d %r, want %r" % (base(kind), call, code, got, text))
        equal({kind: mode(node, kind) for kind in KINDS}, {k: "disabled" if on_dr and k == "performance" else v
                                                           for k, v in states.items()})
        true(node.applied() - before < 40, "refused calls have written")


# ---------------------------------------------------------------- a crash at a step

class Victim:
    """A cluster of one node that dies at a step, comes up and is asked again."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.node = cluster.nodes[0]
        self.file = os.path.join(self.node.dir, "step")
        self.kills = 0

    def arm(self, step):
        with open(self.file + ".new", "w") as f:
            f.write(step)
        os.rename(self.file + ".new", self.file)

    def disarm(self):
        """True when the step was not reached; it is not going to be any more."""
        try:
            os.unlink(self.file)
            return True
        except FileNotFoundError:
            return False

    def up_again(self):
        self.node.proc.wait(20)
        self.node.proc = None
        self.node.start()
        self.cluster.unseal(self.node)
        self.cluster.active()
        self.kills += 1

    def ask(self, path, fields):
        """The answer; None when it died before it answered."""
        try:
            return self.node.ask("POST", path, fields, timeout=30)
        except (OSError, http.client.HTTPException):
            return None

    def call(self, step, kind, call, fields, before, after, also=(), refused=()):
        """Makes the call with a kill -9 at `step` ("": none); then the state is `before`, `after` or one of `also`, which is
        on the way; then makes it again until the state is `after`. `refused`: what the repetition may answer, because the
        tokens of the cluster are others by then."""
        path = base(kind) + call
        if step:
            self.arm(step)
        answer = self.ask(path, fields)
        if answer is not None:
            true(answer[0] in (200, 204), "%s: %r" % (path, answer[:2]))
        if step:
            self.wait_for_end(step)
        seen = mode(self.node, kind)
        true(seen in (before, after) + also, "after %s at %s: %s, want %s or %s" % (path, step, seen, before, after))

        def again():
            code, body, _ = self.node.ask("POST", path, fields, timeout=30)
            if code not in (200, 204) + refused and mode(self.node, kind) not in (after,) + also:
                raise AssertionError("%s again: %d %r" % (path, code, body))
            return mode(self.node, kind) == after
        wait_for("%s to get to its end after %s" % (path, step), again, 40, 0.2)

    def wait_for_end(self, step):
        """Steps behind the answer come in a moment, or never where the call has no such step."""
        try:
            wait_for("the end at " + step, lambda: self.node.proc.poll() is not None, 2)
        except TimeoutError:
            if self.disarm():
                return
            wait_for("the end at " + step, lambda: self.node.proc.poll() is not None, 10)
        self.up_again()


def steps_of(kind, steps, opts):
    """All of them with --long; else those of a first kind, and every other of the second."""
    return steps if opts.long or kind == KINDS[0] else steps[::2]


PLAIN = ("decided", "applied", "refreshed")
FULL = ("redeemed", "decided", "applied", "written", "refreshed", "own", "stage", "page", "switch", "switched", "batch")


def primary_walk(t, cluster, opts):
    """disabled -> primary -> secondary without a primary -> primary -> disabled, with a crash at each step of each."""
    v = Victim(cluster)
    for kind in KINDS:
        with t.check("crash at each step: %s: primary/enable, demote, promote, primary/disable" % kind):
            kills = v.kills
            operation = {"dr_operation_token": batch_token(v.node)} if kind == "dr" else {}
            for step in PLAIN:
                v.call(step, kind, "primary/enable", {}, "disabled", "primary")
                v.call(step, kind, "primary/demote", operation, "primary", "detached")
                v.call(step, kind, "secondary/promote", operation, "detached", "primary")
                v.call(step, kind, "primary/disable", {}, "primary", "disabled")
            true(v.kills - kills >= 3 * 4 - 1, "only %d crashes" % (v.kills - kills))
            t.note("%s: %d crashes" % (kind, v.kills - kills))


def secondary_walk(t, a, b, kind, opts):
    """disabled -> bootstrapping -> secondary -> disabled, with a crash at each step; and update-primary in its three
    forms."""
    v, count = Victim(b), [0]
    operation = {"dr_operation_token": batch_token(a.nodes[0])} if kind == "dr" else {}

    def token():
        count[0] += 1
        return {"token": replicas.secondary_token(a, kind, "%s%d" % (kind, count[0]))}

    def own_token():
        """Of the kind performance each first copy voids the cluster's own tokens; of the kind DR they become the
        primary's."""
        b.root = replicas.login(b) if kind == "performance" else a.root

    steps = steps_of(kind, FULL, opts)
    with t.check("crash at each step: %s: secondary/enable, secondary/disable" % kind):
        kills = v.kills
        for i, step in enumerate(steps):
            fields = token()
            v.call(step, kind, "secondary/enable", fields, "disabled", "secondary", also=("bootstrapping",),
                   refused=(403,))
            streaming(b, kind)
            own_token()
            v.call(PLAIN[i % len(PLAIN)], kind, "secondary/disable", operation, "secondary", "disabled")
        true(v.kills - kills >= 2 * len(steps) - 1, "only %d crashes" % (v.kills - kills))
        t.note("%s: %d crashes" % (kind, v.kills - kills))
    with t.check("crash at each step: %s: update-primary with nothing, a token, addresses" % kind):
        kills = v.kills
        v.call("", kind, "secondary/enable", token(), "disabled", "secondary", also=("bootstrapping",), refused=(403,))
        streaming(b, kind)
        own_token()
        addresses = [node.cluster_addr for node in a.nodes]
        for step in steps_of(kind, ("redeemed", "decided", "applied", "written", "refreshed", "own"), opts):
            v.call(step, kind, "secondary/update-primary", dict(operation, token=""), "secondary", "detached")
            v.call(step, kind, "secondary/update-primary", dict(operation, **token()), "detached", "secondary")
            streaming(b, kind)
            v.call(step, kind, "secondary/update-primary", dict(operation, update_primary_addrs=addresses + [
                "127.0.0.1:%d" % (1 + count[0])]), "secondary", "secondary")
            streaming(b, kind)
        true(v.kills - kills >= 6, "only %d crashes" % (v.kills - kills))
        t.note("%s: %d crashes" % (kind, v.kills - kills))
        a.nodes[0].put_kv("last", "1")
        replicas.in_step(a, b, kind)
    v.call("", kind, "secondary/disable", operation, "secondary", "disabled")


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def cluster(name, **kwargs):
            made = world.cluster(name, nodes=1, **kwargs)
            for node in made.nodes:
                node.binary = disk_tool("coffer-steps")
                node.env["COFFER_STEP_FILE"] = os.path.join(node.dir, "step")
            return made.up(kv=False)

        def table():
            a, b = cluster("a"), cluster("b")
            node = a.nodes[0]
            replicas.add_operator(a)
            operation = batch_token(node)
            every_call(t, a, "disabled", {"performance": "disabled", "dr": "disabled"})
            replicas.enable_primary(a, "performance")
            every_call(t, a, "performance primary", {"performance": "primary", "dr": "disabled"})
            replicas.enable_primary(a, "dr")
            every_call(t, a, "primary of both kinds", {"performance": "primary", "dr": "primary"})
            with t.check("of both kinds the performance primary is demoted first"):
                code, body, _ = node.ask("POST", base("dr") + "primary/demote", {})
                true(code == 400 and "demote the performance primary first" in body["errors"][0], body)
            node.write(base("performance") + "primary/demote")
            every_call(t, a, "demoted performance primary", {"performance": "detached", "dr": "primary"})
            node.write(base("dr") + "primary/demote")
            every_call(t, a, "demoted", {"performance": "detached", "dr": "detached"}, operation)
            node.write(base("dr") + "secondary/promote", {"dr_operation_token": operation}, token="")
            # Who takes the line of the shared primary over takes its part in the set over, too.
            every_call(t, a, "promoted", {"performance": "primary", "dr": "primary"}, promoted=("dr",))
            # A secondary that hears nobody: sealed to its key, so that nothing but the cluster port is asked.
            second = b.nodes[0]
            key = second.write(base("performance") + "secondary/generate-public-key")["data"]["secondary_public_key"]
            sealed = node.write(base("performance") + "primary/secondary-token",
                                {"id": "b", "secondary_public_key": key})["data"]["token"]
            node.pause()
            second.write(base("performance") + "secondary/enable", {"token": sealed})
            every_call(t, b, "bootstrapping", {"performance": "bootstrapping", "dr": "disabled"})
            with t.check("bootstrapping: no promotion, with or without force; disable gives the old cluster back"):
                for fields in ({}, {"force": True}):
                    code, body, _ = second.ask("POST", base("performance") + "secondary/promote", fields)
                    true(code == 503 and body["errors"][0].startswith("replication is still catching up"), body)
                second.write(base("performance") + "secondary/disable")
                equal(mode(second, "performance"), "disabled")
                second.read("auth/token/lookup-self")  # its own root token
            second.write(base("performance") + "secondary/enable", {"token": sealed})
            node.resume()
            streaming(b, "performance")
            b.root = replicas.login(b)
            every_call(t, b, "performance secondary", {"performance": "secondary", "dr": "disabled"})
            replicas.enable_primary(b, "dr")
            every_call(t, b, "performance secondary and DR primary", {"performance": "secondary", "dr": "primary"})
            world.end(a)
            world.end(b)

        def primary():
            one = cluster("p")
            primary_walk(t, one, opts)
            world.end(one)

        def secondary():
            p, s = cluster("s"), cluster("t")
            replicas.add_operator(p)
            p.nodes[0].write("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
            wait_for("the mount to take writes", lambda: p.nodes[0].put_kv("ready", "1"), 20)
            for kind in KINDS:
                replicas.enable_primary(p, kind)
                secondary_walk(t, p, s, kind, opts)
            world.end(p)
            world.end(s)

        for name, call in (("table", table), ("primary", primary), ("secondary", secondary)):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
