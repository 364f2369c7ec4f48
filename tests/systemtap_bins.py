"""Bins in scripts against Python's: cases, the script that computes them, and what it should print.

What is expected comes from the rules of `aggregate_states`, which are Python's own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from aggregate_states import log2, log_linear
from spile.spec import AggregateFunction
from spile.systemtap import bins, quoting
from spile.systemtap.integer import Int
from spile.systemtap.needs import Needs
from spile.systemtap.text import joined

_EDGES = [value for bit in range(0, 64, 3) for value in ((1 << bit) - 1, 1 << bit, (1 << bit) + 1)]
_EDGES += [63, 64, 127, 128, 129, (1 << 62) + 12345, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
_I64 = -(1 << 63), (1 << 63) - 1
#: Bounds: usual ones, below 0, steps of one, and as far apart as 64 bits go.
_LINEAR = [(0, 4096, 256), (-20, 100, 10), (-3, 5, 1), (*_I64, (1 << 64) - 1), (-(1 << 63), (1 << 62), 3 << 61)]


@dataclass(frozen=True)
class Case:
    """A value, and how it is sorted."""

    kind: str
    value: int
    unsigned: bool
    bounds: tuple[int, int, int] = (0, 0, 0)

    @property
    def function(self) -> AggregateFunction:
        """As a spec has it."""
        names = ("low", "high", "step") if self.kind == "lhist" else ()
        return AggregateFunction(self.kind, tuple(zip(names, self.bounds, strict=False)))

    @property
    def expected(self) -> int:
        """Its bin."""
        if self.kind != "lhist":
            return {"hist": log2, "quantiles": log_linear}[self.kind](self.value)
        low, high, step = self.bounds
        return 0 if self.value < low else 1 + (min(self.value, high) - low) // step


def cases(count: int) -> list[Case]:
    """The same ones each time."""
    chosen = random.Random(2026)
    made = []
    for _ in range(count):
        unsigned = chosen.random() < 0.4
        value = chosen.choice(_EDGES) if chosen.random() < 0.7 else chosen.getrandbits(chosen.choice([5, 9, 33, 64]))
        if not unsigned:
            value = max(_I64[0], -value) if chosen.random() < 0.5 else min(value, _I64[1])
        made.append(Case(chosen.choice(["hist", "lhist", "quantiles"]), value, unsigned, chosen.choice(_LINEAR)))
    return made


def script(made: list[Case]) -> str:
    """Prints each bin in 8 bytes, a line of the script for each."""
    needs = Needs()
    lines = [
        f"a = given({quoting.number(case.value)}); "
        f'printf("%8b", {bins.number(case.function, Int("a", signed=not case.unsigned), needs)})'
        for case in made
    ]
    functions = [line for function in needs.functions() for line in function.split("\n")]
    # Through a function, so that nothing is computed by the compiler.
    given = "function given:long (value:long) { return value }"
    groups = [f"probe begin({at}) {{\n{joined(lines[at : at + 50])}}}" for at in range(0, len(lines), 50)]
    return "\n".join([*functions, given, *groups, "probe begin(100000) { exit() }"])
