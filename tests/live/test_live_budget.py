"""``max_overhead=``: under a storm the steps in order, each in the ledger to the last hit; with room enough none."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import spile
from spile import comm, kstack, pid, timestamp
from workload import GETPPID, descriptors, eventually

pytestmark = pytest.mark.live

#: It calls getppid for ever, and then says how often: the number that the ledger must have.
_STORM = """
import os, signal, sys
class Over(Exception): pass
def end(*_): raise Over
signal.signal(signal.SIGTERM, end)
g, n = os.getppid, 0
print("ready", flush=True)
sys.stdin.readline()
try:
    while True:
        n += 1
        g()
except Over:
    pass
print(n, flush=True)
"""
SAMPLES = [(2**power, True) for power in range(1, 11)]


class Storm:
    """A process that calls getppid, from `go` on."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _STORM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Lets it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Ends it; how often it called, give or take the last time."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate()
        return int(out)


@contextmanager
def storm() -> Iterator[Storm]:
    made = Storm()
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def levels(session: spile.Session) -> list[tuple[int, bool]]:
    """Of how many events one was sent, and whether stacks were empty, step by step."""
    return [(step.every, step.stackless) for step in session.losses.steps if step.outcome == "shed"]


def test_a_storm_and_a_tiny_budget_lead_to_every_step_in_order(caplog: pytest.LogCaptureFixture) -> None:
    with storm() as process, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        session = spile.Session(pid=process.process.pid, max_overhead=0.0001, queue=512 << 20, buffer=64 << 20)
        probe = session.tracepoint(GETPPID, capture={"stack": kstack, "stamp": timestamp})
        table = probe.count(by=(pid, comm))
        stacks = probe.count(by=kstack)
        events = 0
        empty = 0

        @probe.on_event
        def count(stack: Any) -> None:
            nonlocal events, empty
            events += 1
            empty += stack is not None and not len(stack)

        with session:
            process.go()
            # The rest is only counted: a while of that, and a step that says that there is no more.
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and (
                not session.losses.steps or session.losses.steps[-1].outcome != "spent"
            ):
                session.wait(0.1)
            calls = process.end()
            session.wait(0.1)
    steps = session.losses.steps
    assert levels(session) == [(1, True), *SAMPLES, (0, True)]
    assert [step.outcome for step in steps][:13] == ["shed"] * 12 + ["spent"]
    assert [step.time for step in steps] == sorted(step.time for step in steps)
    assert all(step.share > 0.0001 for step in steps if step.outcome != "back")
    # To the last hit: each of them has one fate, and tables have them all.
    losses = session.losses[probe.name]
    assert calls - 1 <= losses.hits <= calls and losses.balance == 0
    assert losses.hits == losses.delivered + losses.budget_sampled + losses.budget_counted + losses.ring_full
    assert min(losses.budget_sampled, losses.budget_counted, losses.budget_stacks) > 0
    assert (table.total, stacks.total, losses.unkeyed, losses.table_lost) == (losses.hits, losses.hits, 0, 0)
    # An empty stack is what the spared ones have, in tables and in events.
    spared = [count for stack, count in stacks.items() if not len(stack)]
    assert spared == [losses.budget_stacks]
    assert (events, empty > 0) == (losses.delivered, True)
    # Told: in the log, as warnings, in the ledger.
    logged = [record for record in caplog.records if record.name == "spile"]
    assert len(logged) == len(steps) and all(record.levelno == logging.WARNING for record in logged[:13])
    assert "stacks are empty" in logged[0].getMessage() and "one event of 2 " in logged[1].getMessage()
    told = [str(warning.message) for warning in warned if warning.category is spile.OverheadWarning]
    assert told[0].startswith("max_overhead=0.0001: tracing took") and len(told) == 13
    assert f"{losses.budget_counted:,} were counted and not sent, to keep to max_overhead=" in str(session.losses)


def test_a_generous_budget_leaves_nothing_out() -> None:
    with storm() as process:
        session = spile.Session(pid=process.process.pid, max_overhead=1)
        probe = session.tracepoint(GETPPID, where=timestamp > 0, capture={"stack": kstack[:3]})
        stacks = probe.count(by=kstack[:3])
        with session:
            process.go()
            for _ in session.every(0.2, duration=1.0):
                pass
            session.stop()
            for _ in session:
                pass
        process.end()
    assert session.losses.steps == ()
    assert session.explain().startswith("tracing may take 100 % of all CPUs' time; beyond it stacks are left empty")
    losses = session.losses[probe.name]
    assert (losses.budget_sampled, losses.budget_counted, losses.budget_stacks, losses.balance) == (0, 0, 0, 0)
    assert stacks.total > 1000 and all(len(stack) == 3 for stack in stacks)


def test_room_gives_back_what_was_left_out() -> None:
    with storm() as process:
        session = spile.Session(pid=process.process.pid, max_overhead=0.05)
        probe = session.tracepoint(GETPPID)
        # Nothing is sent, so stacks are all that there is to leave out.
        probe.count(by=kstack)
        with pytest.warns(spile.OverheadWarning, match="stacks are empty"), session:
            process.go()
            assert eventually(lambda: bool(session.losses.steps), 10)
            process.end()
            # Looking costs, too: not too often.
            deadline = time.monotonic() + 20
            while session.losses.steps[-1].outcome != "back" and time.monotonic() < deadline:
                time.sleep(0.5)
    first, *_, last = session.losses.steps
    assert (first.outcome, first.every, first.stackless) == ("shed", 1, True)
    assert (last.outcome, last.every, last.stackless) == ("back", 1, False)
    # Ten intervals of calm, at least.
    assert last.time - first.time > 1.9e9


def test_a_session_that_has_nothing_to_leave_out_says_so() -> None:
    with storm() as process:
        session = spile.Session(pid=process.process.pid, max_overhead=0.0001)
        counted = session.tracepoint(GETPPID).count()
        with pytest.warns(spile.OverheadWarning, match="with nothing more to leave out: nothing is left out"), session:
            process.go()
            assert eventually(lambda: bool(session.losses.steps), 10)
            calls = process.end()
    assert [step.outcome for step in session.losses.steps][:1] == ["spent"]
    assert calls - 1 <= counted.value <= calls


def test_the_kernel_counts_times_for_a_part_of_the_time() -> None:
    session = spile.Session(pid=os.getpid(), max_overhead=0.5)
    session.tracepoint(GETPPID).count()
    with session:
        # A part of the time: it costs the programs of others, too.
        assert eventually(lambda: any("bpf-stats" in link for link in descriptors()))
        assert eventually(lambda: not any("bpf-stats" in link for link in descriptors()))
    assert not any("bpf-stats" in link for link in descriptors())
