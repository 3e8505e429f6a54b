#!/usr/bin/env python3
"""Seals: shares for PGP keys."""
import base64
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, raises, true  # noqa: E402
from cluster import SLOW, Refused, World, arguments, wait_for  # noqa: E402


class People:
    """Holders of PGP keys, in a GNUPGHOME of their own (a short path: gpg's agent has a socket there)."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="gpg", dir="/tmp")

    def end(self):
        subprocess.run(["gpgconf", "--kill", "all"], env=self._env(), check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def _env(self):
        return dict(os.environ, GNUPGHOME=self.home, LC_ALL="C")

    def gpg(self, *args, stdin=b""):
        done = subprocess.run(["gpg", "--batch", "--quiet", "--passphrase", ""] + list(args), input=stdin,
                              env=self._env(), capture_output=True, timeout=60 * SLOW)
        if done.returncode:
            raise RuntimeError("gpg: " + done.stderr.decode())
        return done.stdout

    def make(self, name, sign, encrypt):
        """A key pair; the fingerprint and the public key in base64."""
        self.gpg("--quick-gen-key", name, sign, "sign", "0")
        listed = self.gpg("--list-keys", "--with-colons", name).decode().split("\n")
        fingerprint = [x.split(":")[9] for x in listed if x.startswith("fpr")][0]
        self.gpg("--quick-add-key", fingerprint, encrypt, "encr", "0")
        return fingerprint.lower(), base64.b64encode(self.gpg("--export", fingerprint)).decode()

    def open(self, message):
        return self.gpg("--decrypt", stdin=message).decode()


def pgp(t, world):
    """Shares and root token encrypted for people's keys; gpg opens them."""
    if shutil.which("gpg") is None:
        t.note("no gpg here: see deploy/packages.sh")
        return
    people = People()
    try:
        rsa, rsa_key = people.make("rsa", "rsa2048", "rsa2048")
        curve, curve_key = people.make("curve", "ed25519", "cv25519")
        cluster = world.cluster("pgp", nodes=1, seal="shamir")
        node = cluster.nodes[0].start()
        good = {"secret_shares": 3, "secret_threshold": 2, "pgp_keys": [rsa_key, curve_key, rsa_key],
                "root_token_pgp_key": curve_key}
        with t.check("keys that are no use, or too few, initialise nothing"):
            for field, value, word in (("pgp_keys", [rsa_key], "incorrect number"),
                                       ("pgp_keys", [rsa_key, "bm8ga2V5", rsa_key], "PGP key 2"),
                                       ("pgp_keys", [rsa_key, "!!", rsa_key], "base64"),
                                       ("root_token_pgp_key", "bm8ga2V5", "root_token_pgp_key"),
                                       ("recovery_pgp_keys", [rsa_key], "recovery")):
                refused = raises(Refused, node.call, "PUT", "sys/init", dict(good, **{field: value}))
                equal(refused.status, 400)
                true(word in str(refused), "%r is not in %s" % (word, refused))
            equal(node.health(), 501)
        with t.check("init encrypts each share for its person, and the root token"):
            answer = node.call("PUT", "sys/init", good, timeout=60)
            equal(answer["pgp_fingerprints"], [rsa, curve, rsa])
            shares = []
            for text, again in zip(answer["keys"], answer["keys_base64"]):
                message = bytes.fromhex(text)
                equal(base64.b64decode(again), message)
                shares.append(people.open(message))
                equal(len(bytes.fromhex(shares[-1])), 33)
            equal(len(set(shares)), 3)
            cluster.root = people.open(base64.b64decode(answer["root_token"]))
        with t.check("the opened shares unseal, the opened token is root"):
            for share in shares[1:]:
                node.call("PUT", "sys/unseal", {"key": share}, token="")
            cluster.active()
            equal(node.read("auth/token/lookup-self")["data"]["policies"], ["root"])
        world.end(cluster)
    finally:
        people.end()


SCENARIOS = (pgp,)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep
        for scenario in SCENARIOS:
            if opts.only in scenario.__name__:
                with t.scenario(scenario.__name__):
                    scenario(t, world)
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
