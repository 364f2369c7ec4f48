"""Quantiles of any share, within 1/128 of the value that a sorted list would have there.

In: counts by the bins of a log-linear histogram. Out: `Quantiles`, which answers, merges and subtracts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from spile.aggregates.bins import added, bounds
from spile.aggregates.frozen import Frozen
from spile.aggregates.histogram import Binned
from spile.aggregates.units import human
from spile.spec import AggregateFunction

_FUNCTION = AggregateFunction("quantiles")
#: What is shown, and its name.
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Quantiles(Frozen):
    """The distribution of `count` values: `quantile` of any share, off by 1/128 of the true one at most.

    Immutable; ``==`` compares all that is known; ``a + b`` is of both's values, ``a - b`` without `b`'s.
    """

    __slots__ = ("_bins", "unit")
    __hash__ = None  # type: ignore[assignment]

    relative_error = 1 / 128
    _bins: dict[int, int]
    unit: str | None
    """What the values are measured in; None where that isn't known."""

    def __init__(self, bins: Mapping[int, int], unit: str | None = None) -> None:
        self._set(_bins={bin: bins[bin] for bin in sorted(bins)}, unit=unit)  # noqa: A001

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self._bins.values())

    def quantile(self, q: float) -> float:
        """The least value that the share `q` (0 … 1) is not above: ``quantile(0.99)``.

        NaN of no values; raises ValueError for a share that is none.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"quantile({q!r}): a share lies within 0 … 1, as in quantile(0.99)")
        sought, below = max(math.ceil(q * self.count), 1), 0
        for bin, count in self._bins.items():  # noqa: A001
            below += count
            if below >= sought:
                low, high = bounds(_FUNCTION, bin)
                return (low + high - 1) / 2
        return math.nan

    @property
    def median(self) -> float:
        """``quantile(0.5)``."""
        return self.quantile(0.5)

    @property
    def min(self) -> float:
        """The least value, within the same error."""
        return self.quantile(0)

    @property
    def max(self) -> float:
        """The greatest value, within the same error."""
        return self.quantile(1)

    def __add__(self, other: Quantiles) -> Quantiles:
        if not isinstance(other, Quantiles):
            return NotImplemented
        return Quantiles(added(self._bins, other._bins), self.unit)

    def __sub__(self, other: Quantiles) -> Quantiles:
        if not isinstance(other, Quantiles):
            return NotImplemented
        return Quantiles(added(self._bins, other._bins, -1), self.unit)

    def __eq__(self, other: object) -> bool:
        return self._bins == other._bins if isinstance(other, Quantiles) else NotImplemented

    def __str__(self) -> str:
        if not self.count:
            return "no values"
        named = {"min": 0, **SHARES, "max": 1}
        shown = [f"{name} {human(self.quantile(share), self.unit)}" for name, share in named.items()]
        return ", ".join([f"{self.count:,} values", *shown])

    def __repr__(self) -> str:
        return f"<Quantiles: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Quantiles, (self._bins, self.unit)


class LogLinear(Binned):
    """States are counts by log-linear bin."""

    columns = ("count", "min", *SHARES, "max")
    is_block = False

    def range(self) -> tuple[int, int]:
        return (-3776, 3775)

    def value(self, state: Mapping[int, int]) -> Quantiles:
        return Quantiles(state, self.unit)

    def state(self, value: Any) -> dict[int, int]:
        return dict(value._bins) if isinstance(value, Quantiles) else self.refuse(value)

    def plain(self, state: Mapping[int, int]) -> dict[str, Any]:
        of = Quantiles(state)
        return dict(zip(self.columns, [of.count, *map(of.quantile, (0, *SHARES.values(), 1))], strict=True))

    def rows(self, states: Iterable[Mapping[int, int]]) -> tuple[list[int] | None, list[list[Any]]]:
        lines = [list(self.plain(state).values()) for state in states]
        return None, [list(column) for column in zip(*lines, strict=True)] or [[] for _ in self.columns]

    def record(self, state: Mapping[int, int]) -> Mapping[str, Any]:
        return {name: None if number != number else number for name, number in self.plain(state).items()}

    def summary(self, state: Mapping[int, int]) -> str:
        return str(Quantiles(state, self.unit))

    @property
    def headings(self) -> tuple[str, ...]:
        return self.columns

    def cells(self, state: Mapping[int, int]) -> list[str]:
        count, *values = self.plain(state).values()
        return [f"{count:,}", *(human(value, self.unit) for value in values)]
