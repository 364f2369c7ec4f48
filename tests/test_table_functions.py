"""Tables, cells and snapshots of every aggregate: totals, orders, merges, reprs."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregate_states import DIFFERENCES, FUNCTIONS, KEYS, LISTS, function, state
from spile import Cell, NamedInt, Snapshot, Table, comm, elapsed, us
from spile.aggregates import Average, Histogram, kind_of
from test_table import Native

DATA = {"make": [1, 2, 3], "cc1": [50, 60, 70, 80], "as": [7]}


def snapshot(name: str, data: dict[Any, list[int]], unit: str | None = None) -> Snapshot[Any, Any]:
    made = kind_of(function(name), unit)
    rows = {key: made.value(state(name, values)) for key, values in data.items()}
    return Snapshot(rows, function(name), by=("comm",), unit=unit)


def table(name: str, data: dict[Any, list[int]], **more: Any) -> tuple[Table[Any, Any], Any]:
    made: Table[Any, Any] = Table(function(name), (comm,), scalar=True, value=elapsed // us, **more)
    rank = kind_of(function(name)).rank
    native = Native({(key,): state(name, values) for key, values in data.items()}, rank)
    native.total = sum(map(len, data.values()))
    made._bind(native, lambda now: None)  # type: ignore[arg-type]
    return made, native


TABLES = st.dictionaries(KEYS, LISTS, max_size=4)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "top"])
@given(TABLES, TABLES, TABLES)
def test_snapshots_merge_in_any_order(name: str, one: Any, two: Any, three: Any) -> None:
    a, b, c = (snapshot(name, each) for each in (one, two, three))
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == sum([a, b, c]) == sum([c, a, b], Snapshot())
    whole = {key: one.get(key, []) + two.get(key, []) for key in one | two}
    assert a + b == snapshot(name, whole)


@pytest.mark.parametrize("name", DIFFERENCES)
@given(TABLES, TABLES)
def test_what_is_added_subtracts(name: str, one: Any, two: Any) -> None:
    a, b = snapshot(name, one), snapshot(name, two)
    left = (a + b) - b
    if name == "sum":  # a key whose sum is 0 falls out
        left, a = ({key: value for key, value in each.items() if value} for each in (left, a))
    assert left == a
    assert dict(a - a if name != "sum" else snapshot(name, one) - snapshot(name, one)) == {}


@pytest.mark.parametrize("name", ["min", "max", "top", "distinct"])
def test_what_has_no_difference(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} doesn't subtract"):
        snapshot(name, DATA) - snapshot(name, DATA)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tables_are_mappings_of_values(name: str) -> None:
    made, _ = table(name, DATA)
    expected = snapshot(name, DATA, "µs")
    assert made == expected == made.snapshot() and dict(made.items()) == dict(expected)
    assert made["cc1"] == expected["cc1"] and set(made) == set(DATA) and len(list(made.values())) == 3
    assert made.unit == "µs" and made.hits == 8
    assert made.top() == expected.top() and len(made.top(2)) == 2
    if name != "top":  # whose errors depend on what was merged
        assert made.overall == kind_of(function(name)).value(state(name, [1, 2, 3, 50, 60, 70, 80, 7]))
    again = pickle.loads(pickle.dumps(expected))
    assert again == expected and again.function == function(name) and again.unit == "µs"
    assert "cc1" in str(made) and "cc1" in repr(made) and "cc1" in str(expected)
    assert made._repr_html_().startswith("<table>")
    taken = made.take()
    assert taken == expected and dict(made) == {} and made.hits == 8


def test_a_total_is_that_of_counts_and_sums() -> None:
    made, _ = table("sum", DATA)
    assert made.total == 273
    made.take()
    assert made.total == 273 and made.snapshot().total == 0
    for name in set(FUNCTIONS) - {"count", "sum"}:
        with pytest.raises(AttributeError, match=r"has no total: .*overall is"):
            table(name, DATA)[0].total
        with pytest.raises(AttributeError, match="has no total"):
            snapshot(name, DATA).total
    assert snapshot("hist", DATA).hits == 8
    with pytest.raises(AttributeError, match="doesn't keep how many"):
        snapshot("max", DATA).hits


def test_orders() -> None:
    assert [key for key, _ in snapshot("sum", DATA).top()] == ["cc1", "as", "make"]
    assert [key for key, _ in snapshot("avg", DATA).top()] == ["cc1", "as", "make"]
    assert [key for key, _ in snapshot("hist", DATA).top()] == ["cc1", "make", "as"]
    assert [key for key, _ in snapshot("quantiles", DATA).top(1, key=lambda value: -value.median)] == ["make"]
    made, _ = table("quantiles", DATA)
    assert [key for key, _ in made.top(1, key=lambda value: -value.median)] == ["make"]


def test_merging_what_does_not_fit() -> None:
    with pytest.raises(TypeError, match="a table of hist and one of sum"):
        snapshot("hist", DATA) + snapshot("sum", DATA)
    with pytest.raises(TypeError, match="in µs and in ms"):
        snapshot("hist", DATA, "µs") + snapshot("hist", DATA, "ms")
    with pytest.raises(TypeError, match="no value of a hist"):
        snapshot("hist", DATA) + {"make": 3}
    assert snapshot("hist", DATA) != snapshot("quantiles", DATA)
    with pytest.raises(AttributeError, match="doesn't change"):
        snapshot("hist", DATA)._states = {}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_cells(name: str) -> None:
    cell: Cell[Any] = Cell(function(name), None, value=None if name == "count" else elapsed)
    assert str(cell) and repr(cell) and cell._repr_html_() and cell.hits == 0
    cell._bind(Native({(): state(name, [3, 4, 5])}, lambda state: 0), lambda now: None)  # type: ignore[arg-type]
    expected = kind_of(function(name)).value(state(name, [3, 4, 5]))
    assert cell.value == cell.snapshot() == expected
    assert repr(cell).startswith("<Cell: ") and cell._repr_html_().startswith("<table>" if name != "top" else "<pre>")
    assert cell.take() == expected and repr(cell) == repr(Cell(function(name), None))


def test_histograms_stand_below_their_keys() -> None:
    lines = str(snapshot("hist", {"make": [5, 5], "cc1": [1]}, "µs")).splitlines()
    assert lines[0] == "make:" and lines[1].startswith("[4µs, 8µs)  2 |@@") and lines[3] == "cc1:"


def test_columns_have_heads() -> None:
    lines = str(snapshot("stats", {"make": [1, 3]}, "ms")).splitlines()
    assert lines[0].split() == ["count", "total", "avg", "min", "max"]
    assert lines[1].split() == ["2", "4ms", "2ms", "1ms", "3ms", "make"]
    assert str(snapshot("max", {"make": [1500]}, "µs")).split() == ["1.5ms", "make"]
    assert str(snapshot("max", {})) == "nothing"


def test_keys_do_a_terminal_and_a_page_no_harm() -> None:
    rows = {("\x1b[2J", "<b>", NamedInt(2, "ENOENT")): 1, ("x" * 500, "名", NamedInt(3)): 2}
    made: Snapshot[Any, int] = Snapshot(rows, by=("a", "<b>", "c"))
    assert "\\x1b" in str(made) and "\x1b" not in str(made) and "ENOENT" in str(made)
    assert max(map(len, str(made).splitlines())) < 200 and "名" in str(made)
    html = made._repr_html_()
    assert "&lt;b&gt;" in html and "<b>" not in html and "\x1b" not in html


def test_values_of_snapshots_are_objects() -> None:
    assert isinstance(snapshot("hist", DATA)["make"], Histogram)
    assert isinstance(next(iter(snapshot("avg", DATA).values())), Average)
