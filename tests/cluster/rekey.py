#!/usr/bin/env python3
"""New shares: who may start it, verification, crashes on the way, nodes that were away or come later."""
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import base64

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, raises, true  # noqa: E402
from cluster import Node, Refused, World, arguments, wait_for  # noqa: E402


CUTS = 8  # an entry is on the disk with the second or third call


def refused(t, node, method, path, body=None, token=None):
    return raises(Refused, node.call, method, path, body, token=token).status


def give(node, path, keys, nonce):
    """The answers to one share after the other."""
    return [node.call("PUT", path, {"key": key, "nonce": nonce}) for key in keys]


def replace(cluster, node, shares, threshold, **more):
    start = node.call("PUT", "sys/rekey/init",
                      dict({"secret_shares": shares, "secret_threshold": threshold}, **more))
    return give(node, "sys/rekey/update", cluster.keys[:cluster.threshold], start["nonce"])[-1]


def seal(node):
    """Seals it once it knows all that was acknowledged until now: a sealed node may lag behind."""
    equal(node.get_kv("ready"), "1")
    node.call("PUT", "sys/seal")


def ceremony(t, world):
    cluster = world.cluster("r", seal="shamir").up(3, 2)
    active = cluster.active()
    standby = next(n for n in cluster.nodes if n is not active)
    with t.check("nobody starts a rekey without a token"):
        equal(refused(t, active, "PUT", "sys/rekey/init",
                      {"secret_shares": 1, "secret_threshold": 1}, token=""), 403)
        equal(refused(t, active, "PUT", "sys/generate-root/attempt", {}, token=""), 403)
    with t.check("a standby takes it, too; shares count in any order and through any node"):
        start = standby.call("PUT", "sys/rekey/init", {"secret_shares": 5, "secret_threshold": 3})
        equal((start["t"], start["n"], start["required"], start["started"]), (3, 5, 2, True))
        equal(refused(t, active, "PUT", "sys/rekey/init",
                      {"secret_shares": 1, "secret_threshold": 1}), 400)
        equal(refused(t, active, "PUT", "sys/rekey/update",
                      {"key": cluster.keys[2], "nonce": "x"}), 400)
        equal(active.call("PUT", "sys/rekey/update", {"key": cluster.keys[2],
                                                      "nonce": start["nonce"]})["progress"], 1)
        equal(standby.read("sys/rekey/init")["progress"], 1)
    with t.check("a cancelled one changes nothing"):
        equal(active.ask("DELETE", "sys/rekey/init?nonce=other")[0], 403)
        equal(active.ask("DELETE", "sys/rekey/init")[0], 204)
        equal(active.read("sys/rekey/init")["started"], False)
    with t.check("the new shares open the seal, the old ones do not"):
        old = cluster.keys
        done = replace(cluster, active, 5, 3)
        equal((done["complete"], len(done["keys"]), len(done["keys_base64"])), (True, 5, 5))
        cluster.keys, cluster.threshold = done["keys_base64"], 3
        seal(standby)
        equal(standby.read("sys/seal-status", token="")["t"], 3)
        standby.ask("PUT", "sys/unseal", {"key": old[0]}, token="")
        standby.ask("PUT", "sys/unseal", {"key": old[1]}, token="")
        equal(standby.ask("PUT", "sys/unseal", {"key": old[2]}, token="")[0], 400)
        cluster.unseal(standby)
        wait_for("it to serve", lambda: standby.health() in (200, 429, 473))
        equal(standby.get_kv("ready"), "1")
    with t.check("with verification the old shares count until the new ones were given back"):
        old = cluster.keys
        done = replace(cluster, cluster.active(), 2, 2, require_verification=True)
        fresh = done["keys_base64"]
        true(done["verification_required"] and done["verification_nonce"], done)
        seal(standby)
        cluster.unseal(standby)  # with the old ones
        active = cluster.active()
        equal(refused(t, active, "PUT", "sys/rekey/verify",
                      {"key": fresh[0], "nonce": done["nonce"]}), 400)
        equal(give(active, "sys/rekey/verify", fresh[:1], done["verification_nonce"])[0]["progress"], 1)
        again = active.call("DELETE", "sys/rekey/verify")
        equal(again["progress"], 0)
        last = give(active, "sys/rekey/verify", fresh, again["nonce"])[-1]
        equal(last["complete"], True)
        cluster.keys, cluster.threshold = fresh, 2
        seal(standby)
        cluster.unseal(standby)
    with t.check("an active node that dies before the verification leaves the old shares in force"):
        done = replace(cluster, cluster.active(), 3, 2, require_verification=True)
        active = cluster.active()
        give(active, "sys/rekey/verify", done["keys_base64"][:1], done["verification_nonce"])
        active.kill()
        second = cluster.active(other_than=active)
        equal(second.read("sys/rekey/init")["started"], False)
        active.start()
        cluster.unseal(active)
        cluster.active()
    with t.check("a node that joins later is taken in by one that was unsealed before the rekey"):
        done = replace(cluster, cluster.active(), 3, 2)
        cluster.keys, cluster.threshold = done["keys_base64"], 2
        before = cluster.active()
        before.call("PUT", "sys/step-down")
        cluster.active(other_than=before)
        late = Node(cluster, "r9")
        cluster.nodes.append(late)
        late.start()
        cluster.unseal(late)
        wait_for("the fourth voter", lambda: len(cluster.voters()) == 4, 40)
        wait_for("its data", lambda: late.get_kv("ready") == "1", 30)
    world.end(cluster)


def recovery(t, world):
    cluster = world.cluster("s", nodes=1).up(2, 2)
    node = cluster.active()
    with t.check("a cluster that unseals itself replaces its recovery shares"):
        equal(refused(t, node, "PUT", "sys/rekey/init",
                      {"secret_shares": 1, "secret_threshold": 1}), 400)
        start = node.call("PUT", "sys/rekey-recovery-key/init",
                          {"secret_shares": 1, "secret_threshold": 1})
        done = give(node, "sys/rekey-recovery-key/update", cluster.keys, start["nonce"])[-1]
        equal((done["complete"], len(done["keys"])), (True, 1))
    with t.check("which prove themselves at the next one, after a restart"):
        node.stop()
        node.start()
        cluster.unseal(node)
        node = cluster.active()
        start = node.call("PUT", "sys/rekey-recovery-key/init",
                          {"secret_shares": 1, "secret_threshold": 1})
        equal(refused(t, node, "PUT", "sys/rekey-recovery-key/update",
                      {"key": cluster.keys[0], "nonce": start["nonce"]}), 400)
        done = give(node, "sys/rekey-recovery-key/update", done["keys_base64"], start["nonce"])[-1]
        equal(done["complete"], True)
    world.end(cluster)


def rotated(node, kind, keys, shares, threshold, **more):
    """The whole ceremony of sys/rotate/<kind>: its last answer."""
    base = "sys/rotate/%s/" % kind
    start = node.call("PUT", base + "init", dict({"secret_shares": shares, "secret_threshold": threshold}, **more))["data"]
    equal((start["started"], start["progress"], start["n"], start["t"]), (True, 0, shares, threshold))
    return [a["data"] for a in give(node, base + "update", keys, start["nonce"])][-1]


def rotate(t, world):
    """sys/rotate/...: what was written stays readable, and what was replaced opens nothing any more."""
    cluster = world.cluster("o", nodes=1, seal="shamir").up(3, 2)
    node = cluster.active()
    values = {"first": "1"}
    node.put_kv("first", "1")

    def readable():
        for key, value in values.items():
            equal(node.get_kv(key), value)

    def reopened():
        node.stop()
        node.start()
        cluster.unseal(node)
        cluster.active()
        readable()
    with t.check("rotate/keyring: a new key for what is written, the old ones go on reading, also after a restart"):
        for path in ("sys/rotate/keyring", "sys/rotate"):
            term = node.read("sys/key-status")["data"]["term"]
            equal(node.ask("POST", path)[0], 204)
            equal(node.read("sys/key-status")["data"]["term"], term + 1)
            values[path[4:].replace("/", "-")] = "2"
            node.put_kv(path[4:].replace("/", "-"), "2")
            readable()
        reopened()
        equal(node.read("sys/key-status")["data"]["term"], term + 1)
    with t.check("rotate/keyring/config and rotate/config are the same settings; what makes no sense changes nothing"):
        wanted = {"enabled": True, "max_operations": 2000000, "interval": "48h"}
        equal(node.ask("POST", "sys/rotate/keyring/config", wanted)[0], 204)
        seen = node.read("sys/rotate/config")["data"]
        equal((seen["enabled"], seen["max_operations"]), (True, 2000000))
        for bad in ({"interval": "1h"}, {"max_operations": 5}):
            equal(refused(t, node, "POST", "sys/rotate/keyring/config", bad), 400)
        equal(node.read("sys/rotate/keyring/config")["data"], seen)
    with t.check("rotate/root: a cancelled one changes nothing, a finished one refuses the old shares"):
        old = cluster.keys
        node.call("PUT", "sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1})
        equal(node.ask("DELETE", "sys/rotate/root/init")[0], 204)
        equal(node.read("sys/rotate/root/init")["data"]["started"], False)
        reopened()
        done = rotated(node, "root", old[:2], 5, 3)
        equal((done["complete"], len(done["keys_base64"])), (True, 5))
        readable()
        node.call("PUT", "sys/seal")
        for key in old[:2]:
            node.ask("PUT", "sys/unseal", {"key": key}, token="")
        equal(node.ask("PUT", "sys/unseal", {"key": old[2]}, token="")[0], 400)
        cluster.keys, cluster.threshold = done["keys_base64"], 3
        reopened()
    with t.check("rotate/root with verification: the old shares count until the new ones were given back"):
        done = rotated(node, "root", cluster.keys[:3], 2, 2, require_verification=True)
        reopened()  # the ceremony is over with the process, and nothing has changed
        done = rotated(node, "root", cluster.keys[:3], 2, 2, require_verification=True)
        given = give(node, "sys/rotate/root/verify", done["keys_base64"], done["verification_nonce"])
        equal(given[-1]["data"]["complete"], True)
        old, cluster.keys, cluster.threshold = cluster.keys, done["keys_base64"], 2
        equal(refused(t, node, "PUT", "sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1}), 400)
        reopened()
        start = node.call("PUT", "sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1})["data"]
        node.call("PUT", "sys/rotate/root/update", {"key": old[0], "nonce": start["nonce"]})
        equal(refused(t, node, "PUT", "sys/rotate/root/update", {"key": old[1], "nonce": start["nonce"]}), 400)
    world.end(cluster)


def rotate_recovery(t, world):
    cluster = world.cluster("v", nodes=1).up(3, 2)
    node, old = cluster.active(), list(cluster.keys)
    with t.check("rotate/recovery: only the new shares prove anything, and the node opens by itself as before"):
        equal(refused(t, node, "PUT", "sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1}), 400)
        done = rotated(node, "recovery", old[:2], 2, 2)
        equal(done["complete"], True)
        node.stop()
        node.start()
        cluster.unseal(node)
        node = cluster.active()
        equal(node.get_kv("ready"), "1")
        start = node.call("PUT", "sys/generate-root/attempt", {})
        node.call("PUT", "sys/generate-root/update", {"key": old[0], "nonce": start["nonce"]})
        equal(refused(t, node, "PUT", "sys/generate-root/update", {"key": old[1], "nonce": start["nonce"]}), 400)
        node.ask("DELETE", "sys/generate-root/attempt")
        start = node.call("PUT", "sys/generate-root/attempt", {})
        equal(give(node, "sys/generate-root/update", done["keys_base64"], start["nonce"])[-1]["complete"], True)
    world.end(cluster)


def encrypted(t, world):
    """Shares for gpg's keys, and a backup of them."""
    if shutil.which("gpg") is None:
        print("skipped: there is no gpg")
        return
    home = tempfile.mkdtemp(prefix="gpg")
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback",
           "--passphrase", ""]
    subprocess.run(gpg + ["--quick-gen-key", "holder@example.com", "rsa2048", "encr", "0"],
                   check=True, capture_output=True)
    exported = subprocess.run(gpg + ["--export"], check=True, capture_output=True).stdout
    key = base64.b64encode(exported).decode()

    def opened(message):
        return subprocess.run(gpg + ["--decrypt"], input=base64.b64decode(message), check=True,
                              capture_output=True).stdout.decode()
    cluster = world.cluster("p", nodes=1, seal="shamir").up()
    node = cluster.active()
    with t.check("shares leave for PGP keys alone, and gpg opens them"):
        done = replace(cluster, node, 1, 1, pgp_keys=[key], backup=True)
        equal((len(done["pgp_fingerprints"]), done["backup"]), (1, True))
        share = opened(done["keys_base64"][0])
        cluster.keys = [base64.b64encode(bytes.fromhex(share)).decode()]
        node.call("PUT", "sys/seal")
        cluster.unseal(node)
        node = cluster.active()
    with t.check("the backup holds the same messages until it is deleted"):
        backup = node.read("sys/rekey/backup")["data"]
        name = done["pgp_fingerprints"][0]
        equal(opened(backup["keys_base64"][name][0]), share)
        equal(node.ask("DELETE", "sys/rekey/backup")[0], 204)
        equal(node.ask("GET", "sys/rekey/backup")[0], 404)
    with t.check("a backup without keys to encrypt it with is refused"):
        equal(refused(t, node, "PUT", "sys/rekey/init",
                      {"secret_shares": 1, "secret_threshold": 1, "backup": True}), 400)
    with t.check("generate-root encrypts the token for a PGP key"):
        start = node.call("PUT", "sys/generate-root/attempt", {"pgp_key": key})
        equal((start["otp"], start["pgp_fingerprint"]), ("", name))
        done = node.call("PUT", "sys/generate-root/update",
                         {"key": cluster.keys[0], "nonce": start["nonce"]})
        token = opened(done["encoded_token"])
        equal(node.call("GET", "auth/token/lookup-self", token=token)["data"]["policies"], ["root"])
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)
    world.end(cluster)


def rotate_crash_every_write(t, world):
    """reliability.md P-20: the power goes at one write to the disk after the other, while a key is replaced."""
    cluster = world.cluster("power", nodes=1, seal="shamir")
    node = cluster.nodes[0]
    node.disk = ""
    cluster.up(1, 1)

    def cut_at(write, seed, change):
        """True: the change went through, the power goes after it. Whatever happened, the shares in force open the node."""
        node.set_disk("kill_after=%d" % write)
        try:
            answer = change()
        except (OSError, http.client.HTTPException):
            answer = None
        node.kill()
        node.cut_power(seed)
        node.start()
        wait_for("the state", lambda: node.read("sys/seal-status", token="")["initialized"], 30)
        return answer

    def opens_with(key):
        return node.ask("PUT", "sys/unseal", {"key": key}, token="")[0] == 200 and not node.is_sealed()

    def all_is_there(count):
        cluster.active()
        for i in range(count):
            equal(node.get_kv("k%d" % i), "v%d" % i)
        node.put_kv("k%d" % count, "v%d" % count)

    with t.check("a rotation of the keyring: done or not, everything is readable and writable"):
        terms, done = [node.read("sys/key-status")["data"]["term"]], []
        for i in range(CUTS):
            node.put_kv("k%d" % i, "v%d" % i)
            done.append(cut_at(i + 1, i + 1, lambda: node.ask("POST", "sys/rotate", {}, timeout=10)[0] == 204))
            cluster.unseal(node)
            all_is_there(i + 1)
            terms.append(node.read("sys/key-status")["data"]["term"])
            true(terms[-1] - terms[-2] in ((1,) if done[-1] else (0, 1)), "%r after %r" % (terms, done))
        true(terms[1] == terms[0], "the first write cut nothing: %r" % terms)
        true(done[-1] is True, "the last cut came before the end: %r" % done)
    with t.check("new shares, given back for verification: the old ones or the new ones open it, and nothing is lost"):
        outcomes = []
        for i in range(CUTS):
            fresh = replace(cluster, node, 1, 1, require_verification=True)
            key, nonce = fresh["keys_base64"][0], fresh["verification_nonce"]
            done = cut_at(i + 1, 100 + i, lambda k=key, n=nonce: give(node, "sys/rekey/verify", [k], n)[0]["complete"])
            is_new = opens_with(key)
            true(is_new or opens_with(cluster.keys[0]), "no share opens it")
            true(is_new or not done, "it was told to be done, and the old share counts")
            outcomes.append(is_new)
            cluster.keys = [key] if is_new else cluster.keys
            all_is_there(CUTS)
        true(outcomes[0] is False and outcomes[-1] is True, "both ends were seen: %r" % outcomes)
    world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for name, call in (("ceremony", ceremony), ("recovery", recovery), ("rotate", rotate),
                           ("rotate_recovery", rotate_recovery), ("encrypted", encrypted),
                           ("rotate_crash_every_write", rotate_crash_every_write)):
            if opts.only in name:
                with t.scenario(name):
                    call(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
