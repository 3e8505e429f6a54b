"""What stands between two clusters: a relay with a limit of bytes per second, and an API whose answers are others.

    with Throttle(world.ports.take(), node.cluster_port) as relay:
        relay.rate = 1 << 20           # bytes a second from there; 0: nothing passes, connections stay; None: no limit
    with Api(world.ports.take(), node, {"server_time_ms": lambda v: v + 60000}) as api:
        api.addr                       # answers like the node, with these fields of "data" changed
"""
import http.client
import http.server
import json
import select
import socket
import threading
import time

SLICE_S = 0.02


class Throttle(threading.Thread):
    def __init__(self, port, to_port):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port, self.to_port = port, to_port
        self.rate = None
        self.passed = 0
        self.other, self.near = {}, set()
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(10)

    def run(self):
        while not self.over.is_set():
            left = None if self.rate is None else int(self.rate * SLICE_S)
            until = time.monotonic() + SLICE_S
            while time.monotonic() < until and not self.over.is_set():
                watched = [self.listener, *(self.other if left != 0 else self.near if self.rate else ())]
                ready = select.select(watched, [], [], 0.005)[0]
                for one in ready:
                    if one is self.listener:
                        self._accept()
                    elif one in self.near and self.rate != 0:
                        self._carry(one, 65536)  # what little goes there must not wait behind what comes
                    elif one in self.other and left != 0:
                        size = self._carry(one, 65536 if left is None else min(left, 65536))
                        left = None if left is None else left - size
        for one in [self.listener, *self.other]:
            one.close()

    def _accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.to_port), timeout=5)
        except OSError:
            near.close()
            return
        self.other[near], self.other[far] = far, near
        self.near.add(near)

    def _carry(self, one, most):
        try:
            data = one.recv(most)
            if data:
                self.other[one].sendall(data)
                self.passed += len(data)
                return len(data)
        except OSError:
            pass
        two = self.other[one]
        for end in (one, two):
            self.other.pop(end, None)
            self.near.discard(end)
            end.close()
        return 0


class Api:
    def __init__(self, port, node, changes):
        outer = self
        self.addr = "http://127.0.0.1:%d" % port
        self.node, self.changes = node, changes

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                outer.answer(self, "POST")

            def do_GET(self):  # noqa: N802
                outer.answer(self, "GET")

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler, method):
        """changes: a table of fields, or a function from (method, path) to the whole answer."""
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if callable(self.changes):
            status, body = self.changes(method, handler.path)
        else:
            conn = http.client.HTTPConnection(self.node.host, self.node.port, timeout=30)
            conn.request(method, handler.path, raw, {"Content-Type": "application/json"})
            got = conn.getresponse()
            status, body = got.status, json.loads(got.read() or b"{}")
            conn.close()
            for name, change in self.changes.items():
                if name in (body.get("data") or {}):
                    body["data"][name] = change(body["data"][name])
        content = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
