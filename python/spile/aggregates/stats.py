"""Numbers of values: how many, their sum, the least, the greatest, the mean. In: the first four. Out: all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spile.aggregates.kind import Kind, is_whole
from spile.aggregates.units import human

State = tuple[int, int, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Stats:
    """Of `count` values their sum, the least and the greatest.

    ``a + b`` is of both's values. ``a - b`` has no least and greatest any more: they are None.
    """

    count: int
    total: int
    """Their sum."""
    min: int | None
    max: int | None
    unit: str | None = field(default=None, compare=False)

    @property
    def avg(self) -> float:
        """The mean; NaN of no values."""
        return self.total / self.count if self.count else math.nan

    def __add__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        return Stats(*_added(_state(self), _state(other)), self.unit)

    def __sub__(self, other: Stats) -> Stats:
        if not isinstance(other, Stats):
            return NotImplemented
        return Stats(*_less(_state(self), _state(other)), self.unit)

    def __str__(self) -> str:
        shown = [f"{self.count:,} values"]
        named = {"total": self.total, "avg": self.avg, "min": self.min, "max": self.max}
        shown += [f"{name} {human(value, self.unit)}" for name, value in named.items() if value is not None]
        return ", ".join(shown) if self.count else "no values"


def _state(stats: Stats) -> State:
    return (stats.count, stats.total, stats.min, stats.max)


def _added(one: State, other: State) -> State:
    # Of no values there is no least one; of some there is none only where others were subtracted.
    extremes = [each for each in (one, other) if each[0]]
    known = [each[2:] for each in extremes]
    unknown = not known or any(None in pair for pair in known)
    least = None if unknown else min(pair[0] for pair in known)  # type: ignore[type-var]
    most = None if unknown else max(pair[1] for pair in known)  # type: ignore[type-var]
    return (one[0] + other[0], one[1] + other[1], least, most)


def _less(one: State, other: State) -> State:
    if other[:2] == (0, 0):
        return one
    return (one[0] - other[0], one[1] - other[1], None, None)


def _something(state: State) -> State | None:
    return state if state[:2] != (0, 0) else None


class Several(Kind):
    """States are `Stats` without a unit."""

    columns = ("count", "sum", "min", "max", "avg")

    def nothing(self) -> State:
        return (0, 0, None, None)

    def merged(self, one: State, other: State) -> State | None:
        return _something(_added(one, other))

    def subtracted(self, one: State, other: State) -> State | None:
        return _something(_less(one, other))

    def scaled(self, state: State, factor: int) -> State:
        return (state[0] * factor, state[1] * factor, state[2], state[3])

    def check(self, state: Any) -> str | None:
        is_good = isinstance(state, tuple) and len(state) == 4 and all(map(is_whole, state[:2]))
        is_good = is_good and all(each is None or is_whole(each) for each in state[2:])
        return None if is_good else "expected a number of values, their sum, the least and the greatest"

    def value(self, state: State) -> Stats:
        return Stats(*state, self.unit)

    def state(self, value: Any) -> State:
        return _state(value) if isinstance(value, Stats) else self.refuse(value)

    def rank(self, state: State) -> int:
        return state[1]

    def hits(self, state: State) -> int:
        return state[0]

    def plain(self, state: State) -> dict[str, Any]:
        return {"count": state[0], "sum": state[1], "min": state[2], "max": state[3], "avg": Stats(*state).avg}

    def rows(self, states: Iterable[State]) -> tuple[list[int] | None, list[list[Any]]]:
        columns = [list(column) for column in zip(*states, strict=True)] or [[], [], [], []]
        pairs = zip(columns[0], columns[1], strict=True)
        return None, [*columns, [sum / count if count else math.nan for count, sum in pairs]]  # noqa: A001

    def record(self, state: State) -> Mapping[str, Any]:
        return self.plain(state) | ({} if state[0] else {"avg": None})

    @property
    def headings(self) -> tuple[str, ...]:
        return ("count", "total", "avg", "min", "max")

    def cells(self, state: State) -> list[str]:
        named = Stats(*state)
        values = (named.total, named.avg, named.min, named.max)
        return [f"{named.count:,}", *("?" if value is None else human(value, self.unit) for value in values)]
