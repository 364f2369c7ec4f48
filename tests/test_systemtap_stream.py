"""The framed stream of a generated SystemTap script, through the extension module: pipes, damage, tables, the ledger.

Streams are written here from the form that `rust/core/src/source/framed` documents, and read back by a second reader in
plain Python.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spile
from spile import EngineError, _native

PID = {"op": "context", "name": "pid"}


def column(name: str, kind: str, role: str = "capture", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": {"kind": kind, **more}, "role": role}


HEAD = [column("time", "int", "time", size=8, signed=False), column("cpu", "int", "cpu", size=2, signed=False)]
SCHEMAS = json.dumps(
    [
        {
            "id": 1,
            "probe": 0,
            "target": 0,
            "fields": [*HEAD, column("pid", "int", size=8, signed=True)],
            "keys": [[2]],
        },
        {"id": 2, "probe": 1, "target": 0, "fields": [*HEAD, column("path", "string", limit=64)], "keys": []},
    ]
)


def probe(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "declared_at": None,
        "targets": [{"kind": "raw_tracepoint", "name": name}],
        "capture": {"kind": "fields", "fields": [{"name": "value", "expr": PID}]},
        "where": None,
        "aggregates": [],
        "deliver": True,
        **more,
    }


def spec(*, deliver: bool = True) -> str:
    session = spile.Session()
    session.raw_tracepoint("sys_enter", capture={"pid": spile.pid}).count(by=spile.pid)
    session.raw_tracepoint("sys_exit", capture={"path": spile.comm})
    form = json.loads(session.spec.to_json())
    form["probes"][0]["deliver"] = deliver
    return json.dumps(form)


def frame(payload: bytes, total: int) -> bytes:
    out = b"SP" + struct.pack("<H", len(payload)) + payload
    out += struct.pack("<I", (0x5350494C + len(payload) + total) & 0xFFFF_FFFF)
    return out + bytes(-(8 + len(out)) % 16)


def read(time: int, pid: int, cpu: int = 0) -> bytes:
    return frame(struct.pack("<BQHq", 1, time, cpu, pid), 1 + time + cpu + (pid & 0xFFFF_FFFF_FFFF_FFFF))


def open_(time: int, path: bytes) -> bytes:
    return frame(struct.pack("<BQH", 2, time, 0) + path + b"\0", 2 + time + len(path))


def control(small: list[int], words: list[int]) -> bytes:
    return frame(bytes([0, *small]) + struct.pack(f"<{len(words)}Q", *words), sum(small) + sum(words))


def row(pid: int, count: int) -> bytes:
    words = [pid & 0xFFFF_FFFF_FFFF_FFFF, count]
    return control([3, 0, 0], words)


READY, END = control([1], []), control([5], [])


def ledger(event: int, hits: int, filtered: int, delivered: int) -> bytes:
    return control([2, event], [hits, filtered, delivered, 0, 0])


def whole(data: bytes) -> list[tuple[int, int]]:
    """The second reader: event ids and times of the frames that hold, each found by trying the next place."""
    found, at = [], 0
    while (at := data.find(b"SP", at)) >= 0:
        length = int.from_bytes(data[at + 2 : at + 4], "little")
        payload, check = data[at + 4 : at + 4 + length], data[at + 4 + length : at + 8 + length]
        total = _total(payload)
        if len(check) == 4 and total is not None and frame(payload, total)[4 + length : 8 + length] == check:
            if payload[0]:
                found.append((payload[0], int.from_bytes(payload[1:9], "little")))
            if payload == b"\0\x05":
                break  # the script's last word
            at += 8 + length
        else:
            at += 1
    return found


def _total(payload: bytes) -> int | None:
    if len(payload) == 19 and payload[0] == 1:
        return sum(struct.unpack("<BQHQ", payload))
    if len(payload) >= 12 and payload[0] == 2 and payload.find(b"\0", 11) == len(payload) - 1 <= 75:
        return sum(struct.unpack("<BQH", payload[:11])) + len(payload) - 12
    if payload in (b"\0\x01", b"\0\x05"):
        return payload[1]
    if len(payload) == 43 and payload[:2] == b"\0\x02":
        return sum(struct.unpack("<BB5Q", payload[1:]))
    return None


def engine(data: bytes, *, deliver: bool = True, bulk: bool = False) -> _native.Engine:
    """An engine over a pipe that holds the data and has no writer any more."""
    reader, writer = os.pipe()
    thread = threading.Thread(target=_write, args=(writer, data))
    thread.start()
    made = _native.Engine.systemtap(spec(deliver=deliver), SCHEMAS, [reader], bulk)
    os.close(reader)
    made.start()
    return made


def _write(writer: int, data: bytes) -> None:
    with os.fdopen(writer, "wb") as file:
        file.write(data)


def events(made: _native.Engine) -> Iterator[spile.Event]:
    while (batch := made.next_batch(5)) is not None:
        yield from batch
    assert made.ended


def test_a_whole_stream_gives_events_tables_and_a_ledger_that_balances() -> None:
    data = [READY, read(1, -7, 3), open_(2, b"/etc/\xff"), read(3, 5), read(4, 5), ledger(1, 10, 7, 3), END]
    made = engine(b"".join(data))
    found = list(events(made))
    assert [(event.id, event.time, event.cpu) for event in found] == [(1, 1, 3), (2, 2, 0), (1, 3, 0), (1, 4, 0)]
    assert (found[0].pid, found[1].path) == (-7, "/etc/\udcff")
    assert dict(made.table(0, 0).items()) == {(-7,): 1, (5,): 2}
    assert made.ready and made.complete
    numbers = made.stream_numbers()
    assert (numbers["frames"], numbers["gaps"], numbers["skipped"], numbers["corrupt"]) == (7, 0, 0, 0)
    losses = spile.Losses(made.losses(), ["a", "b"])
    assert (losses["a"].hits, losses["a"].delivered, losses["a"].filtered, losses.balance) == (10, 3, 7, 0)
    assert len(made.events()) == 2 and made.explain(True) == ""
    made.stop()
    assert made.losses()[0]["delivered"] == 3


def test_what_the_transport_lost_is_a_number() -> None:
    made = engine(b"".join([read(1, 1), read(2, 2)[:9], b"stray", read(3, 3), ledger(1, 12, 2, 10)]))
    assert [event.time for event in events(made)] == [1, 3]
    losses = spile.Losses(made.losses(), ["a", "b"], buffer=1 << 20)
    assert (losses["a"].transport_lost, losses.lost, losses.balance) == (8, 8, 0)
    assert "8 were lost or damaged in SystemTap's transport: raise buffer=2 << 20" in losses.explain()
    numbers = made.stream_numbers()
    assert (numbers["gaps"], numbers["skipped"], numbers["corrupt"]) == (1, 14, 1)
    assert not made.ready and not made.complete


def test_rows_of_the_scripts_tables_add_up() -> None:
    data = [row(7, 1000), row(-8, 5), control([4, 0, 0], [2, 1005]), row(7, 500), control([4, 0, 0], [2, 900])]
    made = engine(b"".join([*data, ledger(1, 1905, 0, 0)]), deliver=False)
    assert list(events(made)) == []
    assert dict(made.table(0, 0).items()) == {(7,): 1500, (-8,): 5} and made.table(0, 0).total == 1505
    losses = spile.Losses(made.losses(), ["a", "b"])
    assert (losses["a"].delivered, losses["a"].transport_lost, losses.balance) == (1505, 400, 0)
    assert made.stream_numbers()["rows_missing"] == 1


def test_stopping_does_not_wait_for_the_writer() -> None:
    reader, writer = os.pipe()
    made = _native.Engine.systemtap(spec(), SCHEMAS, [reader])
    made.start()
    os.write(writer, read(1, 1) + READY)
    made.drain()
    assert made.ready
    os.write(writer, read(2, 2) + read(3, 3)[:20])
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 1
    assert [event.time for event in events(made)] == [1, 2]
    assert made.stream_numbers()["gaps"] == 1
    os.close(writer)
    os.close(reader)


def test_stopping_ends_though_the_writer_goes_on() -> None:
    reader, writer = os.pipe()
    made = _native.Engine.systemtap(spec(deliver=False), SCHEMAS, [reader])
    os.close(reader)
    thread = threading.Thread(target=_write_until_it_breaks, args=(writer, read(1, 1) * 1000))
    made.start()
    thread.start()
    while made.table(0, 0).total < 10_000:
        made.drain()
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 2
    thread.join(5)
    assert not thread.is_alive()


def _write_until_it_breaks(writer: int, data: bytes) -> None:
    with open(writer, "wb", buffering=0) as file:
        try:
            while True:
                file.write(data)
        except BrokenPipeError:
            return


def test_an_event_of_a_quiet_stream_is_not_held_back() -> None:
    reader, writer = os.pipe()
    made = _native.Engine.systemtap(spec(), SCHEMAS, [reader])
    made.start()
    for number in (1, 2, 3):
        os.write(writer, read(number * 10**9, number))
        batch = made.next_batch(5)
        assert batch is not None and [event.pid for event in batch] == [number]
    os.close(writer)
    made.stop()
    os.close(reader)


def test_a_writer_that_dies_within_a_frame_is_the_streams_end() -> None:
    made = engine(read(1, 1) + read(2, 2)[:11])
    assert [event.time for event in events(made)] == [1]
    assert not made.complete and made.stream_numbers()["skipped"] == 11


def test_recorded_files_are_read_whole_and_by_cpu(tmp_path: Any) -> None:
    def print_(number: int, data: bytes) -> bytes:
        return struct.pack("<II", number, len(data)) + data

    one, two = tmp_path / "FILE_0", tmp_path / "FILE_1"
    one.write_bytes(b"".join(print_(n, read(n, n, 0)) for n in range(1, 2000, 2)))
    two.write_bytes(b"".join(print_(n, read(n, n, 1)) for n in range(2, 1990, 2)))
    with one.open("rb") as first, two.open("rb") as second:
        made = _native.Engine.systemtap(spec(), SCHEMAS, [first.fileno(), second.fileno()], bulk=True)
    made.start()
    assert [event.time for event in events(made)] == [n for n in range(1, 2000) if n % 2 or n < 1990]
    assert made.stream_numbers()["missing"] == 5
    made.stop()


@pytest.mark.parametrize("descriptor", [-1, 1_000_000])
def test_a_descriptor_that_can_not_be_is_named(descriptor: int) -> None:
    with pytest.raises(EngineError, match=f"descriptor {descriptor} can't be read"):
        _native.Engine.systemtap(spec(), SCHEMAS, [descriptor])


def test_a_descriptor_that_can_not_be_read_ends_the_stream_with_its_error(tmp_path: Any) -> None:
    with (tmp_path / "written").open("wb") as file:
        made = _native.Engine.systemtap(spec(), SCHEMAS, [file.fileno()])
    made.start()
    with pytest.raises(spile.StreamError, match="can't be read"):
        list(events(made))


FRAMES = st.one_of(
    st.builds(read, st.integers(1, 2**40), st.integers(-(2**63), 2**63 - 1), st.integers(0, 255)),
    st.builds(open_, st.integers(1, 2**40), st.binary(max_size=64).map(lambda path: path.replace(b"\0", b"x"))),
    st.sampled_from([READY, END, ledger(1, 5, 3, 2)]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(FRAMES, max_size=30), st.data())
def test_damaged_streams_give_what_a_second_reader_finds(frames: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(frames))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(stream)))
        cut = data.draw(st.integers(0, 60))
        noise = st.sampled_from([b"S", b"SP", b"SP\x13\0\x01", READY[:7], bytes(30)])
        stream[at : at + cut] = data.draw(st.one_of(st.binary(max_size=40), noise))
    made = engine(bytes(stream))
    expected = whole(bytes(stream))
    assert sorted((event.id, event.time) for event in events(made)) == sorted(expected)
    counted = engine(bytes(stream), deliver=False)
    assert [event.id for event in events(counted)] == [2 for number, _ in expected if number == 2]
    assert counted.table(0, 0).total == made.table(0, 0).total == sum(number == 1 for number, _ in expected)
    losses = spile.Losses(made.losses(), ["a", "b"])
    assert losses.balance == 0
