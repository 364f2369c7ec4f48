"""Units: what a value is measured in, and numbers as people read them.

In: the node of an expression, or a number and its unit. Out: ``"ns"``, ``"µs"``, ``"ms"``, ``"s"`` or None; a short
text. Time is told by what it was divided by; whatever else an expression does to it, its unit is unknown.
"""

from __future__ import annotations

import math

from spile.expr.at_start import AtStart
from spile.expr.binary import Binary
from spile.expr.context import Context
from spile.expr.integer import Integer
from spile.expr.node import Node

#: Units of time, and their nanoseconds.
TIMES = {"ns": 1, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_OF = {factor: unit for unit, factor in TIMES.items()}
#: What counts nanoseconds.
_NANOSECONDS = frozenset({"elapsed", "utime", "stime", "timestamp"})
_BINARY = ("", "K", "M", "G", "T", "P", "E")
_ASCII = {"us": "µs", "μs": "µs"}


def unit_of(node: Node) -> str | None:
    """The unit of an expression's value; None where that isn't known."""
    if isinstance(node, Context):
        return "ns" if node.name in _NANOSECONDS else None
    if isinstance(node, AtStart):
        return unit_of(node.value)
    if not isinstance(node, Binary):
        return None
    left, right = unit_of(node.left), unit_of(node.right)
    if node.operator in ("+", "-") and left == right:
        return left
    if node.operator == "//" and left is not None and isinstance(node.right, Integer):
        return _OF.get(TIMES[left] * node.right.value)
    return None


def spelled(unit: str) -> str:
    """A unit as it is written here: ``us`` is ``µs``."""
    return _ASCII.get(unit, unit)


def human(value: float, unit: str | None = None) -> str:
    """A number with its unit: ``1.02µs``, ``4K``, ``1,000``, ``12 pages``."""
    if math.isnan(value):
        return "none"
    if unit in TIMES:
        return _time(value * TIMES[unit])
    if unit == "bytes":
        return _bytes(value)
    text = _number(value)
    return f"{text} {unit}" if unit else text


def _time(nanoseconds: float) -> str:
    if nanoseconds == 0:
        return "0"
    size = abs(nanoseconds)
    # A value that would be rounded up to 1000 of one unit is 1 of the next.
    unit = next((unit for unit, factor in TIMES.items() if round(size / factor, 1) < 999.5), "s")
    return f"{_digits(nanoseconds / TIMES[unit])}{unit}"


def _bytes(value: float) -> str:
    power = 0
    while abs(value) >= 1024 and power < len(_BINARY) - 1:
        value, power = value / 1024, power + 1
    return f"{_digits(value)}{_BINARY[power]}B"


def _digits(value: float) -> str:
    """Three that count, without zeros at the end; more where the whole part has more."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.5f}".rstrip("0").rstrip(".")


def _number(value: float) -> str:
    """Powers of 1024 as such, where nothing is lost by that."""
    whole = isinstance(value, int) or value.is_integer()
    if not whole:
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    number, power = int(value), 0
    while number and number % 1024 == 0 and power < len(_BINARY) - 1:
        number, power = number // 1024, power + 1
    return f"{number:,}{_BINARY[power]}"
