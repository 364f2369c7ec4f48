"""Operations that Python has no operator for. In: `Expr` and literals. Out: a `Condition` or an `Expr`."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from spile.enums import NamedInt
from spile.errors import SpecError
from spile.expr import literal, operand
from spile.expr.at_start import AtStart
from spile.expr.compare import Compare
from spile.expr.integer import Integer
from spile.expr.is_in import IsIn
from spile.expr.logic import And
from spile.expr.node import Kind
from spile.expr.starts_with import StartsWith
from spile.expr.string import DEFAULT_LIMIT, MAX_LIMIT, String
from spile.expr.string_in import StringIn
from spile.expr.wrapper import Condition, Expr, Value

T = TypeVar("T")


@overload
def isin(x: Expr[int], /, *values: int) -> Condition: ...
@overload
def isin(x: Expr[NamedInt], /, *values: str) -> Condition: ...
@overload
def isin(x: Expr[str], /, *values: str) -> Condition: ...
def isin(x: Expr[Any], /, *values: object) -> Condition:
    """Holds where `x` equals one of `values`: integers, or strings, at least one.

    Raises SpecError for no values, mixed ones, captures among them, and what `==` refuses.
    """
    node = operand.value(x, "isin()")
    if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset, range)):
        raise SpecError(f"isin() takes the values one by one: isin({node.spell()}, *values)")
    if not values:
        raise SpecError(f"isin({node.spell()}) never holds: give at least one value")
    if isinstance(values[0], str | bytes) or node.kind is Kind.STRING:
        operand.string(node, "isin()")
        words = (operand.string_literal(node, value, f"isin({node.spell()}, …)") for value in values)
        return Condition(StringIn(node, tuple(dict.fromkeys(words))))
    operand.number(x, "isin()")
    numbers: dict[int, None] = {}
    for value in values:
        if operand.node_of(value) is not None or not literal.is_integer(value):
            raise SpecError(
                f"isin({node.spell()}, …) takes integers or strings, all of one type, not {operand.described(value)}"
                + ("; join comparisons by |" if operand.node_of(value) is not None else "")
            )
        numbers[literal.integer(value)] = None
    return Condition(IsIn(node, tuple(numbers)))


def between(x: Expr[int], low: int | Expr[int], high: int | Expr[int], /) -> Condition:
    """Holds where ``low <= x <= high``, both ends included. Raises SpecError where that can never hold."""
    operand.value(x, "between()")
    node = operand.number(x, "between()")
    least, most = operand.number(low, "between()"), operand.number(high, "between()")
    if isinstance(least, Integer) and isinstance(most, Integer) and least.value > most.value:
        raise SpecError(f"between({node.spell()}, {least.spell()}, {most.spell()}) never holds: swap the bounds")
    return Condition(And.of((Compare(">=", node, least), Compare("<=", node, most))))


def startswith(x: Expr[str], prefix: str, /) -> Condition:
    """Holds where the string `x` begins with `prefix`, which is not empty. Raises SpecError for what is no string."""
    node = operand.string(operand.value(x, "startswith()"), "startswith()")
    words = operand.string_literal(node, prefix, f"startswith({node.spell()}, …)")
    if not words:
        raise SpecError(f"every string begins with nothing: give startswith({node.spell()}, …) a prefix")
    return Condition(StartsWith(node, words))


def at_start(x: Expr[T], /) -> Expr[T]:
    """`x` as it was when the span started, or the function was entered: ``at_start(comm)``, ``at_start(kstack)``.

    Fields in it are those of the span's start. Raises SpecError for an `x` that has at_start() in it already, or is no
    value.
    """
    node = operand.value(x, "at_start()")
    if any(isinstance(part, AtStart) for part in node.walk()):
        raise SpecError(f"at_start() once is enough: say {node.spell()}")
    return Value(AtStart(node))


def string(pointer: Expr[int], /, limit: int = DEFAULT_LIMIT) -> Expr[str]:
    """The NUL-terminated string that `pointer` points to, read when the probe fires; user or kernel memory.

    At most `limit` bytes, the NUL included, within 1 … 16384; what is longer is cut, and flagged. A read that faults
    gives None.
    """
    operand.value(pointer, "string()")
    node = operand.number(pointer, "string()")
    if isinstance(limit, bool) or not literal.is_integer(limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise SpecError(
            f"string({node.spell()}, limit): a limit is a number of bytes within 1 … {MAX_LIMIT}, not {limit!r}"
        )
    return Value(String(node, int(limit)))
