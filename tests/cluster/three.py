#!/usr/bin/env python3
"""Three nodes: writes and linearizable reads on any node, kill -9, pauses, catching up."""
import os
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from checks import Checks, equal, true  # noqa: E402
from cluster import SLOW, Refused, World, Writer, arguments, wait_for  # noqa: E402

TAKE_OVER_S = 4.0  # from kill -9 of the leader to the next acknowledged write


def writers_of(cluster, count=4, prefix="w"):
    made = [Writer(cluster, "%s%d" % (prefix, i)) for i in range(count)]
    for writer in made:
        writer.start()
    return made


def stop_all(writers):
    return sum(len(w.stop()) for w in writers)


def nothing_lost(writers, nodes):
    for node in nodes:
        for writer in writers:
            equal(writer.missing(node), [], "lost on " + node.name)


def anywhere(t, cluster):
    """Any node takes any request; what one node acknowledged, every node shows at once."""
    rng = random.Random(1)
    with t.check("three voters, one leader that all agree on"):
        equal(sorted(cluster.voters()), sorted(n.name for n in cluster.nodes))
        active = cluster.active()
        equal({n.leader()["leader_address"] for n in cluster.nodes}, {active.addr})
        equal([n.health() in (429, 473) for n in cluster.standbys()], [True, True])
    for node in cluster.nodes:
        role = "leader" if node is cluster.active() else "standby"
        with t.check("write, read, list, delete through %s (%s)" % (node.name, role)):
            node.put_kv("any/" + node.name, "1")
            equal(node.get_kv("any/" + node.name), "1")
            true(node.name in node.call("LIST", "secret/metadata/any")["data"]["keys"], "not listed")
            node.call("DELETE", "secret/metadata/any/" + node.name)
            equal(node.ask("GET", "secret/data/any/" + node.name)[0], 404)
    with t.check("300 writes, each read at once on another node, are never stale"):
        for i in range(300):
            a, b = rng.sample(cluster.nodes, 2)
            a.put_kv("linear", str(i))
            equal(b.get_kv("linear"), str(i), "%s after %s" % (b.name, a.name))
    with t.check("a token made on one node is good on the others at once, and gone at once"):
        for i in range(20):
            a, b, c = rng.sample(cluster.nodes, 3)
            token = a.write("auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
            equal(b.ask("GET", "auth/token/lookup-self", token=token)[0], 200, b.name)
            b.write("auth/token/revoke", {"token": token})
            equal(c.ask("GET", "auth/token/lookup-self", token=token)[0], 403, c.name)
    with t.check("check-and-set: of three nodes at once exactly one wins each round"):
        for i in range(20):
            wins = []

            def race(node):
                status = node.ask("POST", "secret/data/cas",
                                  {"data": {"by": node.name}, "options": {"cas": i}})[0]
                wins.append(status)
            threads = [threading.Thread(target=race, args=(n,)) for n in cluster.nodes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30 * SLOW)
            equal(sorted(wins), [200, 400, 400], "round %d" % i)
    with t.check("a wrapping token opens once, whoever is asked"):
        for i in range(10):
            a = rng.choice(cluster.nodes)
            _, body, _ = a.ask("GET", "secret/data/linear", headers={"X-Vault-Wrap-TTL": "60s"})
            token = body["wrap_info"]["token"]
            answers = []

            def unwrap(node):
                answers.append(node.ask("POST", "sys/wrapping/unwrap", {}, token=token)[0])
            threads = [threading.Thread(target=unwrap, args=(n,)) for n in cluster.nodes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30 * SLOW)
            equal(answers.count(200), 1, "answers %s" % answers)


def leader_killed(t, cluster, rounds):
    """kill -9 of the leader under continuous writes."""
    times = []
    everyone = []
    for i in range(rounds):
        with t.check("leader killed, round %d: writes go on within %g s" % (i + 1, TAKE_OVER_S)):
            leader = cluster.active()
            writers = writers_of(cluster, 4, "kill%d-" % i)
            everyone += writers
            for writer in writers:
                writer.until(15)
            moment = time.monotonic()
            leader.kill()

            def resumed():
                found = [w.first_after(moment) for w in writers]
                return min((f for f in found if f is not None), default=None)
            took = wait_for("the next acknowledged write", resumed, 30, 0.01)
            times.append(took)
            for writer in writers:
                writer.until(len(writer.times) + 5)
            stop_all(writers)
            leader.start()
            cluster.unseal(leader)
            cluster.caught_up(leader)
            true(took <= TAKE_OVER_S * SLOW, "took %.2f s" % took)
    t.note("kill -9 of the leader to the next acknowledged write: %s s"
           % ", ".join("%.2f" % x for x in times))
    with t.check("nothing acknowledged was lost, on any node (%d writes)"
                 % sum(len(w.acknowledged) for w in everyone)):
        nothing_lost(everyone, cluster.nodes)


def follower_killed(t, cluster):
    with t.check("a killed standby is not missed, and catches up by log"):
        victim = cluster.standbys()[0]
        victim.kill()
        writers = writers_of(cluster, 2, "follower")
        for writer in writers:
            writer.until(40)
        stop_all(writers)
        victim.start()
        cluster.unseal(victim)
        cluster.caught_up(victim)
        nothing_lost(writers, [victim])
    with t.check("with two of three down nothing is acknowledged; with one back all goes on"):
        first, second = cluster.standbys()
        first.kill()
        second.kill()
        left = cluster.running()[0]
        try:
            status = left.ask("POST", "secret/data/minority", {"data": {"v": "1"}}, timeout=6)[0]
        except OSError:
            status = 0
        true(status == 0 or status >= 500, "acknowledged with %d" % status)
        first.start()
        cluster.unseal(first)
        wait_for("writes again", lambda: cluster.any().put_kv("majority", "1"), 30)
        second.start()
        cluster.unseal(second)
        cluster.caught_up(second)
        equal(second.get_kv("majority"), "1")


def paused(t, cluster):
    with t.check("a paused leader is replaced, and does not answer from the past when it wakes"):
        old = cluster.active()
        others = [n for n in cluster.nodes if n is not old]
        old.put_kv("pause", "before")
        old.pause()
        try:
            wait_for("a new leader", lambda: others[0].put_kv("pause", "after", timeout=5), 30)
        finally:
            old.resume()
        seen = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                seen.append(old.get_kv("pause", timeout=5))
            except (OSError, Refused):
                pass
        true("before" not in seen, "stale read after the pause")
        true("after" in seen, "the old leader never served again")
        cluster.active()
    with t.check("a paused standby holds up nobody"):
        standby = cluster.standbys()[0]
        standby.pause()
        try:
            began = time.monotonic()
            for i in range(50):
                cluster.active().put_kv("held", str(i))
            true(time.monotonic() - began < 10 * SLOW, "50 writes took too long")
        finally:
            standby.resume()
        cluster.caught_up(standby)


def power_cut(t, cluster):
    with t.check("kill -9 of all three at once, twice: all acknowledged writes are there"):
        for i in range(2):
            writers = writers_of(cluster, 4, "cut%d-" % i)
            for writer in writers:
                writer.until(15)
            for node in cluster.nodes:
                node.kill()
            stop_all(writers)
            cluster.start()
            for node in cluster.nodes:
                cluster.unseal(node)
            cluster.active()
            nothing_lost(writers, cluster.nodes)


def step_down(t, cluster):
    with t.check("step-down moves the leadership, and writes go on"):
        old = cluster.active()
        writers = writers_of(cluster, 2, "down")
        for writer in writers:
            writer.until(5)
        equal(cluster.standbys()[0].ask("PUT", "sys/step-down")[0], 204)
        new = wait_for("another leader", lambda: cluster.active(other_than=old), 30)
        true(new is not old, "the same node leads")
        for writer in writers:
            writer.until(len(writer.times) + 10)
        stop_all(writers)
        nothing_lost(writers, [new])
    with t.check("SIGTERM of the leader hands over, and ends with code 0"):
        old = cluster.active()
        writer = writers_of(cluster, 1, "term")[0]
        writer.until(5)
        moment = time.monotonic()
        equal(old.stop(), 0)
        took = wait_for("the next write", lambda: writer.first_after(moment), 20, 0.01)
        stop_all([writer])
        t.note("SIGTERM of the leader to the next acknowledged write: %.2f s" % took)
        true(took <= TAKE_OVER_S * SLOW, "took %.2f s" % took)
        old.start()
        cluster.unseal(old)
        cluster.caught_up(old)
        nothing_lost([writer], cluster.nodes)


def by_snapshot(t, world):
    """A short log: a node that was away, and one whose disk is new, come back by snapshot."""
    cluster = world.cluster("snap", storage_extra=["trailing_logs = 100", "snapshot_interval = \"1s\""]).up()
    victim = cluster.standbys()[0]
    with t.check("a node that was away for 2,000 writes comes back by snapshot"):
        victim.kill()
        writers = writers_of(cluster, 8, "snap")
        for writer in writers:
            writer.until(250, 120)
        stop_all(writers)
        victim.start()
        cluster.unseal(victim)
        cluster.caught_up(victim)
        nothing_lost(writers, [victim])
        true("is installed" in victim.log(), "it did not come back by snapshot")
    with t.check("a node with an empty disk gets everything"):
        victim.kill()
        shutil.rmtree(victim.data)
        os.makedirs(victim.data, mode=0o700)
        cluster.any().write("sys/storage/raft/remove-peer", {"server_id": victim.name})
        victim.start()
        cluster.unseal(victim)
        wait_for("all nodes to be voters", lambda: len(cluster.voters()) == 3, 40)
        cluster.caught_up(victim)
        nothing_lost(writers[:2], [victim])
    world.end(cluster)


def shamir(t, world):
    """A restarted node stays sealed, yet takes part: the other two survive the loss of one more."""
    cluster = world.cluster("shares", seal="shamir")
    with t.check("three nodes with key shares and TLS come up"):
        cluster.tls = world.certificates("shares")
        for node in cluster.nodes:
            node.scheme, node.addr = "https", node.addr.replace("http:", "https:")
        cluster.up(5, 3)
    with t.check("a sealed node votes: with one sealed and one dead, writes go on"):
        first, second = cluster.standbys()
        first.kill()
        first.start()
        equal(first.is_sealed(), True)
        second.kill()
        wait_for("writes with a sealed voter", lambda: cluster.active().put_kv("sealed", "1"), 30)
        cluster.unseal(first)
        cluster.caught_up(first)
        equal(first.get_kv("sealed"), "1")
        second.start()
        cluster.unseal(second)
        cluster.caught_up(second)
    world.end(cluster)


def strangers(t, world):
    """A node of another cluster cannot join, and a proxy that ends TLS is told so."""
    cluster = world.cluster("main").up()
    other = world.cluster("other", nodes=1).up()
    with t.check("a node with the data of another cluster refuses to join this one"):
        node = other.nodes[0]
        status, _, _ = node.ask("POST", "sys/storage/raft/join",
                                {"leader_api_addr": cluster.nodes[0].addr}, token="")
        true(status >= 400, "joined with %d" % status)
        equal(len(cluster.voters()), 3)
        equal(node.get_kv("ready"), "1")
    with t.check("TLS without a certificate of the cluster gets nowhere on the cluster port"):
        import socket
        import ssl
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        refused = False
        try:
            with socket.create_connection(("127.0.0.1", cluster.nodes[0].cluster_port), 5) as raw:
                with context.wrap_socket(raw) as s:
                    s.settimeout(5)
                    s.sendall(b"x" * 64)
                    refused = s.recv(64) == b""
        except (ssl.SSLError, OSError):
            refused = True
        true(refused, "a stranger was served")
        wait_for("the cluster to go on", lambda: cluster.any().put_kv("still", "1"))
    world.end(other)
    world.end(cluster)


def main():
    opts = arguments(__doc__)
    t = Checks()
    with World() as world:
        t.on_failure = world.keep

        def shared():
            """The scenarios that use one cluster after each other."""
            cluster = world.cluster("n").up()
            anywhere(t, cluster)
            leader_killed(t, cluster, 10 if opts.long else 3)
            follower_killed(t, cluster)
            paused(t, cluster)
            step_down(t, cluster)
            power_cut(t, cluster)
            world.end(cluster)

        for name, call in (("shared", shared), ("by_snapshot", lambda: by_snapshot(t, world)),
                           ("shamir", lambda: shamir(t, world)),
                           ("strangers", lambda: strangers(t, world))):
            if opts.only in name:
                with t.scenario(name):
                    call()
    sys.exit(t.finish())


if __name__ == "__main__":
    main()
