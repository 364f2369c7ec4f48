"""Aggregates kept in the kernel: the same numbers as over the event stream, however often they are taken meanwhile."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spile
from spile import comm, kstack, pid, probe_name, string, tid
from workload import GETPPID, call, calls

pytestmark = pytest.mark.live


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
    by_path = opened.count(by=string(spile.arg.filename))
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
