"""An immutable table of one moment or interval: merges and subtracts, compares, pickles, draws its stacks.

In: states by key. Out: values by key. Values are made when they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from spile.aggregates import Kind, kind_of
from spile.aggregates.frozen import Frozen
from spile.spec import COUNT, AggregateFunction
from spile.table import binary, markup
from spile.table.conversions import Convertible
from spile.table.folding import fold
from spile.table.keys import parts_of
from spile.table.listing import at_least_zero, describe, listing
from spile.table.saved import SavedStack, saved

if TYPE_CHECKING:
    import os

K = TypeVar("K")
V = TypeVar("V")


class Snapshot(Frozen, Convertible, Mapping[K, V]):
    """An immutable table of one moment or interval.

    ``a + b`` merges; ``a - b`` subtracts, where the aggregate has differences (keys of which nothing is left fall out;
    what would be negative stays, so that ``a - b + b == a``), and raises TypeError where it has none. Compares with any
    mapping, pickles, and has a binary form for other machines (`to_bytes`); not hashable.
    """

    __slots__ = ("_kind", "_names", "_sample", "_states")
    __hash__ = None  # type: ignore[assignment]

    _kind: Kind
    _names: tuple[str, ...]
    _sample: int
    _states: dict[K, Any]

    def __init__(
        self,
        rows: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        function: AggregateFunction = COUNT,
        *,
        by: tuple[str, ...] = (),
        unit: str | None = None,
        sample: int = 1,
    ) -> None:
        """Made by hand, of values that the aggregate `function` has; `by` names the parts of keys."""
        kind = kind_of(function, unit)
        states = {key: kind.state(value) for key, value in dict(rows).items()}
        self._set(_states=states, _kind=kind, _names=by, _sample=sample)

    @classmethod
    def _of(cls, states: dict[K, Any], kind: Kind, names: tuple[str, ...], sample: int = 1) -> Self:
        made = cls.__new__(cls)
        made._set(_states=states, _kind=kind, _names=names, _sample=sample)
        return made

    # A mapping.

    def __getitem__(self, key: K) -> V:
        return cast(V, self._kind.value(self._states[key]))

    def __iter__(self) -> Iterator[K]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, key: object) -> bool:
        return key in self._states

    def items(self) -> ItemsView[K, V]:
        """Keys and values."""
        return self._states.items() if self._kind.is_plain else ItemsView(self)

    def values(self) -> ValuesView[V]:
        """The values."""
        return self._states.values() if self._kind.is_plain else ValuesView(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Snapshot):
            is_same_kind = self._kind == other._kind or not (self._states or other._states)
            is_same_kind &= self.sample == other.sample or not (self._states or other._states)
            one, two = _comparable(self, other)
            return is_same_kind and one == two
        return dict(self.items()) == dict(other) if isinstance(other, Mapping) else NotImplemented

    # Of all keys.

    @property
    def function(self) -> AggregateFunction:
        """What was accumulated."""
        return self._kind.function

    @property
    def unit(self) -> str | None:
        """What the values are measured in; None where that isn't known."""
        return self._kind.unit

    @property
    def sample(self) -> int:
        """How many hits one that is counted stands for, by its probe's ``sample=``. Values are as they were counted."""
        return self._sample

    def scaled(self) -> Snapshot[K, V]:
        """As it would be, about, if every hit had been taken: numbers of hits and sums times `sample`, which is 1 then.

        The least, the greatest, means and quantiles stay as they are. Raises TypeError for `distinct`: nobody knows how
        many values were in the hits that were left out.
        """
        states = {key: self._kind.scaled(state, self.sample) for key, state in self._states.items()}
        return Snapshot._of(states, self._kind, self._names)

    @property
    def total(self) -> V:
        """The sum of the values, of a count or a sum. Raises AttributeError for every other aggregate."""
        return cast(V, self._kind.total(self._states.values()))

    @property
    def hits(self) -> int:
        """How many events it is of. Raises AttributeError where that isn't kept: for sum, min, max and distinct."""
        if self._kind.hits(self._kind.nothing()) is None:
            raise AttributeError(
                f"a {self._kind.name} doesn't keep how many events it is of; the table's own hits does"
            )
        return sum(cast(int, self._kind.hits(state)) for state in self._states.values())

    @property
    def overall(self) -> V:
        """One value of all keys' events: the histogram of all, the least of all."""
        return cast(V, self._kind.value(self._kind.overall(self._states.values())))

    def top(self, n: int = 10, *, key: Callable[[V], Any] | None = None) -> list[tuple[K, V]]:
        """The `n` greatest, those first; equal ones in the order in which they were counted first.

        By number, sum, mean or value; `stats` by their sum, the others by hits; by ``key(value)`` if that is given.
        """
        import heapq

        at_least_zero(n)
        if key is not None:
            by = key
            return heapq.nlargest(n, self.items(), key=lambda row: by(row[1]))
        return [(part, cast(V, self._kind.value(state))) for part, state in self._top(n)]

    def _top(self, n: int) -> list[tuple[K, Any]]:
        import heapq

        rank = self._kind.rank
        return heapq.nlargest(n, self._states.items(), key=lambda row: rank(row[1]))

    # Merging.

    def __add__(self, other: Mapping[K, V]) -> Snapshot[K, V]:
        return self._combined(other, self._kind.merged)

    def __radd__(self, other: Mapping[K, V] | int) -> Snapshot[K, V]:
        # So that sum(snapshots) works: it begins with 0.
        if isinstance(other, int):
            return self if other == 0 else NotImplemented
        return self._combined(other, self._kind.merged)

    def __sub__(self, other: Mapping[K, V]) -> Snapshot[K, V]:
        self._kind.must_subtract()
        return self._combined(other, self._kind.subtracted)

    def _combined(self, other: Mapping[K, V], combine: Callable[[Any, Any], Any]) -> Snapshot[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        if isinstance(other, Snapshot):
            if self._kind != other._kind and not self._states and combine == self._kind.merged:
                return other
            if other._states:
                self._must_match(other)
            rows, others = _comparable(self, other)
        else:
            rows, others = self._states, {key: self._kind.state(value) for key, value in other.items()}
        rows, nothing = dict(rows), self._kind.nothing()
        for key, state in others.items():
            result = combine(rows.get(key, nothing), state)
            if result is None:
                rows.pop(key, None)
            else:
                rows[key] = result
        sampled = other if isinstance(other, Snapshot) and not self._states else self
        return Snapshot._of(rows, self._kind, self._names or getattr(other, "_names", ()), sampled.sample)

    def _must_match(self, other: Snapshot[Any, Any]) -> None:
        if self._kind != other._kind:
            raise TypeError(f"a table of {self._kind} and one of {other._kind} don't merge")
        if self.unit != other.unit and None not in (self.unit, other.unit):
            raise TypeError(f"values in {self.unit} and in {other.unit} don't merge")
        if self._states and self.sample != other.sample:
            one, two = sorted((self.sample, other.sample))
            raise TypeError(f"samples of one of {one:,} and one of {two:,} don't merge: merge what scaled() gives")

    # Stacks.

    def folded(self) -> list[tuple[str, int]]:
        """Folded stacks and their counts, outermost frame first: the keys' other parts, the user stack, the kernel's.

        Raises TypeError when the keys hold no stack, or the values are no numbers of events and no sums.
        """
        if not self._kind.has_total:
            raise TypeError(f"a flame graph adds up counts or sums, and this is a table of {self._kind}")
        sums: dict[str, int] = {}
        for key, value in self._states.items():
            line = fold(parts_of(key))
            sums[line] = sums.get(line, 0) + value
        return list(sums.items())

    def flamegraph(self, path: str | os.PathLike[str], *, title: str | None = None, count_name: str = "events") -> None:
        """Draws the stacks in the keys as an SVG at `path`.

        Raises TypeError when the keys hold no stack, ValueError when there is nothing to draw, OSError from writing.
        """
        from pathlib import Path

        from spile import _native

        lines = [(line, count) for line, count in self.folded() if count > 0]
        if not lines:
            raise ValueError("nothing to draw: no stack was counted")
        picture = _native.flamegraph(lines, title or "Flame graph", count_name)
        Path(path).write_text(picture, encoding="utf-8")

    # Elsewhere.

    def to_bytes(self) -> bytes:
        """A versioned binary form, which merges on other machines: stacks go by their symbols."""
        return binary.packed(self._states, self._kind, self._part_names(), self.sample)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot[Any, Any]:
        """What `to_bytes` gave. Raises RecordingError, with the place, for anything else, and for a newer version."""
        return Snapshot._of(*binary.unpacked(data))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._states, self.function, self.unit, self._names, self.sample)

    def __repr__(self) -> str:
        return describe("Snapshot", self)

    def __str__(self) -> str:
        return listing(self, self.total if self._kind.has_total else None)

    def _repr_html_(self) -> str:
        return markup.table(self)

    def _now(self) -> Snapshot[Any, Any]:
        return self

    def _part_names(self) -> tuple[str, ...]:
        """As many names as keys have parts."""
        width = len(parts_of(next(iter(self._states), ())))
        if len(self._names) == width or not self._states:
            return self._names
        return ("key",) if width == 1 else tuple(f"key{part}" for part in range(width))


def _restored(
    states: dict[Any, Any], function: AggregateFunction, unit: str | None, names: tuple[str, ...], sample: int
) -> Snapshot[Any, Any]:
    return Snapshot._of(states, kind_of(function, unit), names, sample)


def _comparable(one: Snapshot[Any, Any], other: Snapshot[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Both's states. Stacks go by their symbols if those of one of them do: its addresses are another machine's."""
    if _has_saved(one) == _has_saved(other):
        return one._states, other._states
    return _all_saved(one), _all_saved(other)


def _has_saved(table: Snapshot[Any, Any]) -> bool:
    return any(isinstance(part, SavedStack) for part in parts_of(next(iter(table._states), ())))


def _all_saved(table: Snapshot[Any, Any]) -> dict[Any, Any]:
    states: dict[Any, Any] = {}
    for key, state in table._states.items():
        kept = tuple(map(saved, key)) if isinstance(key, tuple) else saved(key)
        # Two stacks that differ in their addresses alone may be one by their symbols.
        states[kept] = table._kind.merged(states[kept], state) if kept in states else state
    return states
