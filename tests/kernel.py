"""The kernel's own table of its calls, as tests/kernel_calls.txt has it."""

from __future__ import annotations

from pathlib import Path

MACHINES = ("x86_64", "aarch64")


def numbers(machine: str) -> dict[str, int]:
    """The number of each call that a machine's kernel has, by its name."""
    column = 1 + MACHINES.index(machine)
    lines = Path(__file__).with_name("kernel_calls.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
