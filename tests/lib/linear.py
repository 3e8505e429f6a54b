"""A linearizability checker: is there an order of these operations, each at one moment between its call
and its answer, in which every answer is right?

    history = [Op(call, answer, WRITE, value), Op(call, answer, READ, value), ...]   # of one key
    linearizable(history, REGISTER)         # None, or the operations around the first moment without an order

The search is that of Wing and Gong with Lowe's memory of states seen (as in porcupine): take operations out
of the history in every order that real time allows, never the same set with the same state twice. Unique
values make it quick: an operation that changes nothing and fits now is taken now, and a value that somebody has
still to read is not overwritten, since it never comes back.

An operation with unknown outcome has answer=None: it may take effect at any time after its call, or never. Values
are unique, which bounds that: one whose value nobody saw is left out (no answer depends on it), one that was
seen took effect before that read's answer at the latest. For REGISTER both are exact. Under CAS a write that nobody
saw may be what made another's check fail, so it stays and may come at any time.
"""
import collections

READ, WRITE, CAS, CAS_FAILED = "read", "write", "cas", "cas failed"

# call, answer: of one monotonic clock; answer None: unknown. value: read or written. version: what a CAS
# expected; of a read, the version that came with the value (None for a register).
Op = collections.namedtuple("Op", "call answer kind value version who")


def op(call, answer, kind, value, version=None, who=""):
    return Op(call, answer, kind, value, version, who)


def step_register(state, o):
    if o.kind == WRITE:
        return True, o.value
    return state == o.value, state


def step_cas(state, o):
    """The state is (version, value); absent is (0, None)."""
    if o.kind == CAS:
        return state[0] == o.version, (state[0] + 1, o.value)
    if o.kind == CAS_FAILED:
        return state[0] != o.version, state
    return state == (o.version, o.value), state


def read_register(o):
    return o.value


def read_cas(o):
    return (o.version, o.value)


# The first state; what an operation does; the state that a read has seen.
REGISTER = (None, step_register, read_register)
CAS_REGISTER = ((0, None), step_cas, read_cas)


def bounded(history, model):
    """The same question with fewer or shorter operations of unknown outcome."""
    seen = {}
    for o in history:
        if o.kind == READ and o.answer is not None and o.value is not None:
            seen[o.value] = min(seen.get(o.value, o.answer), o.answer)
    result = []
    for o in history:
        if o.answer is None:
            if o.kind not in (WRITE, CAS):
                continue  # it told nothing and did nothing
            if o.value in seen:
                o = o._replace(answer=seen[o.value])
            elif model is REGISTER:
                continue
        result.append(o)
    return result


class Entry:
    __slots__ = ("op", "number", "match", "before", "after")

    def __init__(self, o, number, match):
        self.op, self.number, self.match = o, number, match
        self.before = self.after = None


def chain(history):
    """All calls and answers in the order of time, as a list with two ends; calls know their answers."""
    end = float("inf")
    events = []
    for number, o in enumerate(history):
        answer = Entry(o, number, None)
        call = Entry(o, number, answer)
        events.append((o.call, 0, number, call))
        events.append((end if o.answer is None else o.answer, 1, number, answer))
    events.sort(key=lambda e: e[:3])
    head = last = Entry(None, -1, None)
    for _, _, _, entry in events:
        last.after, entry.before = entry, last
        last = entry
    return head


def lift(call):
    """Takes a call and its answer out of the list."""
    for entry in (call, call.match):
        entry.before.after = entry.after
        if entry.after is not None:
            entry.after.before = entry.before


def unlift(call):
    for entry in (call.match, call):
        entry.before.after = entry
        if entry.after is not None:
            entry.after.before = entry


def candidates(head, state, step, unread):
    """Calls that may come next, with the states they lead to: those before the first answer."""
    found = []
    entry = head.after
    while entry is not None and entry.match is not None:
        fits, following = step(state, entry.op)
        if fits and entry.op.kind in (READ, CAS_FAILED):
            return [(entry, following)]
        if fits and not unread[state]:
            found.append((entry, following))
        entry = entry.after
    found.reverse()
    return found


def linearizable(history, model):
    """None when there is an order; else lines of text that show where the longest try ended."""
    history = bounded(history, model)
    state, step, saw = model
    unread = collections.Counter(saw(o) for o in history if o.kind == READ)
    head = chain(history)
    taken, seen, frames = 0, set(), []
    done, must = 0, sum(o.answer is not None for o in history)
    furthest, stuck = -1, []
    ways = candidates(head, state, step, unread)
    while done < must:
        if not ways:
            if len(frames) > furthest:
                furthest, stuck = len(frames), around(head, frames, state)
            if not frames:
                return stuck
            entry, state, ways = frames.pop()
            taken &= ~(1 << entry.number)
            done -= entry.op.answer is not None
            unread[saw(entry.op)] += entry.op.kind == READ
            unlift(entry)
            continue
        entry, following = ways.pop()
        with_it = taken | 1 << entry.number
        if (with_it, following) in seen:
            continue
        seen.add((with_it, following))
        frames.append((entry, state, ways))
        state, taken = following, with_it
        done += entry.op.answer is not None
        unread[saw(entry.op)] -= entry.op.kind == READ
        lift(entry)
        ways = candidates(head, state, step, unread)
    return None


def around(head, frames, state):
    """What to show: the state, the latest that were placed, the first that could not be."""
    lines = ["state %r after %d operations, the last:" % (state, len(frames))]
    lines += ["  %r" % (frame[0].op,) for frame in frames[-4:]]
    lines.append("then none of these fits:")
    entry = head.after
    while entry is not None and len(lines) < 16:
        if entry.match is None:
            break
        lines.append("  %r" % (entry.op,))
        entry = entry.after
    return lines
