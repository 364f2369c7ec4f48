"""Histograms: how many values were of which size.

In: counts by bin, and the function whose bins they are. Out: `Histogram`, a mapping of bounds to counts that prints as
a histogram, estimates quantiles and the mean, merges and subtracts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from spile.aggregates import bars, drawing
from spile.aggregates.bins import Bounds, added, bounds
from spile.aggregates.frozen import Frozen
from spile.aggregates.kind import Kind, is_whole
from spile.aggregates.units import human
from spile.spec import AggregateFunction


class Histogram(Frozen, Mapping[Bounds, int]):
    """Counts by ``(low, high)``: of values from `low` on, below `high`; the outer bins of a linear one are infinite.

    Bins without values are left out. Immutable; ``==`` compares the counts and what the bins are; ``a + b`` merges,
    ``a - b`` subtracts. Prints as a histogram; in a notebook it is drawn.
    """

    __slots__ = ("_bins", "_function", "unit")
    __hash__ = None  # type: ignore[assignment]

    _bins: dict[int, int]
    _function: AggregateFunction
    unit: str | None
    """What the values are measured in, such as ``"µs"``; None where that isn't known."""

    def __init__(self, bins: Mapping[int, int], function: AggregateFunction, unit: str | None = None) -> None:
        self._set(_bins={bin: bins[bin] for bin in sorted(bins)}, _function=function, unit=unit)  # noqa: A001

    # A mapping.

    def __getitem__(self, key: Bounds) -> int:
        for bin, count in self._bins.items():  # noqa: A001
            if bounds(self._function, bin) == key:
                return count
        raise KeyError(key)

    def __iter__(self) -> Iterator[Bounds]:
        return (bounds(self._function, bin) for bin in self._bins)  # noqa: A001

    def __len__(self) -> int:
        return len(self._bins)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Histogram):
            return self._function == other._function and self._bins == other._bins
        return dict(self.items()) == dict(other) if isinstance(other, Mapping) else NotImplemented

    # Numbers.

    @property
    def total(self) -> int:
        """How many values there are."""
        return sum(self._bins.values())

    @property
    def is_linear(self) -> bool:
        """Whether its bins are equal steps; else they are powers of two."""
        return self._function.kind == "lhist"

    @property
    def mean(self) -> float:
        """An estimate: each value counts as the middle of its bin, in an open one as its end. NaN of none."""
        total = self.total
        return sum(_middle(bin) * count for bin, count in self.items()) / total if total else math.nan  # noqa: A001

    def quantile(self, q: float) -> float:
        """An estimate of the value that the share `q` (0 … 1) is below, as if each bin's values were spread evenly.

        It lies in the right bin: a power of two, or a step, is all that it can be wrong by. NaN of no values; raises
        ValueError for a share that is none.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"quantile({q!r}): a share lies within 0 … 1, as in quantile(0.99)")
        sought, below = q * self.total, 0
        for (low, high), count in self.items():
            if below + count >= sought and count > 0:
                return _within(low, high, (sought - below) / count)
            below += count
        return math.nan

    # Merging.

    def __add__(self, other: Histogram) -> Histogram:
        return self._combined(other, 1)

    def __sub__(self, other: Histogram) -> Histogram:
        return self._combined(other, -1)

    def _combined(self, other: Histogram, sign: int) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        if self._function != other._function:
            raise TypeError(f"bins differ, so that counts can't be added: {self.form} and {other.form}")
        return Histogram(added(self._bins, other._bins, sign), self._function, self.unit)

    @property
    def form(self) -> str:
        """What its bins are: ``"powers of two"``, ``"0 to 100 by 10"``."""
        parameters = dict(self._function.parameters)
        return "{low} to {high} by {step}".format(**parameters) if self.is_linear else "powers of two"

    # For people.

    def labelled(self) -> list[tuple[str, int]]:
        """Each bin from the first to the last, as ``("[4, 8)", 12)``, empty ones too; many of these are one ``"…"``."""
        rows: list[tuple[str, int]] = []
        last: int | None = None
        for bin, count in self._bins.items():  # noqa: A001
            gap = range(bin if last is None else last + 1, bin)
            rows += [("…", 0)] if len(gap) > _GAP else [(self._label(empty), 0) for empty in gap]
            rows.append((self._label(bin), count))
            last = bin
        return rows

    def _label(self, bin: int) -> str:  # noqa: A002
        low, high = bounds(self._function, bin)
        start = "(…" if low == -math.inf else f"[{human(low, self.unit)}"
        if high - low == 1:
            return f"{start}]"
        return f"{start}, …)" if high == math.inf else f"{start}, {human(high, self.unit)})"

    def __str__(self) -> str:
        return bars.text(self.labelled())

    def __repr__(self) -> str:
        unit = f", in {self.unit}" if self.unit else ""
        return f"<Histogram: {self.total:,} values in {self.form}{unit}{self._middle_words()}>"

    def _middle_words(self) -> str:
        return f", median about {human(self.quantile(0.5), self.unit)}" if self._bins else ""

    def _repr_html_(self) -> str:
        return drawing.histogram(self.labelled())

    def plot(self, ax: Any = None) -> Any:
        """Draws bars into matplotlib's axes `ax`, or new ones, which it gives back. Raises ImportError without it."""
        return drawing.plot(self.labelled(), self.unit, ax)

    def __reduce__(self) -> tuple[Any, ...]:
        return Histogram, (self._bins, self._function, self.unit)


#: Empty bins in a row that are still shown one by one.
_GAP = 8


def _middle(bin: Bounds) -> float:  # noqa: A002
    return _within(*bin, 0.5) if bin[1] - bin[0] != 1 else bin[0]


def _within(low: float, high: float, share: float) -> float:
    if low == -math.inf or high == math.inf:
        return high if low == -math.inf else low
    # A bin of whole numbers ends at the last one of them.
    return low + (high - 1 - low) * share


class Binned(Kind):
    """States are counts by bin."""

    columns: ClassVar[tuple[str, ...]] = ("low", "high", "count")
    is_block = True

    def nothing(self) -> dict[int, int]:
        return {}

    def merged(self, one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int] | None:
        return added(one, other) or None

    def subtracted(self, one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int] | None:
        return added(one, other, -1) or None

    def overall(self, states: Iterable[Mapping[int, int]]) -> dict[int, int]:
        sums: dict[int, int] = {}
        for state in states:
            for bin, hits in state.items():  # noqa: A001
                sums[bin] = sums.get(bin, 0) + hits
        return {bin: hits for bin, hits in sums.items() if hits}  # noqa: A001

    def scaled(self, state: Mapping[int, int], factor: int) -> dict[int, int]:
        return {bin: hits * factor for bin, hits in state.items()}  # noqa: A001

    def check(self, state: Any) -> str | None:
        is_good = isinstance(state, dict) and all(is_whole(bin) and is_whole(hits) for bin, hits in state.items())  # noqa: A001
        least, most = self.range()
        if not is_good:
            return "expected counts by bin"
        beyond = next((bin for bin in state if not least <= bin <= most), None)  # noqa: A001
        return None if beyond is None else f"there is no bin {beyond}: the bins are {least} … {most}"

    def range(self) -> tuple[int, int]:
        """The first bin that there can be, and the last."""
        parameters = dict(self.function.parameters)
        if self.function.kind != "lhist":
            return (-64, 64)
        return (0, (parameters["high"] - parameters["low"]) // parameters["step"] + 1)

    def value(self, state: Mapping[int, int]) -> Any:
        return Histogram(state, self.function, self.unit)

    def state(self, value: Any) -> dict[int, int]:
        if not isinstance(value, Histogram) or value._function != self.function:
            self.refuse(value)
        return dict(value._bins)

    def rank(self, state: Mapping[int, int]) -> int:
        return sum(state.values())

    def hits(self, state: Mapping[int, int]) -> int:
        return sum(state.values())

    def plain(self, state: Mapping[int, int]) -> Any:
        return {bounds(self.function, bin): state[bin] for bin in sorted(state)}  # noqa: A001

    def rows(self, states: Iterable[Mapping[int, int]]) -> tuple[list[int] | None, list[list[Any]]]:
        lengths: list[int] = []
        bins: list[int] = []
        counts: list[int] = []
        for state in states:
            ordered = sorted(state)
            lengths.append(len(ordered))
            bins += ordered
            counts += map(state.__getitem__, ordered)
        known = {bin: bounds(self.function, bin) for bin in set(bins)}  # noqa: A001
        edges = [[float(known[bin][end]) for bin in bins] for end in (0, 1)]  # noqa: A001
        return lengths, [*edges, counts]

    def record(self, state: Mapping[int, int]) -> Mapping[str, Any]:
        ends = [(*bounds(self.function, bin), state[bin]) for bin in sorted(state)]  # noqa: A001
        finite = [(None if math.isinf(low) else low, None if math.isinf(high) else high, n) for low, high, n in ends]
        return {"bins": [dict(zip(self.columns, row, strict=True)) for row in finite]}

    def summary(self, state: Mapping[int, int]) -> str:
        shown = Histogram(state, self.function, self.unit)
        return f"{shown.total:,} values{shown._middle_words()}"
