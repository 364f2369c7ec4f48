"""Numbers with names: as Python sees them, and as events and tables carry them."""

from __future__ import annotations

import copy
import enum
import json
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spile
from spile import NamedInt, SpecError, _native, arg, elapsed, error, expr, isin, pid
from spile.cli.output import text
from spile.enums import Names
from spile.expr.operand import node_of
from spile.table.keys import plain

CLOSE = NamedInt(7, "TCP_CLOSE")


def test_it_is_an_int_that_reads_as_its_name() -> None:
    assert (CLOSE, CLOSE + 1, CLOSE.name, bool(CLOSE)) == (7, 8, "TCP_CLOSE", True)
    assert (str(CLOSE), repr(CLOSE), f"{CLOSE}") == ("TCP_CLOSE", "<TCP_CLOSE: 7>", "TCP_CLOSE")
    assert (f"{CLOSE:<10}|", f"{CLOSE:>3d}|", f"{CLOSE:#x}") == ("TCP_CLOSE |", "  7|", "0x7")
    unknown = NamedInt(99)
    assert (unknown.name, str(unknown), repr(unknown), f"{unknown:<4}|") == (None, "99", "99", "99  |")
    assert isinstance(CLOSE, int) and not isinstance(CLOSE, enum.Enum)


def test_success_is_false() -> None:
    assert not NamedInt(0) and (NamedInt(0) or "") == "" and f"{NamedInt(2, 'ENOENT') or '':<8}" == "ENOENT  "


def test_it_equals_its_number_and_its_name_and_is_keyed_by_its_number() -> None:
    assert CLOSE == 7 == CLOSE and CLOSE == "TCP_CLOSE" and CLOSE != "TCP_OPEN" and CLOSE != 8
    assert NamedInt(7) == CLOSE and NamedInt(7) != "TCP_CLOSE"
    assert {CLOSE: 1}[7] == 1 and {7: 1}[CLOSE] == 1 and hash(CLOSE) == hash(7)
    assert CLOSE != None and CLOSE == 7.0  # noqa: E711


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_keep_the_name(again: Any) -> None:
    for value in (CLOSE, NamedInt(3)):
        made = again(value)
        assert (type(made), int(made), made.name) == (NamedInt, int(value), value.name)


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.none() | st.text(min_size=1))
def test_whatever_the_name_it_computes_as_its_number(value: int, name: str | None) -> None:
    made = NamedInt(value, name)
    assert (made == value, hash(made), made + 0, int(made)) == (True, hash(value), value, value)
    assert f"{made:d}" == f"{value:d}" and sorted([made, 0]) == sorted([value, 0])


def test_a_table_of_names() -> None:
    names = Names([(1, "A"), (2, "B"), (2, "ALSO_B"), (-1, "NONE")])
    assert [names[value].name for value in (1, 2, -1, 5)] == ["A", "B", "NONE", None]
    assert names.numbers == {"A": 1, "B": 2, "ALSO_B": 2, "NONE": -1}
    assert names[1] is names[1] and 5 not in names


# From a stream


def _stream(rows: list[tuple[int, int]]) -> Any:
    """An engine whose events have a state, a number with names, and a size, one without; counted by both."""
    column = {"type": {"kind": "int", "size": 4, "signed": True}, "role": "capture"}
    time = {"name": "t", "type": {"kind": "int", "size": 8, "signed": False}, "role": "time"}
    names = [[1, "TCP_ESTABLISHED"], [7, "TCP_CLOSE"], [-1, "TCP_ANY"]]
    fields = [time, {"name": "state", **column, "names": names}, {"name": "size", **column}]
    schema = {"id": 1, "probe": 0, "target": 0, "fields": fields, "keys": [[1], [1, 2]]}
    session = spile.Session()
    probe = session.tracepoint("sock:inet_sock_set_state", capture={"state": arg.newstate, "size": arg.size})
    probe.count(by=arg.newstate)
    probe.count(by=(arg.newstate, arg.size))
    data = b"".join(struct.pack("<BQii", 1, at, state, size) for at, (state, size) in enumerate(rows))
    engine = _native.Engine.stream(session.spec.to_json(), json.dumps([schema]), data)
    engine.start()
    return engine


ROWS = [(7, 7), (-1, 0), (3, 1), (7, 7)]


def _all(engine: Any) -> Any:
    batches = []
    while (batch := engine.next_batch(5)) is not None:
        batches.append(batch)
    return batches


def test_events_have_names_where_the_column_has() -> None:
    engine = _stream(ROWS)
    (batch,) = _all(engine)
    values = [event["state"] for event in batch]
    assert [(int(value), value.name) for value in values] == [
        (7, "TCP_CLOSE"),
        (-1, "TCP_ANY"),
        (3, None),
        (7, "TCP_CLOSE"),
    ]
    assert values == [7, -1, 3, 7] and values[0] is values[3]
    assert {type(event["size"]) for event in batch} == {int}
    assert batch[0].state == "TCP_CLOSE" and dict(batch[0]) == {"state": 7, "size": 7}
    assert "TCP_CLOSE" in repr(batch[0])
    columns = batch.by_probe()["inet_sock_set_state"]
    assert [str(value) for value in columns["state"]] == ["TCP_CLOSE", "TCP_ANY", "3", "TCP_CLOSE"]
    assert pickle.loads(pickle.dumps(batch[0]))["state"].name == "TCP_CLOSE"
    seen: list[Any] = []
    dispatcher = _native.Dispatcher({1: [(lambda state, size: seen.append((state, size)), [0, 1])]})
    dispatcher.dispatch(batch)
    assert [(state.name, type(size)) for state, size in seen[:2]] == [("TCP_CLOSE", int), ("TCP_ANY", int)]


def test_tables_show_names_and_are_asked_by_either() -> None:
    engine = _stream(ROWS)
    _all(engine)
    one, two = engine.table(0, 0), engine.table(0, 1)
    assert sorted((str(key), count) for (key,), count in one.items()) == [("3", 1), ("TCP_ANY", 1), ("TCP_CLOSE", 2)]
    assert [one.get((key,)) for key in ("TCP_CLOSE", 7, NamedInt(7), -1, "TCP_ANY", "TCP_OPEN", 8)] == [
        2,
        2,
        2,
        1,
        1,
        None,
        None,
    ]
    ((key, count),) = two.top(1)
    assert (str(key[0]), type(key[1]), count) == ("TCP_CLOSE", int, 2)
    assert (two.get(("TCP_CLOSE", 7)), two.get((7, "TCP_CLOSE"))) == (2, None)


def test_the_command_line_shows_names() -> None:
    assert [text(value) for value in (CLOSE, NamedInt(3), 3)] == ["TCP_CLOSE", "3", "3"]
    assert json.dumps([plain(value) for value in (CLOSE, NamedInt(3), 3)]) == '["TCP_CLOSE", 3, 3]'


# In conditions


def test_a_name_stands_for_a_number_once_the_kernel_is_asked() -> None:
    for words, made in [
        ("arg.newstate == 'TCP_CLOSE'", arg.newstate == "TCP_CLOSE"),
        ("error == 'ENOENT'", error == "ENOENT"),
        ("error in ('ENOENT', 'EIO')", isin(error, "ENOENT", "EIO")),
        ("error != 2", error != 2),
    ]:
        assert node_of(expr(words)) == node_of(made)
    session = spile.Session()
    session.function_return("vfs_read", capture=[pid], where=[error != "EINTR", elapsed > 5])
    _native.verify_spec(session.spec.to_json())
    for wrong in (lambda: elapsed == "ENOENT", lambda: pid == "ENOENT"):
        with pytest.raises(SpecError, match="is an integer"):
            wrong()
