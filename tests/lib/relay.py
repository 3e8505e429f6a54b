"""Relays in front of the cluster ports of loopback nodes, which count and break what goes to one of them.

    link = Link()
    relays = [Relay(world.ports.take(), node.cluster_port, node, link) for node in nodes]
    (each node says its relay's port as its cluster_addr)
    link.to(node)                  # from now on it is about this one, which runs
    link.cut_after(12 << 20)       # breaks its connections once so many more bytes went to it
    link.open()                    # lets them come up again
    link.sent                      # bytes to it so far

A node is reached over connections to its port and over those that it made itself: both count, and both
break. Who made a connection is read from /proc. A relay runs in a thread of its own until close().
"""
import os
import selectors
import socket
import threading

PIECE = 1 << 16


def owns_port(pid, port):
    """Is `port` the near end of a connection of that process?"""
    inodes = set()
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            name = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            if name.startswith("socket:["):
                inodes.add(name[8:-1])
        with open("/proc/net/tcp") as f:
            next(f)
            for line in f:
                fields = line.split()
                if int(fields[1].split(":")[1], 16) == port and fields[9] in inodes:
                    return True
    except OSError:
        pass
    return False


class Link:
    """What goes to one node; shared by the relays."""

    def __init__(self):
        self.lock = threading.Lock()
        self.node = None
        self.sent = 0
        self.budget = None  # bytes until the cut; None: no cut is planned
        self.is_cut = False
        self.cuts = 0

    def to(self, node):
        with self.lock:
            self.node = node

    def cut_after(self, count):
        with self.lock:
            self.budget = count

    def open(self):
        with self.lock:
            self.budget, self.is_cut = None, False

    def take(self, data):
        """The part of `data` that may pass."""
        with self.lock:
            if self.is_cut:
                return b""
            if self.budget is not None:
                if len(data) >= self.budget:
                    data = data[:self.budget]
                    self.is_cut, self.cuts = True, self.cuts + 1
                self.budget -= len(data)
            self.sent += len(data)
            return data


class Relay(threading.Thread):
    def __init__(self, port, to_port, node, link):
        super().__init__(daemon=True)
        self.port, self.to_port, self.node, self.link = port, to_port, node, link
        self.over = False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(32)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.other = {}  # socket -> the other end
        self.makers = {}  # socket of who connected -> its port
        self.start()

    def close(self):
        self.over = True
        self.join(10)

    # ------------------------------------------------------------ the thread

    def _accept(self):
        near, (_, port) = self.listener.accept()
        far = socket.socket()
        far.settimeout(5)
        try:
            far.connect(("127.0.0.1", self.to_port))
        except OSError:
            near.close()
            far.close()
            return
        self.makers[near] = port
        for one, two in ((near, far), (far, near)):
            one.settimeout(5)
            self.other[one] = two
            self.selector.register(one, selectors.EVENT_READ)

    def _drop(self, one):
        two = self.other.get(one)
        for end in (one, two):
            if self.other.pop(end, None) is not None:
                self.selector.unregister(end)
            self.makers.pop(end, None)
            if end is not None:
                end.close()

    def _leads_to(self, one, maker):
        """Does what is read from `one` go to the link's node?"""
        node = self.link.node
        if node is None or node is self.node:
            return node is not None and one is maker
        return one is not maker and self._is_made_by(node, maker)

    def _is_made_by(self, node, maker):
        known = self.makers.get(maker)
        if isinstance(known, int):
            proc = node.proc
            self.makers[maker] = known = (node, proc is not None and owns_port(proc.pid, known))
        return known is not None and known[0] is node and known[1]

    def _belongs(self, maker):
        node = self.link.node
        return node is not None and (node is self.node or self._is_made_by(node, maker))

    def _carry(self, one):
        maker = one if one in self.makers else self.other[one]
        try:
            data = one.recv(PIECE)
            if self._leads_to(one, maker):
                data = self.link.take(data)
            elif self.link.is_cut and self._belongs(maker):
                data = b""
            if not data:
                raise OSError("closed")
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
            if self.link.is_cut:
                for maker in list(self.makers):
                    if self._belongs(maker):
                        self._drop(maker)
        for maker in list(self.makers):
            self._drop(maker)
        self.listener.close()
        self.selector.close()
