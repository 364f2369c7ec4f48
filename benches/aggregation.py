"""The price of aggregating on the user's side: a recorded stream counted by process and stack, beside polars' group-by
of the same events; rows of the kernel's tables merged; the memory of a key, beside Python's dict.

Costs are CPU time of the whole process, as in `decode_dispatch`. What no Python can call is measured by an example of
the Rust crate, `table_costs`, which is built first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recording
import rust_example
from decode_dispatch import _cost, _count
from price import Price, Row, Skipped, Target, alternate, typical

#: Events of a stream that is read so many times over, of so many processes.
EVENTS, REPEATS, PIDS = 300_000, 10, 64
#: Rows that are merged into tables of so many keys; keys of a table whose memory is told.
MERGED, KEYS, MANY = 16_000_000, 1_000_000, 10_000_000

#: A dict that counts, and what it takes: bytes that are resident for each key.
DICT = """
import sys
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
count, before = int(sys.argv[1]), resident()
counts = {key * 0x9E3779B97F4A7C15 % 2**64: 1 for key in range(count)}
print((resident() - before) / count)
"""


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """The prices of each of these."""
    yield from _recorded(tiny)
    binary = rust_example.built("table_costs", tiny=tiny)
    if isinstance(binary, str):
        yield Skipped("merge rows of the kernel's tables", binary)
        yield Skipped("memory of a key", binary)
        return
    yield from _merging(binary, tiny)
    yield from _memory(binary, tiny)


def _recorded(tiny: bool) -> Iterator[Row]:
    what = "decode, count by (pid, stack)"
    events, repeats, rounds = (2_000, 1, 1) if tiny else (EVENTS, REPEATS, 7)
    part = recording.packed(events, PIDS)
    data, events = part * repeats, events * repeats

    def spile() -> float:
        engine = recording.engine(data, count=True, by_pid=True)
        return _cost(lambda: _count(engine), events)

    try:
        import polars
    except ImportError:
        yield Skipped(what, "there is no polars: pip install polars")
        return
    table = polars.DataFrame(_columns(part), schema={"pid": polars.UInt32, "stack": polars.UInt64})
    frame = polars.concat([table] * repeats, rechunk=True)

    def grouped() -> float:
        return _cost(lambda: frame.group_by("pid", "stack").len(), events)

    _check(data, {(pid, stack): count for pid, stack, count in frame.group_by("pid", "stack").len().rows()})
    ours, theirs = alternate(rounds, spile, grouped)
    yield Price(what, "30 million/s", typical(ours), 1e9 / 30e6, "ns/event", Target("at least", 1))
    yield Price(what, "polars group_by", typical(ours), typical(theirs), "ns/event", None, POLARS)


POLARS = "polars has its columns already, each stack as one number; spile decodes records and interns their stacks too"


def _columns(data: bytes) -> dict[str, list[int]]:
    """What polars gets: of each event the process, and a number for its stack."""
    numbers: dict[recording.Stack, int] = {}
    pids, stacks, at = [], [], 0
    while at < len(data):
        _id, _time, pid, _amount, _cpu, depth = recording.HEAD.unpack_from(data, at)
        at += recording.HEAD.size
        stack = recording.FRAMES[depth].unpack_from(data, at)
        at += 8 * depth
        pids.append(pid)
        stacks.append(numbers.setdefault(stack, len(numbers)))
    return {"pid": pids, "stack": stacks}


def _check(data: bytes, theirs: dict[tuple[int, int], int]) -> None:
    """Both sides must have counted the same."""
    engine = recording.engine(data, count=True, by_pid=True)
    _count(engine)
    ours = [(pid, count) for (pid, _stack), count in engine.table(0, 0).items()]
    if sorted(ours) != sorted((pid, count) for (pid, _stack), count in theirs.items()):
        raise SystemExit("aggregation: the two sides count differently; their prices can't be compared")


def _told(binary: Path, *arguments: object) -> dict[str, Any]:
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _merging(binary: Path, tiny: bool) -> Iterator[Row]:
    merged, keys, rounds = (1 << 16, 1 << 15, 1) if tiny else (MERGED, KEYS, 5)
    told = [_told(binary, "merge", merged, keys) for _ in range(rounds)]
    for name in ("count", "stats"):
        for what, figure in (
            (f"merge {name}s of known keys", f"{name}_ns"),
            (f"merge {name}s of new keys", f"{name}_new_ns"),
        ):
            ours = typical(each[figure] for each in told)
            yield Price(what, "10 million/s", ours, 100.0, "ns/row", Target("at least", 1))


def _memory(binary: Path, tiny: bool) -> Iterator[Row]:
    keys = 100_000 if tiny else MANY
    told = _told(binary, "memory", keys)
    ours = told["bytes"] / told["keys"]
    done = subprocess.run([sys.executable, "-c", DICT, str(keys)], capture_output=True, text=True, check=True)
    what = f"memory of a count by integer, of {keys:,}"
    yield Price(what, "100 bytes", ours, 100.0, "bytes/key", Target("at most", 1))
    yield Price(what, "Python's dict", ours, float(done.stdout), "bytes/key")
