"""Aggregates kept in the kernel: the same numbers as over the event stream, however often they are taken meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spile
from spile import arg, at_start, comm, elapsed, kstack, pid, probe_name, string, tid
from workload import GETPPID, call, calls

pytestmark = pytest.mark.live

LIBC = ctypes.CDLL(None)
GETPRIORITY = 140 if os.uname().machine == "x86_64" else 141


def test_counts_are_kept_in_the_kernel() -> None:
    session = spile.Session(pid=os.getpid())
    mine = session.tracepoint(GETPPID, where=pid == os.getpid()).count(by=(pid, comm, tid, probe_name))
    explained = session.explain()
    with session:
        call(1000)
        assert mine.snapshot().total == 1000
        call(500)
    assert list(mine.values()) == [1500]
    row = session.losses.total
    assert (row.tabled, row.delivered, row.balance, row.lost) == (1500, 0, 0, 0)
    assert "aggregate 0 is kept in the kernel: 2 x " in explained and " bytes together" in explained


def test_the_same_over_the_event_stream() -> None:
    session = spile.Session(command=[*calls(300)])
    opened = session.tracepoint("syscalls:sys_enter_openat")
    by_path = opened.count(by=string(arg.filename))
    by_stack = opened.count(by=kstack)
    session.run()
    # A path on a page that is not in memory can't be read.
    assert by_path.total + by_path.faulted == by_stack.total > 0
    row = session.losses.total
    # What is counted by a string is sent, so the hit is an event.
    assert row.tabled == 0 and row.balance == 0
    assert "counted over the event stream: a string has no size" in session.explain()


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.sampled_from([4096, 1 << 14, 32 << 20]))
def test_what_is_taken_adds_up(bursts: list[int], tables: int) -> None:
    session = spile.Session(pid=os.getpid(), tables=tables)
    mine = session.tracepoint(GETPPID).count(by=kstack)
    taken = Counter[object]()
    with session:
        for burst in bursts:
            call(burst)
            taken.update(dict(mine.take()))
            assert taken.total() == mine.total
    taken.update(dict(mine.take()))
    assert taken.total() == sum(bursts) == session.losses.total.hits


@pytest.mark.parametrize("tables", [32 << 20, 1 << 14, 0])
def test_a_span_s_keys_are_of_its_start_and_its_end(tables: int) -> None:
    # getpriority(2) refuses these classes, and looks no further.
    session = spile.Session(pid=os.getpid(), tables=tables)
    mine = (arg.id == GETPRIORITY) & (tid == threading.get_native_id())
    start = session.tracepoint("raw_syscalls:sys_enter", where=mine)
    end = session.tracepoint("raw_syscalls:sys_exit", where=mine)
    span = session.span(start, end)
    by_class = span.count(by=(at_start(arg.args[0]), at_start(comm), arg.ret))
    longest, times = span.max(elapsed), span.hist(elapsed, by=at_start(arg.args[0]))
    assert ("aggregate 0 is kept in the kernel" in session.explain()) == (tables > 0)
    before = time.monotonic_ns()
    with session:
        for number in range(1000):
            LIBC.syscall(GETPRIORITY, 1000 + number % 7, 0)
    classes = Counter(1000 + number % 7 for number in range(1000))
    name = Path("/proc/self/comm").read_text().strip()
    assert dict(by_class) == {(which, name, -errno.EINVAL): hits for which, hits in classes.items()}
    assert {which: histogram.total for which, histogram in times.items()} == classes
    assert 0 < longest.value < time.monotonic_ns() - before
    assert session.losses.balance == 0


def test_no_memory_for_tables_is_no_loss() -> None:
    session = spile.Session(pid=os.getpid(), tables=4096)
    probes = [session.tracepoint(GETPPID, name=f"p{index}").count(by=kstack) for index in range(8)]
    with session:
        call(100)
    assert [table.total for table in probes] == [100] * 8
    assert "raise tables=4096" in session.explain()


def test_absurd_sizes_are_refused() -> None:
    for tables in (1, 1 << 60):
        session = spile.Session(tables=tables)
        session.tracepoint(GETPPID).count()
        with pytest.raises(spile.SpecError, match="tables="):
            session.start()
