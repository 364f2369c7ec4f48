"""Tables, cells and snapshots, over a native table that counts in Python."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from spile import Cell, Snapshot, Table
from spile.spec import COUNT

Key = tuple[Any, ...]


class Native:
    """`_native.NativeTable`, in a few lines."""

    def __init__(self, rows: Mapping[Key, Any], rank: Callable[[Any], Any] | None = None) -> None:
        self.rows: dict[Key, Any] = dict(rows)
        self.total, self.faulted = sum(rows.values()) if rank is None else 0, 0
        self.rank = rank or (lambda count: count)

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, key: Key) -> Any:
        return self.rows.get(key)

    def items(self) -> list[tuple[Key, Any]]:
        return list(self.rows.items())

    def top(self, n: int) -> list[tuple[Key, Any]]:
        return sorted(self.rows.items(), key=lambda row: self.rank(row[1]), reverse=True)[:n]

    def take(self) -> list[tuple[Key, Any]]:
        rows, self.rows = self.rows, {}
        return list(rows.items())


class Stack:
    """As much of a stack as a flame graph needs."""

    def __init__(self, folded: str, space: str = "kernel") -> None:
        self._folded, self.space = folded, space

    def folded(self) -> str:
        return self._folded

    def __len__(self) -> int:
        return self._folded.count(";") + 1

    def __str__(self) -> str:
        return self._folded.replace(";", "\n")


def table(rows: dict[Key, int], *, scalar: bool = False) -> tuple[Table[Any, int], Native, list[bool]]:
    made: Table[Any, int] = Table(COUNT, ("x",) * len(next(iter(rows), ("",))), scalar=scalar)
    native, drains = Native(rows), []
    made._bind(native, drains.append)  # type: ignore[arg-type]
    return made, native, drains


def test_scalar_keys_and_tuples() -> None:
    scalar, _, _ = table({("make",): 3, ("cc1",): 5}, scalar=True)
    assert dict(scalar) == {"make": 3, "cc1": 5} and scalar["cc1"] == 5
    one, _, _ = table({("make",): 3})
    assert dict(one) == {("make",): 3} and one[("make",)] == 3
    with pytest.raises(KeyError):
        one["make"]
    with pytest.raises(KeyError):
        one[("make", 1)]
    assert "make" not in one and scalar.get("nobody") is None


def test_mapping() -> None:
    made, _, _ = table({("a", 1): 1, ("b", 2): 4})
    assert len(made) == 2 and ("a", 1) in made
    assert sorted(made.values()) == [1, 4]
    assert made == {("a", 1): 1, ("b", 2): 4}
    assert made.top(1) == [(("b", 2), 4)]
    with pytest.raises(ValueError, match="at least 0"):
        made.top(-1)
    with pytest.raises(TypeError):
        hash(made)


def test_total_counts_what_was_taken() -> None:
    made, native, _ = table({("a",): 2, ("b",): 3}, scalar=True)
    taken = made.take()
    assert taken == {"a": 2, "b": 3} and dict(made) == {} and made.total == 5
    native.rows[("a",)], native.total = 1, 6
    assert taken + made.take() == {"a": 3, "b": 3}
    assert made.total == 6


def test_reads_may_be_old_and_snapshots_not() -> None:
    made, _, drains = table({("a",): 1}, scalar=True)
    made["a"], len(made), list(made), made.items(), made.top(), made.total
    assert drains == [False] * len(drains)
    drains.clear()
    made.snapshot()
    made.take()
    assert drains == [True, True]


def test_before_the_start_it_is_empty() -> None:
    made: Table[str, int] = Table(COUNT, ("x",), scalar=True)
    assert dict(made) == {} and made.total == 0 and made.top() == [] and made.take() == {} and len(made) == 0
    cell: Cell[int] = Cell(COUNT, None)
    assert cell.value == 0 and cell.total == 0 and cell.take() == 0
    with pytest.raises(KeyError):
        made["a"]


def test_cell() -> None:
    cell: Cell[int] = Cell(COUNT, None)
    cell._bind(Native({(): 7}), lambda now: None)  # type: ignore[arg-type]
    assert cell.value == 7 == cell.snapshot() == cell.total
    assert repr(cell) == "<Cell: 7>"
    assert cell.take() == 7 and cell.value == 0 and cell.total == 7


def test_snapshots_merge_and_subtract() -> None:
    a, b = Snapshot({"x": 5, "y": 1}), Snapshot({"x": 2, "z": 4})
    assert a + b == {"x": 7, "y": 1, "z": 4}
    assert a - b == {"x": 3, "y": 1, "z": -4}
    assert (a - b) + b == a
    assert a - a == {} and sum([a, b], Snapshot()) == a + b
    assert a + {"x": 1} == {"x": 6, "y": 1}
    assert a.total == 6 and a.top(1) == [("x", 5)]
    with pytest.raises(TypeError):
        a + 1  # type: ignore[operator]


def test_snapshots_are_values() -> None:
    a: Snapshot[Any, int] = Snapshot({("x", 1): 5})
    assert pickle.loads(pickle.dumps(a)) == a == Snapshot([(("x", 1), 5)])
    assert a != {("x", 1): 6} and a != 5
    with pytest.raises(TypeError):
        hash(a)
    with pytest.raises(TypeError):
        a[("x", 1)] = 6  # type: ignore[index]


def test_it_reads_well() -> None:
    rows = {(name,): count for name, count in [("make", 2000), ("cc1", 1000), ("as", 10), ("ld", 1)]}
    made, _, _ = table(rows, scalar=True)
    assert repr(made) == "<Table: 4 keys, total 3,011: 'make': 2,000, 'cc1': 1,000, 'as': 10, …>"
    assert repr(Snapshot({"a": 1})) == "<Snapshot: 1 key, total 1: 'a': 1>"
    assert repr(Snapshot({(Stack("a;b"), "c"): 1})) == "<Snapshot: 1 key, total 1: (<stack of 2>, 'c'): 1>"
    assert str(Snapshot({("c", Stack("a;b")): 1})).splitlines() == [
        "           1  c",
        "              a",
        "              b",
        "           1  in all",
    ]


def test_folded_is_user_below_kernel() -> None:
    key = ("cc1;x", Stack("sys;read"), Stack("main;work", "user"))
    assert Snapshot({key: 3}).folded() == [("cc1:x;main;work;sys;read", 3)]
    assert Snapshot({Stack("a;b"): 1}).folded() == [("a;b", 1)]


def test_flamegraph(tmp_path: Path) -> None:
    picture = tmp_path / "x.svg"
    Snapshot({("cc1", Stack("a;b")): 3, ("as", Stack("a;c")): 1}).flamegraph(picture, title="Reads")
    text = picture.read_text()
    assert "<svg" in text and "Reads" in text and "cc1" in text
    with pytest.raises(TypeError, match="needs a stack in the key"):
        Snapshot({"cc1": 3}).flamegraph(picture)
    with pytest.raises(ValueError, match="nothing to draw"):
        Snapshot[Any, int]().flamegraph(picture)
