"""The state that the arbiter and its workers share: one page of memory.

Mapped when this module is first imported, in the arbiter; each worker inherits it by fork. Each
cell is one byte, or two that are aligned, so that no process can read half of a change.
"""

from __future__ import annotations

import mmap

SERVING, DRAINING, ENDING = range(3)  # the phases of the whole service

# A worker's flags, as bits: it has responded to a request, it wants a successor, it accepts
# connections, it is stopping, it leaves the next connection to others for a moment, it serves
# requests before it accepts.
RESPONDED, WANTS_SUCCESSOR, ACCEPTING, STOPPING, YIELDING, BUSY = 1, 2, 4, 8, 16, 32

_PHASE, _LAST, _SLOTS = 0, 1, 2  # where on the page: a cell each, then one for each worker's slot
SLOTS = 254  # twice the most workers that there may be: each can be about to be replaced

FULL = 0xFFFF  # the most connections that a cell can hold; also of a worker that accepts no more
YIELD_SLACK = 3  # how many more than a yielding worker another accepts before it yields as well

_page = mmap.mmap(-1, mmap.PAGESIZE)
_connections = memoryview(_page)[512 : 512 + 2 * SLOTS].cast("H")  # of each worker, by slot


def phase() -> int:
    """The phase of the service: SERVING, DRAINING or ENDING."""
    return _page[_PHASE]


def begin_drain() -> None:
    """Let all workers know that the service is about to end."""
    _page[_PHASE] = DRAINING


def begin_end(last_to_accept: int) -> None:
    """Let all workers know that they must end; one, by its slot, accepts what still waits."""
    _page[_LAST] = last_to_accept
    _page[_PHASE] = ENDING


def last_to_accept() -> int:
    """The slot of the worker that stops accepting last."""
    return _page[_LAST]


def clear_slot(slot: int) -> None:
    """Reset the flags and the count of `slot`: its worker has ended, or is about to begin."""
    _page[_SLOTS + slot] = _connections[slot] = 0


def set_flag(slot: int, flag: int) -> None:
    """Set a flag of the worker in `slot`; only that worker writes there while it lives."""
    _page[_SLOTS + slot] |= flag


def clear_flag(slot: int, flag: int) -> None:
    """Clear a flag of the worker in `slot`."""
    _page[_SLOTS + slot] &= ~flag


def has_flag(slot: int, flag: int) -> bool:
    """Whether the worker in `slot` has set the flag."""
    return bool(_page[_SLOTS + slot] & flag)


def another_has_flag(slot: int, flag: int) -> bool:
    """Whether any worker other than the one in `slot` has set the flag."""
    return any(has_flag(other, flag) for other in range(SLOTS) if other != slot)


def set_connections(slot: int, connections: int) -> None:
    """Let the others know how many connections the worker in `slot` has."""
    _connections[slot] = min(connections, FULL)


def another_has_fewer_connections(slot: int) -> bool:
    """Whether another worker, with fewer connections than the one in `slot`, would accept at once.

    Fewer by more than an eighth: a smaller difference is not worth a wait.
    """
    own = _connections[slot] - _connections[slot] // 8
    return any(
        flags & (ACCEPTING | BUSY) == ACCEPTING
        and _connections[other] + (YIELD_SLACK if flags & YIELDING else 0) < own
        for other, flags in enumerate(_page[_SLOTS : _SLOTS + SLOTS])
        if flags
    )
