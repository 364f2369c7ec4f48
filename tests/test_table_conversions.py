"""Tables as dicts, data frames, Arrow and JSON, by the real packages."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pandas
import polars
import pyarrow
import pytest

from aggregate_states import FUNCTIONS, function, state
from spile import NamedInt, Snapshot, arg, comm, pid
from spile.aggregates import kind_of
from spile.table import SavedFrame, SavedStack
from spile.table.keys import names_of
from test_table_functions import DATA, snapshot, table

STACK = SavedStack("kernel", 0, [SavedFrame(2, "read", 4, None), SavedFrame(1, "entry", 8, "ext4")])
COLUMNS: dict[str, dict[str, list[Any]]] = {
    "count": {"count": [3, 4, 1]},
    "sum": {"sum": [6, 260, 7]},
    "min": {"min": [1, 50, 7]},
    "max": {"max": [3, 80, 7]},
    "avg": {"avg": [2.0, 65.0, 7.0], "count": [3, 4, 1], "sum": [6, 260, 7]},
    "stats": {"count": [3, 4, 1], "sum": [6, 260, 7], "min": [1, 50, 7], "max": [3, 80, 7], "avg": [2.0, 65.0, 7.0]},
    "hist": {"low": [1, 2, 32, 64, 4], "high": [2, 4, 64, 128, 8], "count": [1, 2, 2, 2, 1]},
    "lhist": {"low": [0, 50, 60, 70, 80, 0], "high": [10, 60, 70, 80, 90, 10], "count": [3, 1, 1, 1, 1, 1]},
    "quantiles": {
        "count": [3, 4, 1],
        "min": [1.0, 50.0, 7.0],
        "p50": [2.0, 60.0, 7.0],
        "p90": [3.0, 80.0, 7.0],
        "p99": [3.0, 80.0, 7.0],
        "p99.9": [3.0, 80.0, 7.0],
        "max": [3.0, 80.0, 7.0],
    },
    "top": {"item": [1, 2, 3, 50, 60, 70, 80, 7], "count": [1] * 8, "error": [0] * 8},
    "distinct": {"distinct": [3, 4, 1]},
}
LENGTHS = {"hist": [2, 2, 1], "lhist": [1, 4, 1], "top": [3, 4, 1]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_columns_are_the_same_everywhere(name: str) -> None:
    made = snapshot(name, DATA)
    expected = COLUMNS[name]
    keys = [key for key, n in zip(DATA, LENGTHS.get(name, [1, 1, 1]), strict=True) for _ in range(n)]
    frame, arrow, lazy = made.to_pandas(), made.to_arrow(), made.to_polars()
    assert isinstance(frame, pandas.DataFrame)
    assert isinstance(arrow, pyarrow.Table)
    assert isinstance(lazy, polars.DataFrame)
    for read in (frame.to_dict("list"), arrow.to_pydict(), lazy.to_dict(as_series=False), made.to_columns()):
        assert read.pop("comm") == keys
        if name == "distinct":
            assert read.pop("error") == pytest.approx([0.01625 * n for n in (3, 4, 1)], rel=0.01)
        assert read == expected


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dicts_and_json_hold_plain_values(name: str) -> None:
    made = snapshot(name, DATA)
    assert set(made.to_dict()) == set(DATA)
    records = json.loads(made.to_json())
    assert [record["by"] for record in records] == [{"comm": key} for key in DATA]
    assert all(len(record) > 1 for record in records)
    empty = kind_of(function(name))
    nothing = Snapshot._of({"none": empty.nothing()}, empty, ("comm",))
    assert "NaN" not in nothing.to_json() and "Infinity" not in nothing.to_json()
    assert nothing.to_columns() and nothing.to_dict()


def test_json_by_hand() -> None:
    assert json.loads(snapshot("hist", {"make": [5, 6]}).to_json()) == [
        {"by": {"comm": "make"}, "bins": [{"low": 4, "high": 8, "count": 2}]}
    ]
    outer = json.loads(snapshot("lhist", {"make": [-99, 999]}).to_json())[0]["bins"]
    assert [(each["low"], each["high"]) for each in outer] == [(None, -20), (100, None)]
    assert snapshot("lhist", {"make": [-99]}).to_columns()["low"] == [-math.inf]
    assert snapshot("hist", {"make": [5]}).to_dict() == {"make": {(4, 8): 1}}


def test_tables_convert_too() -> None:
    made, _ = table("stats", DATA)
    assert made.to_pandas().to_dict("list") == {"comm": list(DATA), **COLUMNS["stats"]}
    assert json.loads(made.to_json())[0]["by"] == {"comm": "make"}


def test_keys_of_every_kind() -> None:
    rows = {
        (1, "a\udcffb", STACK, NamedInt(2, "ENOENT"), "x"): 5,
        (2, "名", SavedStack("user", 7, []), NamedInt(9), 4): 6,
    }
    made: Snapshot[Any, int] = Snapshot(rows, by=("pid", "comm", "kstack", "error", "count"))
    expected = {
        "pid": [1, 2],
        "comm": ["a\\xffb", "名"],
        "kstack": ["entry;read", "[no frames]"],
        "error": ["ENOENT", "9"],
        "count": ["x", "4"],
        "count_": [5, 6],
    }
    assert made.to_arrow().to_pydict() == expected
    assert made.to_polars().to_dict(as_series=False) == expected
    assert made.to_pandas().to_dict("list") == expected
    assert json.loads(made.to_json())[0]["by"] == {
        "pid": 1,
        "comm": "a\\xffb",
        "kstack": ["read+0x4", "entry+0x8 [ext4]"],
        "error": "ENOENT",
        "count": "x",
    }


def test_columns_have_their_expressions_names() -> None:
    assert names_of((comm, arg.prev_state, pid // 4, comm)) == ("comm", "arg.prev_state", "pid // 4", "comm (2)")


@pytest.mark.parametrize("number", [(1 << 63) - 1, (1 << 64) - 1, 1 << 70, -(1 << 80)])
def test_great_numbers(number: int) -> None:
    made: Snapshot[str, int] = Snapshot({"a": number, "b": 1}, function("sum"))
    assert made.to_arrow()["sum"].to_pylist() == [number, 1]
    assert made.to_polars()["sum"].to_list() == [number, 1]
    assert made.to_pandas()["sum"].tolist() == [number, 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_tables_have_columns(name: str) -> None:
    made = snapshot(name, {})
    assert list(made.to_columns()) == list(made.to_arrow().column_names) == ["comm", *kind_of(function(name)).columns]
    assert len(made.to_pandas()) == len(made.to_polars()) == 0 and made.to_json() == "[]"


@pytest.mark.parametrize(
    ("package", "method"), [("pandas", "to_pandas"), ("polars", "to_polars"), ("pyarrow", "to_arrow")]
)
def test_a_package_that_is_missing_is_named(package: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{method}\(\) needs {package}: pip install {package}"):
        getattr(snapshot("count", DATA), method)()


@pytest.mark.parametrize("name", ["count", "sum", "min", "max"])
def test_many_rows_are_no_loop(name: str) -> None:
    """No Python runs for each row: ten thousand of them make hundreds of calls at most."""

    def calls(number: int) -> int:
        rows = {(number, "comm"): number for number in range(number)}
        made: Snapshot[Any, int] = Snapshot._of(rows, kind_of(function(name)), ("pid", "comm"))
        seen: list[str] = []
        sys.setprofile(lambda frame, event, argument: seen.append(event))
        try:
            made.to_columns()
        finally:
            sys.setprofile(None)
        return len(seen)

    assert calls(10_000) < 1000


def test_states_of_no_events_convert() -> None:
    assert snapshot("avg", {"a": [1]}).to_arrow().schema.names == ["comm", "avg", "count", "sum"]
    assert state("avg", [1]) == (1, 1)
