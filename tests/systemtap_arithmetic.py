"""Integers in scripts against Python's: cases, the script that computes them, and what it should print.

What is expected comes from Python's own arithmetic on unbounded integers, and the rules of docs/semantics.md.
"""

from __future__ import annotations

import operator
import random
from dataclasses import dataclass

from spile.expr.binary import OPERATORS
from spile.expr.compare import OPERATORS as COMPARISONS
from spile.systemtap import integer, quoting
from spile.systemtap.integer import Int
from spile.systemtap.needs import Needs
from spile.systemtap.text import joined

_EDGES = [0, 1, 2, 3, 7, 63, 64, 65, 4095, (1 << 31) - 1, 1 << 32, (1 << 62) + 1, (1 << 63) - 1]
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Operand:
    """A value, and whether it is of the unsigned kind."""

    value: int
    unsigned: bool
    #: Written into the expression, so that the generator knows it.
    literal: bool

    def lowered(self, variable: str) -> Int:
        """For the generator."""
        if self.literal:
            return integer.literal(self.value)
        return Int(variable, signed=not self.unsigned)


@dataclass(frozen=True)
class Case:
    """An operator between two operands."""

    operator: str
    left: Operand
    right: Operand


def cases(count: int) -> list[Case]:
    """The same ones each time."""
    chosen = random.Random(2026)
    return [Case(chosen.choice([*OPERATORS, *COMPARISONS]), _operand(chosen), _operand(chosen)) for _ in range(count)]


def _operand(chosen: random.Random) -> Operand:
    value = chosen.choice(_EDGES) if chosen.random() < 0.8 else chosen.getrandbits(chosen.choice([8, 33, 63]))
    unsigned = chosen.random() < 0.4
    if unsigned and chosen.random() < 0.6:
        value = (1 << 64) - 1 - value
    elif not unsigned and chosen.random() < 0.5:
        value = -value - (value == (1 << 63) - 1)
    literal = chosen.random() < 0.3
    # A literal below 2**63 is signed, whatever was meant.
    return Operand(value, unsigned and not (literal and value < 1 << 63), literal)


def script(made: list[Case]) -> str:
    """Prints each result in 8 bytes, a line of the script for each."""
    needs = Needs()
    lines: list[str] = []
    for case in made:
        left, right = case.left.lowered("a"), case.right.lowered("b")
        if case.operator in _COMPARE:
            text = integer.compared(case.operator, left, right, needs)
        else:
            text = integer.arithmetic(case.operator, left, right, needs).text
        values = f"a = given({quoting.number(case.left.value)}); b = given({quoting.number(case.right.value)})"
        lines.append(f'{values}; printf("%8b", {text})')
    functions = [line for function in needs.functions() for line in function.split("\n")]
    # Through a function, so that nothing is computed by the compiler.
    given = "function given:long (value:long) { return value }"
    groups = [f"probe begin({at}) {{\n{joined(lines[at : at + 50])}}}" for at in range(0, len(lines), 50)]
    return "\n".join([*functions, given, *groups, "probe begin(100000) { exit() }"])


def expected(case: Case) -> int:
    """The result's 64 bits."""
    left, right = case.left, case.right
    if case.operator in _COMPARE:
        return int(_COMPARE[case.operator](left.value, right.value))
    a, b, bits = left.value, right.value, (1 << 64) - 1
    if case.operator in ("<<", ">>"):
        b &= bits
        if case.operator == "<<":
            return (a << b if b < 64 else 0) & bits
        return (a >> min(b, 64)) & bits
    if left.unsigned or right.unsigned:
        a, b = a & bits, b & bits
    if case.operator in ("//", "%") and b == 0:
        return 0
    exact = {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "//": operator.floordiv,
        "%": operator.mod,
        "&": operator.and_,
        "|": operator.or_,
        "^": operator.xor,
    }
    return exact[case.operator](a, b) & bits
