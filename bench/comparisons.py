"""The comparisons: which servers, under which loads, in rounds that take turns.

A machine is never the same twice, so only what was measured in one round is compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import answers
import shapes
import wrk
from answers import Request
from common import say
from servers import on_postgres, running
from wrk import Load

if TYPE_CHECKING:
    from servers import Images
    from shapes import Shape
    from wrk import Sample

# For each server, each load: a sample for each round.
Figures = dict[str, dict[str, list["Sample"]]]

NOTE = Request("/notes/1")
SLOW = "/bench/slow"
GREETING = (
    Load("1 connection", connections=1),
    Load("16 connections", connections=16),
    Load("64 connections", seconds=2),
    Load("512 connections", connections=512),
    Load("64, one request each", close=True),
)
PATHS = (
    Load("`/livez`", Request("/livez")),
    Load("SQLite", NOTE),
    Load("50 ms slow", Request(SLOW), seconds=2),
    Load("1 MB response", Request("/bench/large")),
    Load("100 kB body", Request("/bench/receive", 100_000)),
    Load("fast ones among slow ones", connections=32, seconds=2, beside=SLOW),
)
CONNECTIONS = tuple(Load(str(number), connections=number) for number in (1, 16, 128, 1024, 4096))
KEPT = (GREETING[2],)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Servers that are compared under the same loads.

    Attributes:
        servers: what is compared; the first one's answers are what all have to answer.
        loads: what each is put under.
        rounds: how often, at the most.
        postgres: whether the data is in PostgreSQL.

    """

    servers: tuple[Shape, ...]
    loads: tuple[Load, ...]
    rounds: int = 99
    postgres: bool = False


COMPARISONS = {
    "greeting": Comparison(shapes.ALL, GREETING),
    "paths": Comparison(shapes.FEW, PATHS),
    "postgres": Comparison(shapes.FEW, (Load("PostgreSQL", NOTE),), postgres=True),
    "workers": Comparison(
        tuple(shape for number in (1, 2, 4) for shape in shapes.of_workers(number)), KEPT, rounds=3
    ),
    "connections": Comparison(
        (shapes.ON, shapes.OFF, shapes.GTHREAD_OFF, shapes.GRANIAN_OFF), CONNECTIONS, rounds=3
    ),
}
# By their names alone: how this image came to be as it is, not how it is beside others.
APART = {
    "cost": Comparison(shapes.COST, KEPT),
    "worker": Comparison(shapes.WORKER, GREETING[1:]),
}
QUICK = {
    "greeting": Comparison(shapes.ALL, (*KEPT, GREETING[4])),
    "paths": Comparison(shapes.FEW, PATHS[-1:]),
}


def check(images: Images, comparison: Comparison, *options: str) -> None:
    """Start each server once; see that it answers as the first one does.

    Raises:
        SystemExit: if one does not start, or answers otherwise.

    """
    say(f"comparing the answers of {len(comparison.servers)} servers")
    expected: dict[Request, answers.Answer] = {}
    for shape in comparison.servers:
        asked = {Request()} if shape.bare else {load.request for load in comparison.loads}
        with running(images, shape, *options) as server:
            found = answers.of(server, asked)
        expected = expected or found
        answers.compare(shape.title, found, expected)


def measure(images: Images, comparison: Comparison, rounds: int) -> Figures:
    """Compare what the servers answer; then, in each round, start each anew and load it.

    Raises:
        SystemExit: if a server does not start, or answers otherwise than the first one; then
            nothing is timed.

    """
    figures: Figures = {shape.title: {} for shape in comparison.servers}
    rounds = min(rounds, comparison.rounds)
    with contextlib.ExitStack() as stack:
        options: tuple[str, ...] = ()
        if comparison.postgres:
            options = stack.enter_context(on_postgres(images, comparison.servers[0]))
        check(images, comparison, *options)
        for number in range(rounds):
            for shape in comparison.servers:
                say(f"round {number + 1} of {rounds}: {shape.title}")
                with running(images, shape, *options) as server:
                    wrk.run(server, Load("warming up", comparison.loads[0].request))
                    for load in comparison.loads:
                        samples = figures[shape.title].setdefault(load.title, [])
                        samples.append(wrk.run(server, load))
    return figures
