"""Writes recordings by docs/recording-format.md, and by no code of spile's."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

HEAD, EVENTS, SYMBOLS, LOSSES, END = 1, 2, 3, 4, 5
#: A moment on both clocks.
CLOCK = {"monotonic": 1_000_000_000, "wall": 1_700_000_000_000_000_000}

Event = tuple[int, int, int, str]
"""Time, CPU, x, comm."""


def file_header(major: int = 1, minor: int = 0) -> bytes:
    start = b"\x89SPILE\r\n" + struct.pack("<HH", major, minor)
    return start + struct.pack("<I", zlib.crc32(start))


def block(kind: int, number: int, payload: bytes, events: int = 0) -> bytes:
    start = struct.pack(
        "<4sHBBIIIII", b"SPBK", kind, 0, 0, number, len(payload), len(payload), events, zlib.crc32(payload)
    )
    return start + struct.pack("<I", zlib.crc32(start)) + payload


def record(time: int, x: int, comm: str) -> bytes:
    """Of the one event: x at 16, comm at 24."""
    return struct.pack("<QHH4xq16s", time, 1, 0, x, comm.encode())


def records(cpu: int, *parts: bytes) -> bytes:
    groups = b"".join(struct.pack("<HH", len(part), 1) for part in parts)
    return struct.pack("<BHHI", 1, cpu, len(parts), sum(map(len, parts))) + groups + b"".join(parts)


def compact_record(time: int, x: int, comm: str) -> bytes:
    """The same by the low bits of its time: x at 12, comm at 20, a multiple of 8 bytes."""
    return struct.pack("<IHH4xq16s4x", time & 0xFFFFFFFF, 1, 0, x, comm.encode())


def whole_time(time: int) -> bytes:
    return struct.pack("<IHHQ", time & 0xFFFFFFFF, 0xFFFF, 0, time)


def compact(cpu: int, near: int, *parts: bytes) -> bytes:
    return struct.pack("<BHQI", 3, cpu, near, sum(map(len, parts))) + b"".join(parts)


def piece(event: Event) -> bytes:
    time, cpu, x, comm = event
    return records(cpu, record(time, x, comm))


def compact_piece(event: Event) -> bytes:
    """The time is told by the record before it, not by the piece."""
    time, cpu, x, comm = event
    return compact(cpu, 5 << 32, whole_time(time ^ 1), compact_record(time, x, comm))


def mark(time: int) -> bytes:
    return struct.pack("<BQ", 2, time)


def head(**changes: Any) -> dict[str, Any]:
    fields = [
        {"name": "x", "type": {"kind": "int", "size": 8, "signed": True}},
        {"name": "comm", "type": {"kind": "fixed_string", "size": 16}},
    ]
    probe = {
        "name": "switch",
        "declared_at": None,
        "targets": [{"kind": "tracepoint", "category": "sched", "name": "sched_switch"}],
        "capture": {
            "kind": "fields",
            "fields": [
                {"name": "x", "expr": {"op": "field", "path": ["prev_prio"]}},
                {"name": "comm", "expr": {"op": "context", "name": "comm"}},
            ],
        },
        "where": None,
        "aggregates": [],
        "deliver": True,
    }
    return {
        "spile": "0.0.0",
        "spec": {
            "version": 1,
            "target": {"pid": None, "follow": True, "cgroup": None, "exclude_self": True},
            "limits": {"buffer": 4194304, "queue": 67108864, "stack_depth": 127, "stack_cache": 4096},
            "probes": [probe],
        },
        "events": [
            {
                "schema": {"id": 1, "probe": 0, "target": 0, "fields": fields, "keys": []},
                "encoding": "aligned",
                "slots": [[16, 8], [24, 16]],
                "fixed_size": 40,
                "max_size": 40,
            }
        ],
        "names": [[1, "sched_switch"]],
        "clock": CLOCK,
        "machine": {"kernel": "6.1", "host": "elsewhere"},
        **changes,
    }


@dataclass
class Recording:
    """Blocks, one behind the other."""

    blocks: list[bytes] = field(default_factory=list)
    major: int = 1

    def add(self, kind: int, payload: Any, events: int = 0) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.blocks.append(block(kind, len(self.blocks), data, events))

    @property
    def bytes(self) -> bytes:
        return file_header(self.major) + b"".join(self.blocks)


def recording(turns: list[list[Event]], *, closed: bool = True, major: int = 2) -> Recording:
    """A block of events for each turn, which lets go of everything. From version 2 on records are compact."""
    made = Recording(major=major)
    made.add(HEAD, head())
    for turn in turns:
        pieces = b"".join(piece(event) if major == 1 else compact_piece(event) for event in turn)
        made.add(EVENTS, pieces + mark((1 << 64) - 1), len(turn))
    count = sum(map(len, turns))
    made.add(LOSSES, {**CLOCK, "rows": [{"probe": 0, "target": 0, "hits": count, "delivered": count}]})
    if closed:
        made.add(END, {**CLOCK, "events": count, "reason": None})
    return made
