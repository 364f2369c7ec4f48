"""Real streams of SystemTap 4.8 (`tests/data/stap`), held against a decoder in plain Python."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import StreamError, _native

FOLDER = Path(__file__).resolve().parent / "data" / "stap"


def recording(name: str) -> bytes:
    return gzip.decompress((FOLDER / f"{name}.bin.gz").read_bytes())


def integer(name: str, size: int, role: str = "capture") -> dict[str, Any]:
    return {"name": name, "type": {"kind": "int", "size": size, "signed": False}, "role": role}


def text(name: str, limit: int) -> dict[str, Any]:
    return {"name": name, "type": {"kind": "string", "limit": limit}, "role": "capture"}


VFS_READ = [
    integer("tid", 4),
    integer("wall", 8, "time"),
    integer("utime", 8),
    integer("stime", 8),
    text("trace", 4096),
]
SWITCH = [integer("wall", 8, "time"), integer("cpu", 2, "cpu"), integer("prev", 4), integer("next", 4)]
COMMS = [text("prev_comm", 16), text("next_comm", 16)]
LITERAL = [integer("n", 4), text("letters", 64)]
BURST = [integer("wall", 8, "time"), integer("tid", 4)]


def engine(data: bytes, number: int, fields: list[dict[str, Any]]) -> _native.Engine:
    session = spile.Session()
    session.raw_tracepoint("sys_enter", capture={"any": spile.pid})
    schemas = [{"id": number, "probe": 0, "target": 0, "fields": fields, "keys": []}]
    made = _native.Engine.stream(session.spec.to_json(), json.dumps(schemas), data)
    made.start()
    return made


def events(made: _native.Engine) -> Iterator[spile.Event]:
    while (batch := made.next_batch(30)) is not None:
        yield from batch


def read_until_it_can_not(made: _native.Engine) -> tuple[list[spile.Event], int]:
    """What came before the error, and its offset."""
    found: list[spile.Event] = []
    with pytest.raises(StreamError) as caught:
        found.extend(events(made))
    return found, caught.value.offset


def string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def in_order(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """By the first item, the time; equal ones as they came."""
    return sorted(rows, key=lambda row: row[0])


def test_reads_with_task_times_and_backtraces() -> None:
    data, rows, at = recording("1-vfs_read"), list[tuple[Any, ...]](), 0
    while at < len(data):
        number, tid, wall, utime, stime = struct.unpack_from("<BIQQQ", data, at)
        trace, at = string(data, at + 29)
        assert number == 1
        rows.append((wall, tid, utime, stime, trace))
    found = [
        (event.time, event.tid, event.utime, event.stime, event.trace) for event in events(engine(data, 1, VFS_READ))
    ]
    assert found == in_order(rows) and len(found) == 4468
    assert all("vfs_read" in row[4] for row in rows)


def test_context_switches() -> None:
    data, rows, at = recording("2-sched_switch"), list[tuple[Any, ...]](), 0
    while at < len(data):
        number, wall, cpu, before, after = struct.unpack_from("<BQHII", data, at)
        before_comm, at = string(data, at + 19)
        after_comm, at = string(data, at)
        assert number == 2
        rows.append((wall, cpu, before, after, before_comm, after_comm))
    found = [
        (event.time, event.cpu, event.prev, event.next, event.prev_comm, event.next_comm)
        for event in events(engine(data, 2, SWITCH + COMMS))
    ]
    assert found == in_order(rows) and len(found) == 5675
    assert {row[1] for row in rows} == {0, 1}


def test_what_a_burst_lost_ends_a_stream_without_frames() -> None:
    data = recording("6-loss")
    found, offset = read_until_it_can_not(engine(data, 1, BURST))
    rows, at = list[tuple[int, int]](), 0
    while data[at] == 1:
        rows.append(struct.unpack_from("<QI", data, at + 1))
        at += 13
    assert [(event.time, event.tid) for event in found] == in_order(rows)
    # A stray byte stands where a record should begin; what comes behind it could be records, and nothing proves it.
    assert (offset, data[at], len(found)) == (at, 0, 281)


def test_a_string_without_its_end_is_noticed_only_behind_it() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    data, at, count = recording("5-nul-literal"), 0, 0
    while data[at + 25 + (count + 1) % 30] == 0:
        count += 1
        at += 26 + count % 30
    found, offset = read_until_it_can_not(engine(data, 1, LITERAL))
    expected = [(number, letters[: 20 + number % 30]) for number in range(1, count + 1)]
    assert [(event.n, event.letters) for event in found[:count]] == expected and count == 61
    # Nothing in such a stream can prove that the next event is wrong, but what follows it can't be one.
    assert [event.letters for event in found[count:]] == [letters[:22] + "\1\1?"]
    assert offset == data.index(b"\0", at + 5) + 1
