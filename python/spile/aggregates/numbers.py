"""Aggregates that are one number: how many, their sum, the least, the greatest. In: ints. Out: the same ints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from spile.aggregates.kind import Kind, is_whole
from spile.aggregates.units import human


class Number(Kind):
    """A state that is what a user sees."""

    is_plain = True

    def value(self, state: Any) -> Any:
        return state

    def state(self, value: Any) -> Any:
        if not is_whole(value):
            self.refuse(value)
        return value

    def check(self, state: Any) -> str | None:
        return None if is_whole(state) else "expected an integer"

    def rank(self, state: Any) -> Any:
        return state

    def hits(self, state: Any) -> int | None:
        return None

    def plain(self, state: Any) -> Any:
        return state

    def rows(self, states: Iterable[Any]) -> tuple[list[int] | None, list[list[Any]]]:
        return None, [list(states)]

    def record(self, state: Any) -> Mapping[str, Any]:
        return {self.columns[0]: state}

    def summary(self, state: Any) -> str:
        return "none" if state is None else f"{state:,}" if self.unit is None else human(state, self.unit)


class Count(Number):
    """How many events."""

    columns = ("count",)
    has_total = True

    def nothing(self) -> int:
        return 0

    def merged(self, one: int, other: int) -> int | None:
        return one + other or None

    def subtracted(self, one: int, other: int) -> int | None:
        return one - other or None

    def scaled(self, state: int, factor: int) -> int:
        return state * factor

    def hits(self, state: int) -> int:
        return state

    def total(self, states: Iterable[int]) -> int:
        return sum(states)


class Sum(Number):
    """The values' sum. A sum of 0 is one of events all the same, so that it doesn't fall out of what is merged."""

    columns = ("sum",)
    has_total = True

    def nothing(self) -> int:
        return 0

    def merged(self, one: int, other: int) -> int:
        return one + other

    def subtracted(self, one: int, other: int) -> int | None:
        return one - other or None

    def scaled(self, state: int, factor: int) -> int:
        return state * factor

    def total(self, states: Iterable[int]) -> int:
        return sum(states)


class Extreme(Number):
    """The least or the greatest value; None of no events."""

    no_difference: ClassVar[str | None] = "which value was the next one isn't known"

    def nothing(self) -> None:
        return None

    def state(self, value: Any) -> Any:
        return None if value is None else super().state(value)

    def scaled(self, state: Any, factor: int) -> Any:
        return state

    def hits(self, state: Any) -> None:
        return None

    def total(self, states: Iterable[Any]) -> Any:
        raise AttributeError(f"a {self.name} has no total: overall is the {self.name} of all keys' events")


class Least(Extreme):
    """The least value."""

    columns = ("min",)

    def merged(self, one: int | None, other: int | None) -> int | None:
        return min((value for value in (one, other) if value is not None), default=None)


class Greatest(Extreme):
    """The greatest value."""

    columns = ("max",)

    def merged(self, one: int | None, other: int | None) -> int | None:
        return max((value for value in (one, other) if value is not None), default=None)
