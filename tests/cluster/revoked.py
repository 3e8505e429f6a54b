#!/usr/bin/env python3
"""Client certificates that are revoked: lists at a URL and OCSP, with responders of the openssl command as processes and a
small HTTP server."""
import http.client
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import World, arguments, die_with_parent, wait_for  # noqa: E402

CONFIG = """
[ca]
default_ca = d
[d]
database = %(dir)s/index.txt
new_certs_dir = %(dir)s
serial = %(dir)s/serial
crlnumber = %(dir)s/crlnumber
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
[client]
extendedKeyUsage = clientAuth
[aia]
extendedKeyUsage = clientAuth
authorityInfoAccess = OCSP;URI:http://127.0.0.1:%(port)d
[responder]
extendedKeyUsage = OCSPSigning
"""
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


class Authority:
    """A CA with a data base, as the openssl command keeps it."""

    def __init__(self, folder, name, port):
        os.makedirs(folder)
        self.dir, self.port = folder, port
        self.pem, self.key = self.path("ca.pem"), self.path("ca.key")
        self.config = self.path("ca.cnf")
        with open(self.config, "w") as f:
            f.write(CONFIG % {"dir": folder, "port": port})
        for file, content in (("index.txt", ""), ("serial", "1000\n"), ("crlnumber", "01\n")):
            with open(self.path(file), "w") as f:
                f.write(content)
        openssl("req", "-x509", *EC, "-keyout", self.key, "-out", self.pem, "-days", "30", "-subj", "/CN=" + name)

    def path(self, name):
        return os.path.join(self.dir, name)

    def issue(self, name, section="client"):
        cert, key, csr = self.path(name + ".pem"), self.path(name + ".key"), self.path(name + ".csr")
        openssl("req", *EC, "-keyout", key, "-out", csr, "-subj", "/CN=" + name)
        openssl("ca", "-batch", "-config", self.config, "-cert", self.pem, "-keyfile", self.key, "-extensions", section,
                "-in", csr, "-out", cert, "-notext")
        return cert, key

    def revoke(self, cert):
        openssl("ca", "-config", self.config, "-cert", self.pem, "-keyfile", self.key, "-revoke", cert)

    def crl(self):
        out = self.path("crl.pem")
        openssl("ca", "-config", self.config, "-cert", self.pem, "-keyfile", self.key, "-gencrl", "-out", out)
        with open(out) as f:
            return f.read()

    def respond(self, port, signer, extra=()):
        cert, key = signer
        log = self.path("responder-%d.log" % port)
        with open(log, "w") as f:
            proc = subprocess.Popen(["openssl", "ocsp", "-port", str(port), "-index", self.path("index.txt"), "-CA", self.pem,
                                     "-rsigner", cert, "-rkey", key, "-ignore_err", *extra], stdin=subprocess.DEVNULL,
                                    stdout=f, stderr=f, preexec_fn=die_with_parent)
        wait_for("the responder", lambda: "waiting for OCSP client connections" in text(log), 20)
        return proc


class Lists(http.server.BaseHTTPRequestHandler):
    content, asked, code = "", 0, 200

    def do_GET(self):
        Lists.asked += 1
        body = Lists.content.encode()
        self.send_response(Lists.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def text(path):
    with open(path) as f:
        return f.read()


class Client:
    def __init__(self, cluster, node):
        self.node, self.ca = node, cluster.tls.ca

    def login(self, pair, name):
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(*pair)
        conn = http.client.HTTPSConnection(self.node.host, self.node.port, timeout=60, context=context)
        try:
            conn.request("POST", "/v1/auth/cert/login", json.dumps({"name": name}),
                         {"Content-Type": "application/json"})
            answer = conn.getresponse()
            return answer.status, answer.read().decode()
        finally:
            conn.close()


def lists(t, node, client, ca, good, bad, url):
    with t.check("a list at a URL is fetched when it is written, and revokes"):
        node.write("auth/cert/certs/lists", {"certificate": text(ca.pem)})
        equal(client.login(bad, "lists")[0], 200)
        Lists.content = ca.crl()
        node.write("auth/cert/crls/web", {"url": url})
        equal(Lists.asked, 1)
        found = node.read("auth/cert/crls/web")["data"]
        equal(found["cdp"]["url"], url)
        true(found["cdp"]["valid_until"].startswith("20"), "no end of the list")
        equal(len(found["serials"]), 1)
        code, body = client.login(bad, "lists")
        equal(code, 400)
        true("revoked" in body, body)
        equal(client.login(good, "lists")[0], 200)
        equal(Lists.asked, 1)  # not at every login
    with t.check("a list that cannot be fetched, is none, or too large is refused, and the old one stays"):
        for code, content, what in ((500, "", "500"), (200, "junk", "list"), (200, "x" * (1 << 21), "bytes")):
            Lists.code, Lists.content = code, content
            status, answer, _ = node.ask("POST", "auth/cert/crls/web", {"url": url}, timeout=30)
            equal(status, 400)
            true("error fetching CRL" in answer["errors"][0] and what in answer["errors"][0], answer["errors"][0])
            true("junk" not in answer["errors"][0], "the content is echoed")
        equal(node.ask("POST", "auth/cert/crls/web", {"url": "file:///etc/passwd"})[0], 400)
        equal(node.ask("POST", "auth/cert/crls/web", {"url": "http://127.0.0.1:1/"}, timeout=30)[0], 400)
        equal(client.login(bad, "lists")[0], 400)
        node.ask("DELETE", "auth/cert/crls/web")
        equal(client.login(bad, "lists")[0], 200)


def ocsp(t, world, node, client, ca, good, bad, named):
    pem, dead = text(ca.pem), "http://127.0.0.1:%d" % world.ports.take()
    own, delegated, strange = (world.ports.take() for _ in range(3))
    url = {p: "http://127.0.0.1:%d" % p for p in (own, delegated, strange)}
    other = Authority(os.path.join(world.dir, "other"), "other", 1)

    def role(**settings):
        node.write("auth/cert/certs/ocsp", dict(
            {"certificate": pem, "ocsp_enabled": True, "ocsp_fail_open": False, "ocsp_query_all_servers": False,
             "ocsp_ca_certificates": "", "ocsp_servers_override": [], "ocsp_this_update_max_age": 0}, **settings))
    procs = [ca.respond(own, (ca.pem, ca.key), ("-nmin", "5")), ca.respond(delegated, ca.issue("signer", "responder")),
             ca.respond(strange, other.issue("stranger", "responder"), ("-nmin", "5"))]
    named_proc = None
    try:
        with t.check("a responder of the issuer: good goes in, revoked does not"):
            role(ocsp_servers_override=[url[own]])
            equal(client.login(good, "ocsp")[0], 200)
            code, body = client.login(bad, "ocsp")
            equal(code, 400)
            true("revoked" in body, body)
        with t.check("a responder that the issuer made for it, whose word has no end"):
            role(ocsp_servers_override=[url[delegated]])
            equal(client.login(good, "ocsp")[0], 200)
            equal(client.login(bad, "ocsp")[0], 400)
        with t.check("a responder of somebody else counts when the role names its CA, and not otherwise"):
            role(ocsp_servers_override=[url[strange]])
            code, body = client.login(good, "ocsp")
            equal(code, 400)
            true("not signed" in body, body)
            role(ocsp_servers_override=[url[strange]], ocsp_ca_certificates=text(other.pem))
            equal(client.login(good, "ocsp")[0], 200)
            equal(client.login(bad, "ocsp")[0], 400)
        with t.check("no answer: refused, or let in where the role says so; the next server is asked"):
            role(ocsp_servers_override=[dead])
            equal(client.login(good, "ocsp")[0], 400)
            role(ocsp_servers_override=[dead], ocsp_fail_open=True)
            equal(client.login(good, "ocsp")[0], 200)
            role(ocsp_servers_override=[dead, url[own]])
            equal(client.login(good, "ocsp")[0], 200)
            role(ocsp_servers_override=[dead, url[own]], ocsp_fail_open=True)
            equal(client.login(bad, "ocsp")[0], 400)  # revoked is revoked
        with t.check("all servers are asked where the role says so"):
            role(ocsp_servers_override=[url[own], dead], ocsp_query_all_servers=True)
            equal(client.login(good, "ocsp")[0], 400)
            role(ocsp_servers_override=[url[own], url[delegated]], ocsp_query_all_servers=True)
            equal(client.login(good, "ocsp")[0], 200)
        with t.check("a certificate that no responder knows"):
            unknown = ca.issue("unknown")
            with open(ca.path("index.txt")) as f:
                lines = f.readlines()
            with open(ca.path("index.txt"), "w") as f:
                f.writelines(line for line in lines if "CN=unknown" not in line)
            extra = world.ports.take()
            procs.append(ca.respond(extra, (ca.pem, ca.key), ("-nmin", "5")))
            role(ocsp_servers_override=["http://127.0.0.1:%d" % extra])
            code, body = client.login(unknown, "ocsp")
            equal(code, 400)
            true("does not know" in body, body)
            role(ocsp_servers_override=["http://127.0.0.1:%d" % extra], ocsp_fail_open=True)
            equal(client.login(unknown, "ocsp")[0], 200)
        with t.check("the responder that the certificate names"):
            role()
            equal(client.login(good, "ocsp")[0], 400)  # names none
            named_proc = ca.respond(ca.port, (ca.pem, ca.key), ("-nmin", "5"))
            equal(client.login(named, "ocsp")[0], 200)
        with t.check("an answer counts until its next update, though the responder is gone"):
            named_proc.kill()
            named_proc.wait()
            equal(client.login(named, "ocsp")[0], 200)
            role(ocsp_this_update_max_age="1s")
            wait_for("its age", lambda: client.login(named, "ocsp")[0] == 400, 20)
    finally:
        for proc in procs + ([named_proc] if named_proc else []):
            proc.kill()
            proc.wait()


def quota(t, node, client, good):
    with t.check("a limit by role counts logins with certificates"):
        node.write("auth/cert/certs/counted", {"certificate": text(good[0]), "token_ttl": "1h"})
        node.write("sys/quotas/lease-count/q", {"path": "auth/cert/", "role": "counted", "max_leases": 2})

        def counted():
            code = client.login(good, "counted")[0]
            return code if code != 503 else None
        codes = [wait_for("a login", counted, 20) for _ in range(3)]
        equal(codes, [200, 200, 429])
        equal(client.login(good, "lists")[0], 200)
        node.ask("DELETE", "sys/quotas/lease-count/q")
        equal(client.login(good, "counted")[0], 200)


def main():
    options = arguments(__doc__)
    t = Checks(getattr(options, "only", "") or "")
    with World() as world:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lists)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = world.cluster("a", nodes=1, tls=world.certificates())
        cluster.up()
        node = cluster.active()
        node.write("sys/auth/cert", {"type": "cert"})
        ca = Authority(os.path.join(world.dir, "clients"), "clients", world.ports.take())
        good, bad, named = ca.issue("good"), ca.issue("bad"), ca.issue("named", "aia")
        ca.revoke(bad[0])
        client = Client(cluster, node)
        lists(t, node, client, ca, good, bad, "http://127.0.0.1:%d/list" % server.server_address[1])
        quota(t, node, client, good)
        ocsp(t, world, node, client, ca, good, bad, named)
        server.shutdown()
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
