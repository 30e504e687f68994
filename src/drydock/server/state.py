"""What the arbiter and its workers tell each other: one page of memory that all of them share.

Mapped when this module is first imported, in the arbiter; each worker inherits it by fork. Each
cell is one byte, or two that are aligned, so that nobody can read half of a change.
"""

from __future__ import annotations

import mmap

SERVING, DRAINING, ENDING = range(3)  # the phases of the whole service

# What a worker says of itself, as bits: it has answered a request, it wants a successor, it accepts
# connections, it has been told to end, it leaves the next connection to others for a moment.
ANSWERED, REPLACE, LISTENING, LEAVING, YIELDING = 1, 2, 4, 8, 16

_PHASE, _LAST, _SLOTS = 0, 1, 2  # where on the page: a cell each, then one for each worker's slot
SLOTS = 254  # twice the most workers that there may be: each can be about to be replaced

FULL = 0xFFFF  # as many connections as can be told; also said by a worker that takes no more
SLACK = 3  # how many more than a worker that yields another one takes before it yields as well

_page = mmap.mmap(-1, mmap.PAGESIZE)
_connections = memoryview(_page)[512 : 512 + 2 * SLOTS].cast("H")  # of each worker, by slot


def phase() -> int:
    """Where the service is on its way: SERVING, DRAINING or ENDING."""
    return _page[_PHASE]


def drain() -> None:
    """Let all workers know that the service is about to end."""
    _page[_PHASE] = DRAINING


def end(last: int) -> None:
    """Let all workers know that they shall end; the one in slot `last` accepts what waits."""
    _page[_LAST] = last
    _page[_PHASE] = ENDING


def last() -> int:
    """The slot of the worker that stops accepting last."""
    return _page[_LAST]


def clear(slot: int) -> None:
    """Forget what the worker in `slot` has said: it has ended, or is about to begin."""
    _page[_SLOTS + slot] = _connections[slot] = 0


def note(slot: int, bit: int) -> None:
    """Let the worker in `slot` say something of itself; while it lives only it writes there."""
    _page[_SLOTS + slot] |= bit


def withdraw(slot: int, bit: int) -> None:
    """Let the worker in `slot` no longer say so."""
    _page[_SLOTS + slot] &= ~bit


def says(slot: int, bit: int) -> bool:
    """Whether the worker in `slot` says so."""
    return bool(_page[_SLOTS + slot] & bit)


def others_say(slot: int, bit: int) -> bool:
    """Whether any worker other than the one in `slot` says so."""
    return any(says(other, bit) for other in range(SLOTS) if other != slot)


def count(slot: int, connections: int) -> None:
    """Let the worker in `slot` say how many connections it has."""
    _connections[slot] = min(connections, FULL)


def someone_has_fewer(slot: int) -> bool:
    """Whether another worker, with fewer connections than the one in `slot`, is about to accept.

    Fewer by more than an eighth: where connections come and go it is not worth a wait.
    """
    own = _connections[slot] - _connections[slot] // 8
    return any(
        said & LISTENING and _connections[other] + (SLACK if said & YIELDING else 0) < own
        for other, said in enumerate(_page[_SLOTS : _SLOTS + SLOTS])
        if said
    )
