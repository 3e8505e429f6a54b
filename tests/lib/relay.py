"""A counting relay in front of one TCP port of loopback: what a slow or broken link between two sites is.

    relay = Relay(world.ports.take(), node.cluster_port)   # others are told relay.port
    relay.cut_after(12 << 20)      # breaks every connection once so many more bytes went to the port
    relay.open()                   # takes connections again
    relay.sent                     # bytes to the port so far

Runs in a thread of its own until close().
"""
import selectors
import socket
import threading

PIECE = 1 << 16


class Relay(threading.Thread):
    def __init__(self, port, to_port):
        super().__init__(daemon=True)
        self.port, self.to_port = port, to_port
        self.lock = threading.Lock()
        self.sent = 0  # to the port
        self.budget = None  # bytes until the cut; None: no cut is planned
        self.is_cut = False
        self.cuts = 0
        self.over = False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(32)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.other = {}  # socket -> the other end
        self.inward = set()  # sockets of those who connected
        self.start()

    def cut_after(self, count):
        with self.lock:
            self.budget = count

    def open(self):
        with self.lock:
            self.budget, self.is_cut = None, False

    def close(self):
        self.over = True
        self.join(10)

    # ------------------------------------------------------------ the thread

    def _accept(self):
        near, _ = self.listener.accept()
        if self.is_cut:
            near.close()
            return
        far = socket.socket()
        far.settimeout(2)
        try:
            far.connect(("127.0.0.1", self.to_port))
        except OSError:
            near.close()
            far.close()
            return
        self.inward.add(near)
        for one, two in ((near, far), (far, near)):
            one.settimeout(5)
            self.other[one] = two
            self.selector.register(one, selectors.EVENT_READ)

    def _drop(self, one):
        for end in (one, self.other.get(one)):
            if end in self.other:
                self.selector.unregister(end)
                self.inward.discard(end)
                end.close()
        two = self.other.pop(one, None)
        self.other.pop(two, None)

    def _carry(self, one):
        try:
            data = one.recv(PIECE)
            if not data:
                raise OSError("closed")
            if one in self.inward:
                with self.lock:
                    if self.budget is not None and len(data) > self.budget:
                        data = data[:self.budget]
                        self.is_cut, self.cuts = True, self.cuts + 1
                    self.sent += len(data)
                    self.budget = self.budget - len(data) if self.budget is not None else None
            self.other[one].sendall(data)
        except OSError:
            self._drop(one)

    def run(self):
        while not self.over:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj in self.other:
                    self._carry(key.fileobj)
                if self.is_cut:
                    break
            if self.is_cut:
                for one in list(self.inward):
                    self._drop(one)
        for one in list(self.inward):
            self._drop(one)
        self.listener.close()
        self.selector.close()
