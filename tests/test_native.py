"""What the extension module hands to Python: events, batches, columns, stacks, dispatch; from a stream built here."""

from __future__ import annotations

import copy
import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

import spile
from spile import StreamError, _native

KERNEL = {"op": "stack", "space": "kernel", "depth": None}
FRAMES = (0xFFFFFFFF81000010, 0xFFFFFFFF81000020, 0xFFFFFFFF81000030)


def probe(name: str, **more: Any) -> dict[str, Any]:
    fields = [{"name": "value", "expr": {"op": "context", "name": "pid"}}]
    target = {"kind": "raw_tracepoint", "name": name}
    return {
        "name": name,
        "declared_at": None,
        "targets": [target],
        "capture": {"kind": "fields", "fields": fields},
        "where": None,
        "aggregates": [],
        "deliver": True,
        **more,
    }


def spec(*probes: dict[str, Any]) -> str:
    return json.dumps(
        {
            "version": 1,
            "target": {"pid": None, "follow": True, "cgroup": None, "exclude_self": True},
            "limits": {"buffer": 4096, "queue": 1 << 20, "stack_depth": 127, "stack_cache": 64},
            "probes": probes,
        }
    )


SPEC = spec(probe("read", aggregates=[{"function": {"kind": "count"}, "by": [KERNEL]}]), probe("open"))


def column(name: str, kind: str, role: str = "capture", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": {"kind": kind, **more}, "role": role}


SCHEMAS = json.dumps(
    [
        {
            "id": 1,
            "probe": 0,
            "target": 0,
            "fields": [
                column("when", "int", "time", size=8, signed=False),
                column("value", "int", size=8, signed=True),
                column("trace", "stack", space="kernel"),
            ],
            "keys": [[2]],
        },
        {
            "id": 2,
            "probe": 1,
            "target": 0,
            "fields": [column("when", "int", "time", size=8, signed=False), column("path", "string", limit=64)],
            "keys": [],
        },
    ]
)


def read(time: int, value: int, frames: Sequence[int] = FRAMES) -> bytes:
    return struct.pack(f"<BQqB{len(frames)}Q", 1, time, value, len(frames), *frames)


def open_(time: int, path: bytes) -> bytes:
    return struct.pack("<BQ", 2, time) + path + b"\0"


STREAM = read(1000, -5) + open_(2000, b"/etc/\xff") + read(3000, 7, FRAMES[:1])


def started(data: bytes = STREAM, classes: Sequence[type[spile.Event] | None] | None = None) -> _native.Engine:
    engine = _native.Engine.stream(SPEC, SCHEMAS, data, classes)
    engine.start()
    return engine


def events(data: bytes = STREAM, classes: Sequence[type[spile.Event] | None] | None = None) -> list[spile.Event]:
    engine, found = started(data, classes), []
    while (batch := engine.next_batch(5)) is not None:
        found.extend(batch)
    assert engine.ended
    return found


def test_an_event_is_a_mapping_of_its_captures() -> None:
    first, second, third = events()
    assert isinstance(first, Mapping) and list(first) == ["value", "trace"] and len(first) == 2
    assert (first["value"], first.value, first.get("value"), first.get("none", 3)) == (-5, -5, -5, 3)
    assert second["path"] == "/etc/\udcff"
    assert ("value" in first, "when" in first, 1 in first) == (True, False, False)
    assert (first.id, first.probe, first.time, first.cpu) == (1, "read", 1000, 0)
    assert [event.time for event in (first, second, third)] == [1000, 2000, 3000]
    with pytest.raises(KeyError, match="time"):
        first["time"]
    with pytest.raises(AttributeError):
        first.nothing
    with pytest.raises(AttributeError):
        first.value = 3
    with pytest.raises(TypeError):
        hash(first)


def test_equality_looks_at_what_happened_or_at_the_fields() -> None:
    (one,), (same,), (later,) = (events(read(time, 1)) for time in (5, 5, 6))
    assert one == same and one != later
    assert one == dict(later) and one != {"value": 1} and one != 5


def test_an_event_outlives_its_batch_and_travels() -> None:
    first = events()[0]
    for twin in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert twin == first and type(twin) is spile.Event
        assert (twin.id, twin.datetime, twin.trace.addresses) == (first.id, first.datetime, FRAMES)


def test_the_time_of_day_is_counted_from_the_monotonic_clock() -> None:
    first, _, third = events()
    assert (third.datetime - first.datetime).total_seconds() == pytest.approx(2e-6)
    # The monotonic clock began when this machine did.
    assert datetime(2000, 1, 1, tzinfo=UTC) < first.datetime < datetime.now(UTC)


def test_an_event_of_ones_own_class() -> None:
    class Read(spile.Event):
        value = spile.pid

    first, second, _ = events(classes=[Read, None])
    assert type(first) is Read and type(second) is spile.Event
    assert first.value == -5
    assert type(pickle.loads(pickle.dumps(events()[0]))) is spile.Event


def test_an_event_is_made_by_hand_for_a_handlers_test() -> None:
    made = spile.Event("open", {"path": "/etc"}, id=2, time=5, cpu=1)
    assert (made.probe, made.path, made.id, made.time, made.cpu, dict(made)) == (
        "open",
        "/etc",
        2,
        5,
        1,
        {"path": "/etc"},
    )


def test_stacks_are_equal_by_content() -> None:
    first, _, third = events()
    again = events()[0]
    assert first.trace == again.trace and hash(first.trace) == hash(again.trace) and first.trace != third.trace
    assert pickle.loads(pickle.dumps(first.trace)) == first.trace
    assert first.trace.addresses == FRAMES and [frame.address for frame in first.trace[::-1]] == list(reversed(FRAMES))
    assert (len(first.trace), first.trace[-1].address, first.trace.space, first.trace.pid) == (
        3,
        FRAMES[-1],
        "kernel",
        0,
    )
    assert len(str(first.trace).splitlines()) >= 3
    with pytest.raises(IndexError):
        first.trace[3]


def test_a_batch_is_a_sequence_and_a_table_of_columns() -> None:
    batch = started().next_batch(5)
    assert batch is not None and isinstance(batch, Sequence) and batch.nbytes > 0
    assert (len(batch), batch[-1].value, [event.time for event in batch[1:]]) == (3, 7, [2000, 3000])
    columns = batch.by_probe()
    assert list(columns) == ["read", "open"] and list(columns["read"]) == ["value", "trace"]
    assert (columns["read"]["value"], columns["read"].time, columns["open"].cpu) == ([-5, 7], [1000, 3000], [0])
    with pytest.raises(IndexError):
        batch[3]


def test_columns_of_integers_are_arrays_that_nothing_was_made_for() -> None:
    engine = started(read(1000, -5) + read(2000, 1 << 40) + open_(2500, b"x") + read(3000, 7))
    batch = engine.next_batch(5)
    assert batch is not None
    columns = batch.by_probe()["read"]
    values, times, cpus = columns.buffer("value"), columns.buffer("time"), columns.buffer("cpu")
    assert (values.format, values.itemsize, values.readonly, values.contiguous) == ("q", 8, True, True)
    assert (values.tolist(), times.tolist(), cpus.tolist()) == ([-5, 1 << 40, 7], [1000, 2000, 3000], [0, 0, 0])
    assert (times.format, cpus.format, columns.valid("value")) == ("Q", "H", None)
    del batch, columns, engine
    assert values[1] == 1 << 40 and bytes(values[:1]) == struct.pack("<q", -5)
    with pytest.raises(TypeError):
        values[0] = 1


def test_what_is_no_array_says_so() -> None:
    batch = started().next_batch(5)
    assert batch is not None
    columns = batch.by_probe()
    for probe, name in (("read", "trace"), ("open", "path")):
        with pytest.raises(TypeError, match=f"{name} holds no integers"):
            columns[probe].buffer(name)
    for get in (columns["read"].buffer, columns["read"].valid):
        with pytest.raises(KeyError, match="nothing"):
            get("nothing")


def test_a_batch_of_one_kind_has_columns_of_its_own() -> None:
    batch = started(read(1, 5) + read(2, 6)).next_batch(5)
    assert batch is not None and batch.columns()["value"] == [5, 6]
    mixed = started().next_batch(5)
    assert mixed is not None
    with pytest.raises(ValueError, match=r"several kinds of event in this batch; by_probe\(\)"):
        mixed.columns()


def test_dispatch_gives_each_handler_what_it_asked_for() -> None:
    seen: list[tuple[Any, ...]] = []
    plans = {
        1: [(lambda *got: seen.append(got), ["id", 0, ("constant",), "time", "cpu", "probe"])],
        2: [(lambda event: seen.append((event.path,)), ["event"]), (lambda: seen.append(()), [])],
    }
    dispatcher = _native.Dispatcher(plans)
    batch = started().next_batch(5)
    assert batch is not None
    assert dispatcher.dispatch(batch, 0, 2) == 2
    assert seen == [(1, -5, "constant", 1000, 0, "read"), ("/etc/\udcff",), ()]
    assert dispatcher.dispatch(batch, 2) == 3 and seen[3][:2] == (1, 7)
    assert (dispatcher.handles(1), dispatcher.handles(3)) == (True, False)


def test_a_handlers_error_comes_out_as_it_is() -> None:
    def handler(value: int) -> None:
        raise ZeroDivisionError(value)

    batch = started().next_batch(5)
    assert batch is not None
    with pytest.raises(ZeroDivisionError, match="-5"):
        _native.Dispatcher({1: [(handler, [0])]}).dispatch(batch)


def test_tables_count_what_streams_bring() -> None:
    engine = started(STREAM + read(4000, 1))
    while engine.next_batch(5) is not None:
        pass
    table = engine.table(0, 0)
    ((key, count),) = table.top(1)
    assert (count, key[0].addresses, table.total, len(table), table.get(key)) == (2, FRAMES, 3, 2, 2)
    assert sum(count for _, count in table.take()) == 3 and len(table) == 0 and table.total == 3


@pytest.mark.parametrize(
    ("damage", "offset", "words"),
    [
        (b"\x09more", len(STREAM), "9"),
        (read(5, 5)[:-3], len(STREAM), "end"),
    ],
)
def test_a_damaged_stream_gives_what_came_before_and_names_the_byte(damage: bytes, offset: int, words: str) -> None:
    engine, found = started(STREAM + damage), 0
    with pytest.raises(StreamError, match=words) as caught:
        while (batch := engine.next_batch(5)) is not None:
            found += len(batch)
    assert found == 3 and offset <= caught.value.offset <= offset + len(damage)
