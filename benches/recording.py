"""A packed stream such as a generated script writes, built in code, and the Python loop that is its peer.

One kind of event: an id, the time, two integers, a CPU, a kernel stack of about eight frames. A few hundred distinct
stacks, some of them far more frequent than others, as in any trace.
"""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import spile
from spile import _native

DISTINCT = 300
HEAD = struct.Struct("<BQIIHB")
FRAMES = [struct.Struct(f"<{count}Q") for count in range(128)]

Stack = tuple[int, ...]


def packed(events: int, pids: int = 4000) -> bytes:
    """The stream, of so many processes. The same one each time."""
    chance = random.Random(1)
    functions = [0xFFFF_FFFF_8100_0000 + chance.randrange(0x100_0000) for _ in range(600)]
    depths = (6, 7, 8, 8, 8, 9, 10)
    stacks = [tuple(chance.choices(functions, k=chance.choice(depths))) for _ in range(DISTINCT)]
    weights = [1 / (rank + 1) for rank in range(DISTINCT)]
    out, time = bytearray(), 10**12
    for stack in chance.choices(stacks, weights, k=events):
        time += chance.randrange(100, 5000)
        out += HEAD.pack(1, time, chance.randrange(pids), chance.randrange(1 << 20), chance.randrange(2), len(stack))
        out += FRAMES[len(stack)].pack(*stack)
    return bytes(out)


def count_in_python(data: bytes) -> dict[Stack, int]:
    """The peer: a tight loop over `struct`, with a tuple of frames as key."""
    counts: defaultdict[Stack, int] = defaultdict(int)
    head, size, frames = HEAD.unpack_from, HEAD.size, [depth.unpack_from for depth in FRAMES]
    at, end = 0, len(data)
    while at < end:
        _id, _time, _pid, _amount, _cpu, depth = head(data, at)
        at += size
        counts[frames[depth](data, at)] += 1
        at += 8 * depth
    return counts


def call_in_python(data: bytes, handler: Callable[[int, int], Any]) -> None:
    """The peer of dispatch: the same loop, which decodes whole events and calls rather than counts."""
    head, size, frames = HEAD.unpack_from, HEAD.size, [depth.unpack_from for depth in FRAMES]
    at, end = 0, len(data)
    while at < end:
        _id, _time, pid, amount, _cpu, depth = head(data, at)
        at += size
        _stack = frames[depth](data, at)
        at += 8 * depth
        handler(pid, amount)


def call_in_python_without_stacks(data: bytes, handler: Callable[[int, int], Any]) -> None:
    """A loop that passes over the stacks, which the handler doesn't want."""
    head, size = HEAD.unpack_from, HEAD.size
    at, end = 0, len(data)
    while at < end:
        _id, _time, pid, amount, _cpu, depth = head(data, at)
        at += size + 8 * depth
        handler(pid, amount)


def columns_in_python(data: bytes) -> tuple[array[int], array[int]]:
    """The peer of columns: a loop that passes over the stacks, into two arrays."""
    pids, amounts = array("I"), array("I")
    head, size = HEAD.unpack_from, HEAD.size
    at, end = 0, len(data)
    while at < end:
        _id, _time, pid, amount, _cpu, depth = head(data, at)
        at += size + 8 * depth
        pids.append(pid)
        amounts.append(amount)
    return pids, amounts


def engine(data: bytes, *, count: bool, by_pid: bool = False) -> _native.Engine:
    """The stream in spile: counted by stack (and process), or delivered."""
    session = spile.Session()
    probe = session.raw_tracepoint("sys_enter", capture={"pid": spile.pid, "amount": spile.tid})
    if count:
        probe.count(by=(spile.pid, spile.kstack) if by_pid else (spile.kstack,))
    spec = session.spec.to_json()
    return _native.Engine.stream(_with(spec, count), _schemas([1, 4] if by_pid else [4]), data)


def _with(spec: str, count: bool) -> str:
    form = json.loads(spec)
    form["probes"][0]["deliver"] = not count
    form["limits"]["queue"] = 1 << 30
    return json.dumps(form)


def _schemas(key: list[int]) -> str:
    def column(name: str, size: int, role: str = "capture") -> dict[str, Any]:
        return {"name": name, "type": {"kind": "int", "size": size, "signed": False}, "role": role}

    columns = [
        column("time", 8, "time"),
        column("pid", 4),
        column("amount", 4),
        column("cpu", 2, "cpu"),
        {"name": "stack", "type": {"kind": "stack", "space": "kernel"}, "role": "key"},
    ]
    return json.dumps([{"id": 1, "probe": 0, "target": 0, "fields": columns, "keys": [key]}])
