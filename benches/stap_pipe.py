"""The price of an event of a generated SystemTap script: from a real pipe into the tables, beside `cat` on the same
pipe and beside the Python loop of 2008 (unpack, dispatch, count).

Costs are CPU time of whoever reads, reading included: so much of a core an event takes. The writer has its own process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import stap_stream
from price import Price, Row, Target, alternate, typical

from spile import _native

EVENTS, TINY_EVENTS = 300_000, 2_000
#: The stream goes through the pipe so many times; for the Python loop once is long enough.
TIMES, TINY_TIMES = 20, 2
#: 400 MB/s, or 10 million events a second: the tighter one is the limit.
MOST_PER_BYTE, MOST_PER_EVENT = 2.5, 100

WRITER = """
import os, sys
data, times, pipe = memoryview(open(sys.argv[1], "rb").read()), int(sys.argv[2]), int(sys.argv[3])
os.read(0, 1)
for _ in range(times):
    at = 0
    while at < len(data):
        at += os.write(pipe, data[at : at + (1 << 20)])
"""

LIMIT = "400 MB/s or 10 million/s"


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """The prices of counting by process and by stack."""
    events, times, rounds = (TINY_EVENTS, TINY_TIMES, 1) if tiny else (EVENTS, TIMES, 5)
    for key in ("pid", "stack"):
        data = stap_stream.framed(events, stacks=key == "stack")
        _check(data, events, key)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield from _counting(file.name, data, events, times, key, rounds)


def _counting(path: str, data: bytes, events: int, times: int, key: str, rounds: int) -> Iterator[Row]:
    walls: list[float] = []

    def spile() -> float:
        with _pipe(path, times) as pipe:
            engine, begun = stap_stream.engine(pipe, by=key), time.perf_counter()
            cost = _cost(partial(_count, engine))
            walls.append(time.perf_counter() - begun)
        return cost / (events * times)

    def cat() -> float:
        with _pipe(path, times) as pipe:
            before = _children()
            subprocess.run(["cat"], stdin=pipe, stdout=subprocess.DEVNULL, check=True)
            return (_children() - before) / (events * times)

    def python() -> float:
        with _pipe(path, 1) as pipe:
            return _cost(partial(stap_stream.count_in_python, pipe, by=key)) / events

    ours, copying, looping = (typical(figures) for figures in alternate(rounds, spile, cat, python))
    size = len(data) / events
    limit = min(MOST_PER_EVENT, MOST_PER_BYTE * size)
    what = f"a script's stream, count by {key}"
    remark = (
        f"{size:.0f} bytes an event: {size / ours * 1000:,.0f} MB and {1000 / ours:.1f} million events a second of CPU "
        f"time; {len(data) * times / typical(walls) / 1e6:,.0f} MB a second by the clock, the writer beside it"
    )
    yield Price(what, LIMIT, ours, limit, "ns/event", Target("at most", 1), remark)
    yield Price(what, "cat > /dev/null", ours, copying, "ns/event")
    yield Price(what, "struct loop that counts", ours, looping, "ns/event", Target("at least", 10))


@contextmanager
def _pipe(path: str, times: int) -> Iterator[int]:
    """A pipe that a process begins to write to now."""
    reader, writer = os.pipe()
    command = [sys.executable, "-S", "-c", WRITER, path, str(times), str(writer)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writer]) as process:
        os.close(writer)
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        try:
            yield reader
        finally:
            os.close(reader)


def _cost(work: Callable[[], object]) -> float:
    """Nanoseconds of CPU time."""
    before = time.process_time_ns()
    work()
    return time.process_time_ns() - before


def _children() -> float:
    """Nanoseconds of CPU time of the processes that have ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1e9


def _count(engine: _native.Engine) -> None:
    engine.start()
    while engine.next_batch() is not None or not engine.ended:
        pass


def _check(data: bytes, events: int, key: str) -> None:
    """Both sides must have counted the same, or the comparison says nothing."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        engine = stap_stream.engine(file.fileno(), by=key)
        _count(engine)
        file.seek(0)
        theirs = dict(stap_stream.count_in_python(file.fileno(), by=key))
    ours = {part if key == "pid" else part.addresses: count for (part,), count in engine.table(0, 0).items()}
    if ours != theirs or sum(ours.values()) != events or engine.stream_numbers()["gaps"]:
        raise SystemExit("stap_pipe: the two sides count differently; their prices can't be compared")
