"""Means that still merge. In: how many values there were, and their sum. Out: a float that knows both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from spile.aggregates.kind import Kind, is_whole
from spile.aggregates.units import human


class Average(float):
    """The mean of `count` values, `sum` together; NaN of none. A float in everything: its ``+`` is a float's."""

    count: int
    """How many values."""
    sum: int
    """Their sum."""

    def __new__(cls, count: int, sum: int) -> Average:  # noqa: A002  # it is called so everywhere else
        made = super().__new__(cls, sum / count if count else math.nan)
        made.count, made.sum = count, sum
        return made

    def merge(self, other: Average) -> Average:
        """The mean of both's values."""
        if not isinstance(other, Average):
            raise TypeError(f"a mean merges with another one, which knows its count; not with {other!r}")
        return Average(self.count + other.count, self.sum + other.sum)

    def __reduce__(self) -> tuple[Any, ...]:
        return Average, (self.count, self.sum)

    def __repr__(self) -> str:
        return f"<Average: {float(self):.6g} of {self.count:,}>"


class Mean(Kind):
    """States are pairs: how many, and their sum."""

    columns = ("avg", "count", "sum")

    def nothing(self) -> tuple[int, int]:
        return (0, 0)

    def merged(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
        state = (one[0] + other[0], one[1] + other[1])
        return state if state != (0, 0) else None

    def subtracted(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
        return self.merged(one, (-other[0], -other[1]))

    def scaled(self, state: tuple[int, int], factor: int) -> tuple[int, int]:
        return (state[0] * factor, state[1] * factor)

    def check(self, state: Any) -> str | None:
        is_good = isinstance(state, tuple) and len(state) == 2 and all(map(is_whole, state))
        return None if is_good else "expected a number of values and their sum"

    def value(self, state: tuple[int, int]) -> Average:
        return Average(*state)

    def state(self, value: Any) -> tuple[int, int]:
        if not isinstance(value, Average):
            self.refuse(value)
        return (value.count, value.sum)

    def rank(self, state: tuple[int, int]) -> float:
        return state[1] / state[0] if state[0] else -math.inf

    def hits(self, state: tuple[int, int]) -> int:
        return state[0]

    def plain(self, state: tuple[int, int]) -> float:
        return float(Average(*state))

    def rows(self, states: Iterable[tuple[int, int]]) -> tuple[list[int] | None, list[list[Any]]]:
        counts, sums = [list(column) for column in zip(*states, strict=True)] or [[], []]
        means = [sum / count if count else math.nan for count, sum in zip(counts, sums, strict=True)]  # noqa: A001
        return None, [means, counts, sums]

    def record(self, state: tuple[int, int]) -> Mapping[str, Any]:
        return {"avg": state[1] / state[0] if state[0] else None, "count": state[0], "sum": state[1]}

    def summary(self, state: tuple[int, int]) -> str:
        return human(float(Average(*state)), self.unit)
