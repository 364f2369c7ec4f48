"""A framed stream such as a generated SystemTap script writes, built in code, and the Python loop that is its peer.

One kind of event: an id, the time, a CPU, a process; with a kernel stack of about eight frames, or without.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import spile
from spile import _native

DISTINCT = 300
HEAD = struct.Struct("<BQHI")
FRAMES = [struct.Struct(f"<{count}Q") for count in range(128)]
CHECK_BASE = 0x5350494C


def framed(events: int, *, stacks: bool) -> bytes:
    """The stream. The same one each time."""
    chance = random.Random(1)
    functions = [0xFFFF_FFFF_8100_0000 + chance.randrange(0x100_0000) for _ in range(600)]
    depths = (6, 7, 8, 8, 8, 9, 10)
    known = [tuple(chance.choices(functions, k=chance.choice(depths))) for _ in range(DISTINCT)]
    weights = [1 / (rank + 1) for rank in range(DISTINCT)]
    out, time = bytearray(), 10**12
    for stack in chance.choices(known, weights, k=events):
        time += chance.randrange(100, 5000)
        cpu, pid = chance.randrange(2), chance.randrange(4000)
        payload, total = HEAD.pack(1, time, cpu, pid), 1 + time + cpu + pid
        if stacks:
            payload += bytes([len(stack)]) + FRAMES[len(stack)].pack(*stack)
            total += len(stack) + sum(stack)
        out += _frame(payload, total)
    return bytes(out)


def _frame(payload: bytes, total: int) -> bytes:
    out = b"SP" + struct.pack("<H", len(payload)) + payload
    out += struct.pack("<I", (CHECK_BASE + len(payload) + total) & 0xFFFF_FFFF)
    return out + bytes(-(8 + len(out)) % 16)


def count_in_python(pipe: int, *, by: str) -> dict[Any, int]:
    """The peer: the loop of 2008, which unpacks, calls the event's own function by its id, and counts in a dict."""
    counts: defaultdict[Any, int] = defaultdict(int)
    head, frames = HEAD.unpack_from, [depth.unpack_from for depth in FRAMES]

    def by_pid(data: bytes, at: int) -> None:
        _id, _time, _cpu, pid = head(data, at)
        counts[pid] += 1

    def by_stack(data: bytes, at: int) -> None:
        _id, _time, _cpu, _pid = head(data, at)
        counts[frames[data[at + 15]](data, at + 16)] += 1

    functions: dict[int, Callable[[bytes, int], None]] = {1: by_pid if by == "pid" else by_stack}
    rest = b""
    while more := os.read(pipe, 1 << 18):
        rest = _loop(rest + more, functions)
    return counts


def _loop(data: bytes, functions: dict[int, Callable[[bytes, int], None]]) -> bytes:
    """Calls a function for each whole frame; gives what is left."""
    at, end = 0, len(data)
    while at + 4 <= end:
        length = data[at + 2] | data[at + 3] << 8
        behind = at + 8 + length + (-length & 15)
        if behind > end:
            break
        functions[data[at + 4]](data, at + 4)
        at = behind
    return data[at:]


def engine(pipe: int, *, by: str) -> _native.Engine:
    """The stream in spile, counted."""
    session = spile.Session()
    session.raw_tracepoint("sys_enter").count(by=spile.pid if by == "pid" else spile.kstack)
    return _native.Engine.systemtap(session.spec.to_json(), _schemas(by), [pipe])


def _schemas(by: str) -> str:
    def column(name: str, size: int, role: str = "capture") -> dict[str, Any]:
        return {"name": name, "type": {"kind": "int", "size": size, "signed": False}, "role": role}

    columns = [column("time", 8, "time"), column("cpu", 2, "cpu"), column("pid", 4, "key")]
    if by == "stack":
        columns.append({"name": "stack", "type": {"kind": "stack", "space": "kernel"}, "role": "key"})
    return json.dumps([{"id": 1, "probe": 0, "target": 0, "fields": columns, "keys": [[len(columns) - 1]]}])
