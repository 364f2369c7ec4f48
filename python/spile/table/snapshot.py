"""An immutable table of one moment or interval: merges and subtracts, compares, pickles, draws its stacks."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, TypeVar, cast

from spile.table.folding import fold
from spile.table.listing import at_least_zero, describe, listing

if TYPE_CHECKING:
    import os

K = TypeVar("K")
V = TypeVar("V")


class Snapshot(Mapping[K, V]):
    """An immutable table of one moment or interval.

    ``a + b`` merges and ``a - b`` subtracts (keys whose difference is 0 fall out; a negative one stays, so that
    ``a - b + b == a``). Compares with any mapping, pickles; not hashable.
    """

    __slots__ = ("_rows",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, rows: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._rows: dict[K, V] = dict(rows)

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def items(self) -> ItemsView[K, V]:
        """Keys and values."""
        return self._rows.items()

    def values(self) -> ValuesView[V]:
        """The values."""
        return self._rows.values()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Snapshot):
            return self._rows == other._rows
        return self._rows == dict(other) if isinstance(other, Mapping) else NotImplemented

    @property
    def total(self) -> V:
        """The sum of the values."""
        return cast(V, sum(cast("Iterable[int]", self._rows.values())))

    def top(self, n: int = 10) -> list[tuple[K, V]]:
        """The `n` largest, largest first; equal ones in the order in which they were counted first."""
        import heapq

        at_least_zero(n)
        return heapq.nlargest(n, self._rows.items(), key=lambda row: cast(int, row[1]))

    def __add__(self, other: Mapping[K, V]) -> Snapshot[K, V]:
        return self._combined(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Mapping[K, V]) -> Snapshot[K, V]:
        return self._combined(other, -1)

    def folded(self) -> list[tuple[str, int]]:
        """Folded stacks and their counts, outermost frame first: the keys' other parts, the user stack, the kernel's.

        Raises TypeError when the keys hold no stack.
        """
        sums: dict[str, int] = {}
        for key, value in cast("Iterable[tuple[Any, int]]", self._rows.items()):
            line = fold(key if isinstance(key, tuple) else (key,))
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

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (self._rows,)

    def __copy__(self) -> Snapshot[K, V]:
        return self

    def __repr__(self) -> str:
        return describe("Snapshot", self._rows)

    def __str__(self) -> str:
        return listing(self.top(10), len(self), self.total)

    def _combined(self, other: Mapping[K, V], sign: int) -> Snapshot[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        rows = cast("dict[K, int]", dict(self._rows))
        for key, value in cast("Iterable[tuple[K, int]]", other.items()):
            rows[key] = rows.get(key, 0) + sign * value
        return Snapshot(cast("dict[K, V]", {key: value for key, value in rows.items() if value}))
