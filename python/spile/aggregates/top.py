"""The most frequent values, each with what its count may be wrong by.

In: hits in all, and a list of values with their hits and errors. Out: `Top`, a sequence that merges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, overload

from spile import _native
from spile.aggregates.frozen import Frozen
from spile.aggregates.kind import Kind, is_whole

State = tuple[int, list[tuple[Any, int, int]]]


class TopItem(NamedTuple):
    """A frequent value: it occurred `hits` times at most, `error` less at least."""

    item: Any
    hits: int
    error: int


class Top(Frozen, Sequence[TopItem]):
    """The most frequent values, those first, of `hits` in all.

    Each occurred its `hits` times at most, and at least ``hits - error``; where there were few different values all
    errors are 0, and it is exact. ``a + b`` is of both's events: its bounds hold in whatever order lists are merged,
    while the errors may differ. Immutable.
    """

    __slots__ = ("_items", "hits", "size")
    __hash__ = None  # type: ignore[assignment]

    _items: tuple[TopItem, ...]
    hits: int
    """All events, those of values that are not listed too."""
    size: int
    """How many values it lists at most."""

    def __init__(self, hits: int, items: Iterable[tuple[Any, int, int]], size: int) -> None:
        self._set(hits=hits, size=size, _items=tuple(TopItem(*item) for item in items))

    @overload
    def __getitem__(self, index: int) -> TopItem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TopItem, ...]: ...
    def __getitem__(self, index: int | slice) -> TopItem | tuple[TopItem, ...]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[TopItem]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Top):
            return NotImplemented
        return (self.hits, self.size, self._items) == (other.hits, other.size, other._items)

    def __add__(self, other: Top) -> Top:
        if not isinstance(other, Top):
            return NotImplemented
        if self.size != other.size:
            raise TypeError(f"lists of {self.size} and of {other.size} values don't merge: give both top() one size")
        return Top(*_merged(self.size, _state(self), _state(other)), self.size)

    def __str__(self) -> str:
        lines = [f"{hits:>12,}  {_one_line(item)}{f' (±{error:,})' if error else ''}" for item, hits, error in self]
        return "\n".join([*lines, f"{self.hits:>12,}  in all"])

    def __repr__(self) -> str:
        listed = ", ".join(f"{_one_line(item)!r}: {hits:,}" for item, hits, _ in self[:3])
        return f"<Top: {self.hits:,} hits, {len(self)} values{': ' if listed else ''}{listed}{', …' * (len(self) > 3)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Top, (self.hits, tuple(map(tuple, self._items)), self.size)


def _state(top: Top) -> State:
    return (top.hits, [tuple(item) for item in top._items])


def _merged(size: int, one: State, other: State) -> State:
    # Where the list ends among equal ones, the order of the arguments must not matter.
    first, second = sorted((one, other), key=lambda state: (state[0], list(map(_order, state[1]))))
    hits, items = _native.merge_top(size, first, second)
    return hits, sorted(items, key=_order)


def _order(item: tuple[Any, int, int]) -> tuple[Any, ...]:
    value, hits, error = item
    content = value if isinstance(value, int | str) else getattr(value, "addresses", repr(value))
    return (-hits, error, type(value).__name__, content)


def _is_item(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and all(map(is_whole, item[1:]))


def _one_line(item: Any) -> str:
    return item.folded() if hasattr(item, "folded") else str(item)


class Frequent(Kind):
    """States are pairs: hits in all, and the list."""

    no_difference: ClassVar[str | None] = "what was frequent in an interval may be missing in the whole's list"
    columns = ("item", "count", "error")
    is_block = True

    @property
    def size(self) -> int:
        """How many values it lists at most."""
        return dict(self.function.parameters)["size"]

    def nothing(self) -> State:
        return (0, [])

    def restored(self, state: Any) -> Any:
        is_pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], tuple)
        return (state[0], list(state[1])) if is_pair else state

    def merged(self, one: State, other: State) -> State:
        return _merged(self.size, one, other)

    def scaled(self, state: State, factor: int) -> State:
        return (state[0] * factor, [(item, hits * factor, error * factor) for item, hits, error in state[1]])

    def check(self, state: Any) -> str | None:
        is_pair = isinstance(state, tuple) and len(state) == 2 and is_whole(state[0]) and isinstance(state[1], list)
        if not is_pair or not all(
            isinstance(item, tuple) and len(item) == 3 and all(map(is_whole, item[1:])) for item in state[1]
        ):
            return "expected a number of hits, and values with their hits and errors"
        hits = [item[1] for item in state[1]]
        is_ordered = hits == sorted(hits, reverse=True) and len(hits) <= self.size
        return None if is_ordered else f"expected at most {self.size} values, the most frequent first"

    def value(self, state: State) -> Top:
        return Top(*state, self.size)

    def state(self, value: Any) -> State:
        if not isinstance(value, Top) or value.size != self.size:
            self.refuse(value)
        return _state(value)

    def rank(self, state: State) -> int:
        return state[0]

    def hits(self, state: State) -> int:
        return state[0]

    def plain(self, state: State) -> list[tuple[Any, int, int]]:
        return [tuple(item) for item in state[1]]

    def rows(self, states: Iterable[State]) -> tuple[list[int] | None, list[list[Any]]]:
        lengths, items = [], []
        for _, listed in states:
            lengths.append(len(listed))
            items += listed
        return lengths, [list(column) for column in zip(*items, strict=True)] or [[], [], []]

    def record(self, state: State) -> Mapping[str, Any]:
        return {"hits": state[0], "items": [dict(zip(self.columns, item, strict=True)) for item in state[1]]}

    def summary(self, state: State) -> str:
        listed = [f"{_one_line(item)} {hits:,}" for item, hits, _ in state[1][:3]]
        return ", ".join([f"{state[0]:,} hits", *listed]) + (", …" if len(state[1]) > 3 else "")
