"""``sample=``: of a workload's number on one CPU exactly every so-maniest hit, in events, in tables, in spans."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import spile
from spile import comm, kstack, pid, timestamp
from workload import GETPPID, call, calls

pytestmark = pytest.mark.live

CALLS = 12_345


@pytest.fixture
def on_one_cpu() -> Iterator[None]:
    """This thread on one CPU: another thread starts where the scheduler likes."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def sampled(sample: int, **options: Any) -> tuple[spile.Session, spile.Probe[Any]]:
    """A session on this process, and a probe of its own calls."""
    session = spile.Session(pid=os.getpid())
    return session, session.tracepoint(GETPPID, sample=sample, **options)


@pytest.mark.parametrize("sample", [1, 2, 100, 12_345, 12_346])
@pytest.mark.usefixtures("on_one_cpu")
def test_events_are_every_so_maniest_hit_of_a_cpu(sample: int) -> None:
    session, probe = sampled(sample, capture={"stamp": timestamp})
    table = probe.count(by=pid)
    with session:
        call(CALLS)
        session.stop()
        events = list(session)
    taken = CALLS // sample
    losses = session.losses[probe.name]
    assert (len(events), dict(table)) == (taken, {os.getpid(): taken} if taken else {})
    assert (losses.hits, losses.delivered, losses.unsampled) == (CALLS, taken, CALLS - taken)
    assert (losses.balance, losses.lost, session.losses.explain()) == (0, 0, "")


@pytest.mark.usefixtures("on_one_cpu")
def test_what_where_keeps_out_is_not_counted_off() -> None:
    session, probe = sampled(10, where=pid == os.getpid())
    other = session.tracepoint(GETPPID, where=comm == "nobody", sample=10, name="other")
    table, none = probe.count(by=(comm, kstack)), other.count()
    with session:
        call(1009)
    assert (table.total, none.value) == (100, 0)
    assert (session.losses["other"].filtered, session.losses["other"].unsampled) == (1009, 0)
    assert {losses.balance for losses in session.losses.values()} == {0}


@pytest.mark.usefixtures("on_one_cpu")
def test_a_span_is_sampled_at_its_end() -> None:
    session = spile.Session(pid=os.getpid())
    start = session.tracepoint(GETPPID)
    end = session.tracepoint("syscalls:sys_exit_getppid")
    session.span(start, end, capture={"ns": spile.elapsed}, sample=50)
    with session:
        call(1234)
        session.stop()
        events = list(session)
    losses = session.losses["span"]
    assert len(events) == 1234 // 50 and all(event["ns"] > 0 for event in events)
    assert (losses.opened, losses.matched, losses.unsampled) == (1234, 1234, 1234 - 1234 // 50)
    assert losses.balance == 0


def test_each_cpu_and_each_member_of_a_group_counts_off_by_itself() -> None:
    # Unpinned, in several processes: a CPU leaves out less than a whole number at its end.
    session = spile.Session(command=calls(3_000, children=3))
    probe = session.tracepoint([GETPPID, "syscalls:sys_exit_getppid"], sample=7)
    table = probe.count(by=spile.probe_name)
    session.run()
    assert session.returncode == 0
    rows = session.losses.targets(probe.name)
    cpus = os.cpu_count() or 1
    for losses, taken in zip(rows.values(), sorted(table.values()), strict=True):
        assert losses.hits >= 3_000 and losses.hits % 3_000 < 10
        assert losses.balance == 0
        assert losses.hits / 7 - cpus < taken <= losses.hits / 7


@pytest.mark.usefixtures("on_one_cpu")
def test_results_say_what_one_stands_for() -> None:
    session, probe = sampled(100)
    table, cell = probe.count(by=pid), probe.stats(pid)
    with session:
        call(1000)
    taken = table.take()
    assert "one counted stands for 100" in repr(taken) and "one counted stands for 100" in str(taken)
    assert (taken.sample, taken.total, taken.scaled().total, taken.scaled().sample) == (100, 10, 1000, 1)
    assert "one counted stands for 100" in repr(cell) and cell.scaled().count == 1000
    assert "one of 100 that pass is taken" in session.explain()
    assert str(session.losses).endswith(
        f"{probe.name}: 990 were left out by sample=100: one that was taken stands for 100"
    )


@pytest.mark.usefixtures("on_one_cpu")
def test_a_replay_knows_the_sample(tmp_path: Any) -> None:
    session, probe = sampled(100, capture=[pid])
    session.record(tmp_path / "x.spile")
    with session:
        call(1000)
    replayed = spile.replay(tmp_path / "x.spile")
    table = replayed[probe.name].count(by=pid)
    replayed.run()
    assert (dict(table), table.sample) == ({os.getpid(): 10}, 100)
    losses = replayed.losses[probe.name]
    assert (losses.hits, losses.unsampled, losses.balance) == (1000, 990, 0)
