"""Which Python values may stand in an expression.

In: any object. Out: an int or bytes, or a SpecError with the remedy.
"""

from __future__ import annotations

import operator

from spile.errors import SpecError
from spile.expr.node import GREATEST, LEAST

#: The kernel keeps a task's name in 16 bytes, the NUL included.
COMM_BYTES = 15


def is_integer(value: object) -> bool:
    """Whether it counts as an integer: an int, an enum's member, anything with ``__index__`` but a capture."""
    # A capture's own ``__index__`` is a trap that raises.
    return hasattr(type(value), "__index__") and not hasattr(type(value), "__spile_node__")


def integer(value: object) -> int:
    """A literal of at most 64 bits."""
    # Twice, for a bool and an enum's member are their own index.
    number = int(operator.index(value))  # type: ignore[arg-type]
    if not LEAST <= number <= GREATEST:
        shown = str(number) if number.bit_length() < 200 else f"an integer of {number.bit_length()} bits"
        raise SpecError(f"{shown} does not fit 64 bits: a literal lies within -2**63 … 2**64 - 1")
    return number


def string(value: str) -> bytes:
    """A literal's bytes; what surrogate escapes stand for are bytes that are no UTF-8."""
    try:
        literal = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise SpecError(
            f"{value!a} holds a lone surrogate that stands for no byte: no string in the kernel has it"
        ) from None
    if b"\0" in literal:
        raise SpecError(f"{value!a} holds a NUL, where a string in the kernel ends: leave it out")
    return literal


def decoded(literal: bytes) -> str:
    """A literal as Python writes it."""
    return literal.decode("utf-8", "surrogateescape")
