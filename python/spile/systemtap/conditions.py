"""``where=`` in a script's language. In: a condition, and the place where it is tested. Out: an expression, 0 or not.

``&&`` and ``||`` look at their terms from left to right and stop at one that decides, as docs/semantics.md says. A read
that faults raises an error, past any ``!``, to whoever tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spile.expr.compare import Compare
from spile.expr.is_in import IsIn
from spile.expr.logic import And, Not, Or
from spile.expr.node import ConditionNode
from spile.expr.starts_with import StartsWith
from spile.expr.string_in import StringIn
from spile.systemtap import expressions, integer, quoting
from spile.systemtap.places import Place


def test(node: ConditionNode, place: Place) -> str:
    """The condition as an expression."""
    return _LOWERED[type(node)](node, place)


def _compare(node: Compare, place: Place) -> str:
    left, right = expressions.number(node.left, place), expressions.number(node.right, place)
    return integer.compared(node.operator, left, right, place.needs)


def _is_in(node: IsIn, place: Place) -> str:
    value = expressions.number(node.value, place)
    later = value
    if len(node.choices) > 1:
        # Computed once, with the first choice.
        name = place.needs.variable()
        value = replace(value, text=f"({name} = {value.text})", atomic=True)
        later = replace(value, text=name)
    tests = (
        integer.compared("==", later if at else value, integer.literal(choice), place.needs)
        for at, choice in enumerate(node.choices)
    )
    return _joined("||", tests)


def _string_in(node: StringIn, place: Place) -> str:
    value = later = expressions.string(node.value, place)
    if len(node.choices) > 1:
        later = place.needs.variable()
        value = f"({later} = {value})"
    return _joined(
        "||", (f"{later if at else value} == {_words(choice, place)}" for at, choice in enumerate(node.choices))
    )


def _starts_with(node: StartsWith, place: Place) -> str:
    value = expressions.string(node.value, place)
    return f"substr({value}, 0, {len(node.prefix)}) == {_words(node.prefix, place)}"


def _words(words: bytes, place: Place) -> str:
    place.needs.room(len(words) + 2)
    return quoting.text(words)


def _and(node: And, place: Place) -> str:
    return _joined("&&", (test(term, place) for term in node.terms))


def _or(node: Or, place: Place) -> str:
    return _joined("||", (test(term, place) for term in node.terms))


def _not(node: Not, place: Place) -> str:
    return f"!({test(node.term, place)})"


def _joined(sign: str, terms: Any) -> str:
    parts = [f"({term})" for term in terms]
    return parts[0] if len(parts) == 1 else f" {sign} ".join(parts)


_LOWERED: dict[type[ConditionNode], Callable[[Any, Place], str]] = {
    Compare: _compare,
    IsIn: _is_in,
    StringIn: _string_in,
    StartsWith: _starts_with,
    And: _and,
    Or: _or,
    Not: _not,
}
