"""What was counted, as mappings.

In: a native table, which Rust fills while the session runs. Out: `Table` (live, then final and readable for ever),
`Cell` (one number, for ``by=None``) and `Snapshot` (immutable, merges and subtracts, pickles).
Nothing here sees an event, and nothing is symbolized before somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    import os

    from ._native import NativeTable
    from .spec import AggregateFunction

K = TypeVar("K")
V = TypeVar("V")

Row = tuple[tuple[Any, ...], int]


class Aggregate:
    """What `Table` and `Cell` share: the declaration, and later the native table behind it."""

    def __init__(
        self, function: AggregateFunction, by: tuple[Any, ...] | None, *, scalar: bool = False, label: str = ""
    ) -> None:
        self.function = function
        """What is accumulated, with its parameters."""
        self.by = by
        """The expressions of the key; None for a single cell."""
        self.scalar = scalar
        """Whether keys are bare values (``by=x``) instead of tuples (``by=(x,)``)."""
        self._label = label
        self._native: NativeTable | None = None
        self._refresh: Callable[[bool], None] = _nothing

    def _bind(self, native: NativeTable, refresh: Callable[[bool], None]) -> None:
        """Connects to a started engine; `refresh(now)` drains it, unless a drain within the interval is good enough."""
        self._native, self._refresh = native, refresh

    @property
    def total(self) -> int:
        """Events counted since the start, those taken included."""
        self._refresh(False)
        return self._native.total if self._native is not None else 0

    @property
    def faulted(self) -> int:
        """Events that were not counted because a part of their key could not be read."""
        return self._native.faulted if self._native is not None else 0


class Table(Aggregate, Mapping[K, V]):
    """Counts by key, as a mapping that no size limits.

    While the session runs a read is at most the session's `interval` old; `snapshot` and `take` drain first. After the
    session it is final and readable for ever. Keys are scalars for ``by=x`` and tuples for ``by=(x, …)``; stacks in
    them are symbolized when they are looked at. Before the start it is empty.
    """

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: K) -> V:
        self._refresh(False)
        value = None if self._native is None else self._native.get(self._inner(key))
        if value is None:
            raise KeyError(key)
        return cast(V, value)

    def __iter__(self) -> Iterator[K]:
        return iter(self._read())

    def __len__(self) -> int:
        self._refresh(False)
        return 0 if self._native is None else len(self._native)

    def items(self) -> ItemsView[K, V]:
        """Keys and values, of one moment."""
        return self._read().items()

    def values(self) -> ValuesView[V]:
        """The values, of one moment."""
        return self._read().values()

    def top(self, n: int = 10) -> list[tuple[K, V]]:
        """The `n` largest, largest first."""
        _at_least_zero(n)
        self._refresh(False)
        return self._outer([] if self._native is None else self._native.top(n))

    def snapshot(self) -> Snapshot[K, V]:
        """Everything that had happened when it was called, as an immutable mapping. Drains first."""
        self._refresh(True)
        return Snapshot(self._read(fresh=True))

    def take(self) -> Snapshot[K, V]:
        """Reads and resets, atomically: no event is in two of them or in none, whatever the load. Drains first."""
        self._refresh(True)
        return Snapshot(self._outer([] if self._native is None else self._native.take()))

    def flamegraph(self, path: str | os.PathLike[str], *, title: str | None = None, count_name: str = "events") -> None:
        """Draws an SVG; see `Snapshot.flamegraph`."""
        self.snapshot().flamegraph(path, title=title or self._label or None, count_name=count_name)

    def __repr__(self) -> str:
        return _describe("Table", dict(self._outer(self._raw())))

    def __str__(self) -> str:
        return _listing(self.top(10), len(self), self.total)

    def _raw(self) -> list[Row]:
        return [] if self._native is None else self._native.items()

    def _read(self, *, fresh: bool = False) -> dict[K, V]:
        if not fresh:
            self._refresh(False)
        return dict(self._outer(self._raw()))

    def _outer(self, rows: list[Row]) -> list[tuple[K, V]]:
        return cast("list[tuple[K, V]]", [(key[0], value) for key, value in rows] if self.scalar else rows)

    def _inner(self, key: K) -> tuple[Any, ...]:
        if self.scalar:
            return (key,)
        if not isinstance(key, tuple) or len(key) != len(self.by or ()):
            raise KeyError(key)
        return key


class Cell(Aggregate, Generic[V]):
    """One number: an aggregate without `by`."""

    @property
    def value(self) -> V:
        """The number now, at most the session's `interval` old; what `take` took is not in it."""
        self._refresh(False)
        return self._number()

    def snapshot(self) -> V:
        """The number, of everything that had happened when it was called. Drains first."""
        self._refresh(True)
        return self._number()

    def take(self) -> V:
        """Reads and resets, atomically. Drains first."""
        self._refresh(True)
        rows = [] if self._native is None else self._native.take()
        return cast(V, rows[0][1] if rows else 0)

    def __repr__(self) -> str:
        return f"<Cell: {self._number():,}>"

    def _number(self) -> V:
        return cast(V, (self._native.get(()) or 0) if self._native is not None else 0)


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

        _at_least_zero(n)
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
            line = _fold(key if isinstance(key, tuple) else (key,))
            sums[line] = sums.get(line, 0) + value
        return list(sums.items())

    def flamegraph(self, path: str | os.PathLike[str], *, title: str | None = None, count_name: str = "events") -> None:
        """Draws the stacks in the keys as an SVG at `path`.

        Raises TypeError when the keys hold no stack, ValueError when there is nothing to draw, OSError from writing.
        """
        from pathlib import Path

        from . import _native

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
        return _describe("Snapshot", self._rows)

    def __str__(self) -> str:
        return _listing(self.top(10), len(self), self.total)

    def _combined(self, other: Mapping[K, V], sign: int) -> Snapshot[K, V]:
        if not isinstance(other, Mapping):
            return NotImplemented
        rows = cast("dict[K, int]", dict(self._rows))
        for key, value in cast("Iterable[tuple[K, int]]", other.items()):
            rows[key] = rows.get(key, 0) + sign * value
        return Snapshot(cast("dict[K, V]", {key: value for key, value in rows.items() if value}))


def _nothing(now: bool) -> None:
    """There is no engine to drain."""


def _at_least_zero(n: int) -> None:
    if n < 0:
        raise ValueError(f"top() takes a number of rows, at least 0; not {n}")


def _fold(key: tuple[Any, ...]) -> str:
    labels: list[str] = []
    user: list[str] = []
    kernel: list[str] = []
    for part in key:
        if hasattr(part, "folded"):
            (user if part.space == "user" else kernel).append(part.folded())
        else:
            labels.append(str(part).replace(";", ":").replace("\n", " "))
    if not user and not kernel:
        raise TypeError("a flame graph needs a stack in the key: count(by=kstack), or by=(comm, kstack)")
    return ";".join(part for part in labels + user + kernel if part)


def _short(key: Any) -> str:
    """A key on one line, without symbolizing anything."""
    if isinstance(key, tuple):
        inside = ", ".join(_short(part) for part in key)
        return f"({inside},)" if len(key) == 1 else f"({inside})"
    return f"<stack of {len(key)}>" if hasattr(key, "folded") else repr(key)


def _describe(kind: str, rows: Mapping[Any, Any]) -> str:
    import heapq

    largest = heapq.nlargest(3, rows.items(), key=lambda row: cast(int, row[1]))
    listed = ", ".join(f"{_short(key)}: {value:,}" for key, value in largest)
    more = ", …" if len(rows) > len(largest) else ""
    noun = "key" if len(rows) == 1 else "keys"
    return f"<{kind}: {len(rows):,} {noun}, total {sum(rows.values()):,}{': ' if listed else ''}{listed}{more}>"


def _listing(top: list[tuple[Any, Any]], size: int, total: Any) -> str:
    """The largest, one below the other; a stack stands indented under its count."""
    lines = []
    for key, value in top:
        parts = key if isinstance(key, tuple) else (key,)
        plain = ", ".join(str(part) for part in parts if not hasattr(part, "folded"))
        lines.append(f"{value:>12,}  {plain}".rstrip())
        for part in parts:
            if hasattr(part, "folded"):
                lines += [" " * 14 + line.strip() for line in str(part).splitlines()]
    if size > len(top):
        lines.append(f"{'…':>12}  {size - len(top):,} more")
    lines.append(f"{total:>12,}  in all")
    return "\n".join(lines)
