"""Network namespaces for tests: hosts around a hub, and links that fail one direction at a time.

    net = Net(["client", "n1", "n2", "n3"])   # raises Unavailable where the kernel or root is missing
    net.enter("client")                       # this thread, and the threads and processes it starts
    proc = subprocess.Popen(..., preexec_fn=lambda: net.enter("n1"))
    net.cut("n1", "n2")                       # packets from n1 to n2 are gone; not the other way
    net.lose("n1", "n2", 30)                  # percent
    net.delay("n1", 0.1)                      # seconds, all that n1 sends
    net.heal()

The hub routes, so each packet between two hosts passes its forward hook once, where nft drops it by
source and destination. Where the kernel has no netem, delay is a relay: what comes from that host is
routed into a tun device, waits in this process and goes back in.

The namespaces have no names: they are held by descriptors of this process alone and go with it, however
it ends. So do mounts, since the process takes a mount namespace of its own first.
"""
import ctypes
import fcntl
import heapq
import mmap
import os
import select
import shutil
import struct
import subprocess
import threading
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
RELAY_TABLE = 100
QUEUE_MAX = 20000  # packets that wait in the relay; more is dropped, as a switch would


class Unavailable(Exception):
    """Namespaces, nft or tun cannot be had here; the text says what is missing."""


def libc(name, *args):
    call = getattr(ctypes.CDLL("libc.so.6", use_errno=True), name)
    if call(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "%s: %s" % (name, os.strerror(error)))


def private_mounts():
    """From now on what this process mounts is seen by it and its children alone, and goes with them."""
    libc("unshare", CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def small_disk(folder, megabytes):
    """A file system of its own at `folder`; after private_mounts()."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=700" % megabytes, "coffer-test", folder],
                   check=True)


def new_namespace():
    """A descriptor of a fresh network namespace, made by a thread that ends with it."""
    made = []

    def make():
        try:
            libc("unshare", CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        except OSError as e:
            made.append(e)
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


class Relay:
    """Holds packets back: reads them from a tun device of the hub, writes them back when due.

    A process of its own, so that neither takes the time of the other; it ends with this one, whose
    end of `alive` closes. What both know lies in shared memory.
    """
    SHARED = struct.Struct("dQQ")  # seconds, packets passed, packets dropped because too many waited

    def __init__(self, net):
        self.shared = mmap.mmap(-1, self.SHARED.size)
        alive, self.alive = os.pipe()
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.alive)
                self._child(net, alive, told)
            finally:
                os._exit(1)
        os.close(alive)
        os.close(told)
        self.works = os.read(ready, 1) == b"y"
        os.close(ready)

    def close(self):
        os.close(self.alive)
        os.waitpid(self.pid, 0)

    @property
    def seconds(self):
        return self.SHARED.unpack(self.shared[:])[0]

    @seconds.setter
    def seconds(self, value):
        struct.pack_into("d", self.shared, 0, value)

    @property
    def passed(self):
        return self.SHARED.unpack(self.shared[:])[1]

    @property
    def crowded_out(self):
        return self.SHARED.unpack(self.shared[:])[2]

    def _child(self, net, alive, told):
        libc("setns", net.spaces["hub"], CLONE_NEWNET)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", b"relay", IFF_TUN_NO_PI))
        os.write(told, b"y")
        os.close(told)
        queue, passed, dropped, number = [], 0, 0, 0
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(alive, select.POLLIN)
        while True:
            wait = max(0, queue[0][0] - time.monotonic()) * 1000 if queue else None
            for ready, _ in poll.poll(wait):
                if ready == alive:
                    os._exit(0)
            try:
                for _ in range(64):
                    packet = os.read(fd, 65536)
                    number += 1
                    if len(queue) < QUEUE_MAX:
                        heapq.heappush(queue, (time.monotonic() + self.seconds, number, packet))
                    else:
                        dropped += 1
            except BlockingIOError:
                pass
            while queue and queue[0][0] <= time.monotonic():
                try:
                    os.write(fd, heapq.heappop(queue)[2])
                    passed += 1
                except OSError:
                    pass  # a packet lost is a packet lost
            struct.pack_into("QQ", self.shared, 8, passed, dropped)


class Net:
    """mtu: of all links. Large packets (65000) leave the relay room for hundreds of megabytes a second."""

    def __init__(self, hosts, mtu=1500):
        self.hosts = list(hosts)
        self.mtu = mtu
        self.relay = None
        self.spaces = {}
        for tool in ("ip", "nft"):
            if shutil.which(tool) is None and shutil.which(tool, path="/usr/sbin:/sbin") is None:
                raise Unavailable("the command %s is missing (deploy/packages.sh)" % tool)
        try:
            for name in ["hub"] + self.hosts:
                self.spaces[name] = new_namespace()
        except OSError as e:
            raise Unavailable("no network namespace for this process (%s)" % e)
        try:
            for i, name in enumerate(self.hosts):
                self._connect(i, name)
            self._rules()
            self._relay()
        except (OSError, subprocess.CalledProcessError) as e:
            raise Unavailable("%s; %s" % (e, (getattr(e, "stderr", "") or "").strip()))

    def close(self):
        if self.relay is not None:
            self.relay.close()
            self.relay = None
        for fd in self.spaces.values():
            os.close(fd)
        self.spaces = {}

    def enter(self, name):
        libc("setns", self.spaces[name], CLONE_NEWNET)

    def run(self, where, *command, text=None):
        """A command in a namespace; its output."""
        env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        return subprocess.run(command, input=text, check=True, capture_output=True, text=True, env=env,
                              preexec_fn=lambda: self.enter(where)).stdout

    def address(self, name):
        return "10.99.%d.2" % self.hosts.index(name)

    def _connect(self, i, name):
        there = "/proc/%d/fd/%d" % (os.getpid(), self.spaces[name])
        self.run("hub", "ip", "link", "add", "h%d" % i, "type", "veth", "peer", "name", "eth0", "netns", there)
        self.run("hub", "ip", "addr", "add", "10.99.%d.1/24" % i, "dev", "h%d" % i)
        self.run("hub", "ip", "link", "set", "h%d" % i, "mtu", str(self.mtu), "up")
        self.run(name, "ip", "addr", "add", self.address(name) + "/24", "dev", "eth0")
        self.run(name, "ip", "link", "set", "lo", "up")
        self.run(name, "ip", "link", "set", "eth0", "mtu", str(self.mtu), "up")
        self.run(name, "ip", "route", "add", "default", "via", "10.99.%d.1" % i)

    def _rules(self):
        self.run("hub", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.run("hub", "nft", "-f", "-", text="""
            table ip faults {
                set severed { type ipv4_addr . ipv4_addr; }
                chain lossy { }
                chain between { type filter hook forward priority 0;
                    iifname "relay" accept
                    ip saddr . ip daddr @severed counter drop
                    jump lossy
                }
            }""")

    def _relay(self):
        self.relay = Relay(self)
        if not self.relay.works:
            raise Unavailable("no tun device for the delaying relay (/dev/net/tun)")
        # A device drops what its reader has not taken yet: not before the relay itself would.
        self.run("hub", "ip", "link", "set", "relay", "txqueuelen", str(QUEUE_MAX), "mtu", str(self.mtu), "up")
        self.run("hub", "ip", "route", "add", "default", "dev", "relay", "table", str(RELAY_TABLE))

    # ------------------------------------------------------------ faults

    def cut(self, source, *targets):
        """Nothing from `source` reaches `targets` (all others when none is named)."""
        for target in targets or [h for h in self.hosts if h != source]:
            self.run("hub", "nft", "add", "element", "ip", "faults", "severed",
                     "{ %s . %s }" % (self.address(source), self.address(target)))

    def split(self, some, others):
        """Nothing passes between the two groups, either way."""
        for a in some:
            for b in others:
                self.cut(a, b)
                self.cut(b, a)

    def lose(self, source, target, percent):
        self.run("hub", "nft", "add", "rule", "ip", "faults", "lossy", "ip", "saddr", self.address(source),
                 "ip", "daddr", self.address(target), "numgen", "random", "mod", "100", "<", str(percent),
                 "counter", "drop")

    def delay(self, source, seconds):
        self.relay.seconds = seconds
        self.run("hub", "ip", "rule", "add", "iif", "h%d" % self.hosts.index(source), "lookup",
                 str(RELAY_TABLE))

    def heal(self):
        self.run("hub", "nft", "flush", "set", "ip", "faults", "severed")
        self.run("hub", "nft", "flush", "chain", "ip", "faults", "lossy")
        for i in range(len(self.hosts)):
            rule = ["ip", "rule", "del", "iif", "h%d" % i, "lookup", str(RELAY_TABLE)]
            try:
                self.run("hub", *rule)
            except subprocess.CalledProcessError:
                pass  # there was none

    def dropped(self):
        """How many packets cuts and losses have taken so far. A loss rule forgets with heal()."""
        rules = self.run("hub", "nft", "list", "table", "ip", "faults").split()
        return sum(int(rules[i + 1]) for i, word in enumerate(rules) if word == "packets")

    def delayed(self):
        return self.relay.passed
