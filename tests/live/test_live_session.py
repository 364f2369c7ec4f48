"""Sessions on the kernel that the tests run on, counted against workloads that know their own numbers."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from typing import Any

import pytest

import spile
from spile import arg, comm, cpu, kstack, pid, ppid, tid, utime
from workload import GETPPID, call, calls, descriptors, eventually, programs, programs_of

pytestmark = pytest.mark.live


# Counting and events


def test_a_command_is_counted_exactly() -> None:
    session = spile.Session(command=calls(1234))
    count = session.tracepoint(GETPPID).count()
    session.run()
    assert count.value == 1234 == count.total
    assert session.ended_by == "command" and session.returncode == 0
    assert session.losses.balance == 0 and session.losses.lost == 0


def test_its_children_are_followed_from_birth() -> None:
    session = spile.Session(command=calls(100, children=3))
    by = session.tracepoint(GETPPID).count(by=pid)
    session.run()
    assert sorted(by.values()) == [100] * 4 and by.total == 400


def test_or_not() -> None:
    session = spile.Session(command=calls(100, children=3), follow=False)
    by = session.tracepoint(GETPPID).count(by=pid)
    session.run()
    assert list(by.values()) == [100]


def test_every_event_arrives_in_order() -> None:
    session = spile.Session(command=calls(5000))
    probe = session.tracepoint(GETPPID, capture={"pid": pid, "tid": tid, "parent": ppid, "comm": comm})
    with session:
        events = list(probe)
    assert len(events) == 5000
    assert {(event.pid, event.parent) for event in events} == {(events[0].pid, os.getpid())}
    times = [event.time for event in events]
    assert times == sorted(times) and len(set(times)) > 4000
    assert events[0].probe == "sys_enter_getppid" and events[0]["comm"].startswith("python")
    assert dict(events[0]) == {key: events[0][key] for key in ("pid", "tid", "parent", "comm")}


def test_own_process() -> None:
    session = spile.Session(pid=os.getpid())
    count = session.tracepoint(GETPPID).count()
    with session:
        call(777)
    call(10)
    assert count.value == 777


def test_two_sessions_at_once() -> None:
    first, second = spile.Session(pid=os.getpid()), spile.Session(pid=os.getpid())
    a, b = first.tracepoint(GETPPID).count(), second.tracepoint(GETPPID).count(by=tid)
    with first:
        call(10)
        with second:
            call(100)
        call(1)
    assert a.value == 111 and dict(b) == {threading.get_native_id(): 100}


def test_where_in_the_kernel() -> None:
    session = spile.Session(command=calls(500))
    raw = session.tracepoint("raw_syscalls:sys_enter", where=[arg.id == 110, comm == "no such comm"])
    every = session.tracepoint("raw_syscalls:sys_enter", where=arg.id == 110, name="getppid")
    nobody, some = raw.count(), every.count()
    session.run()
    assert nobody.value == 0 and some.value == 500
    assert session.losses["getppid"].filtered > 0 and session.losses.balance == 0


def test_a_raw_tracepoint_and_a_classic_one_agree() -> None:
    session = spile.Session(command=calls(300))
    classic = session.tracepoint("raw_syscalls:sys_enter", where=arg.id == 110).count()
    raw = session.raw_tracepoint("sys_enter", where=arg.id == 110).count()
    session.run()
    assert classic.value == raw.value == 300


def test_a_timer_samples_a_busy_child() -> None:
    session = spile.Session(command=[sys.executable, "-S", "-c", "while True: pass"])
    samples = session.profile(200).count(by=comm)
    session.run(duration=1)
    assert 50 < samples.total < 250 and next(iter(samples)).startswith("python")


def test_a_sample_in_user_mode_has_an_empty_kernel_stack() -> None:
    session = spile.Session(command=[sys.executable, "-S", "-c", "while True: pass"])
    probe = session.profile(400)
    stacks, all_samples = probe.count(by=kstack), probe.count()
    session.run(duration=1)
    # A loop of Python's own is hardly ever in the kernel.
    empty = {stack: count for stack, count in stacks.items() if len(stack) == 0}
    assert len(empty) == 1 and str(next(iter(empty))).strip() == "[user mode]"
    assert stacks.total + stacks.faulted == all_samples.value
    assert sum(empty.values()) > 0.8 * all_samples.value > 40


def test_the_descriptor_tells_when_events_wait() -> None:
    session = spile.Session(pid=os.getpid())
    session.tracepoint(GETPPID, capture=[pid])
    with session:
        assert select.select([session], [], [], 0.2) == ([], [], [])
        call(3)
        assert select.select([session], [], [], 5) == ([session], [], [])
        batches = iter(session.batches())
        assert len(next(batches)) == 3
        assert select.select([session], [], [], 0.2) == ([], [], [])
        session.stop()
        assert select.select([session], [], [], 5) == ([session], [], [])


def test_stacks_are_named_and_kept() -> None:
    session = spile.Session(command=calls(200))
    stacks = session.tracepoint(GETPPID).count(by=(comm, kstack))
    session.run()
    snapshot = stacks.snapshot()
    (_, stack), count = snapshot.top(1)[0]
    assert count > 100 and "syscall" in str(stack)
    del session
    gc.collect()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot == dict(stacks)
    assert stacks[snapshot.top(1)[0][0]] == count


def test_flamegraph(tmp_path: Any) -> None:
    session = spile.Session(command=calls(50))
    stacks = session.tracepoint(GETPPID).count(by=kstack)
    session.run()
    stacks.flamegraph(tmp_path / "getppid.svg")
    assert "syscall" in (tmp_path / "getppid.svg").read_text()


def test_a_typed_event() -> None:
    class Call(spile.Event):
        pid, used = pid, utime

    session = spile.Session(command=calls(3))
    probe = session.tracepoint(GETPPID, capture=Call)
    with session:
        events = list(probe)
    assert len(events) == 3 and all(isinstance(event, Call) for event in events)
    assert events[0].used >= 0  # type: ignore[operator]


# Intervals


def test_taking_is_exact_under_load() -> None:
    session = spile.Session(command=calls(300_000))
    by_cpu = session.tracepoint(GETPPID).count(by=cpu)
    cell = session.tracepoint(GETPPID).count()
    intervals, cells = [], []
    with session:
        for _ in session.every(0.02):
            intervals.append(by_cpu.take())
            cells.append(cell.take())
    assert len(intervals) > 2
    assert sum(interval.total for interval in intervals) == by_cpu.total == 300_000
    assert sum(cells) == 300_000 == cell.total
    assert dict(by_cpu) == {} and cell.value == 0


def test_a_snapshot_sees_what_has_happened() -> None:
    session = spile.Session(pid=os.getpid(), interval=60)
    table = session.tracepoint(GETPPID).count(by=pid)
    with session:
        for step in range(1, 4):
            call(10)
            assert table.snapshot() == {os.getpid(): 10 * step}


# Losses


def test_a_tiny_ring_overruns_and_every_hit_is_accounted_for() -> None:
    session = spile.Session(command=calls(200_000), buffer=4096)
    probe = session.tracepoint(GETPPID, capture={"pid": pid, "comm": comm, "stack": kstack})
    seen = 0
    with pytest.warns(spile.LossWarning, match="raise buffer="), session:
        for _ in probe:
            seen += 1
    row = session.losses["sys_enter_getppid"]
    assert row.hits - row.filtered == 200_000
    assert row.ring_full > 0 and row.delivered == seen and row.balance == 0


def test_what_nobody_reads_is_bounded_and_counted() -> None:
    session = spile.Session(command=calls(100_000), queue=1 << 16)
    session.tracepoint(GETPPID, capture={"pid": pid})
    with pytest.warns(spile.LossWarning, match="raise queue="), session:
        assert session.wait(30)
    row = session.losses["sys_enter_getppid"]
    assert row.dropped > 0 and row.balance == 0 and row.hits - row.filtered == 100_000


# Handlers


def test_handlers_are_called_for_each_and_the_end_once() -> None:
    calls_seen: list[Any] = []
    ends: list[Any] = []

    class Tracer:
        def on_sys_enter_getppid(self, pid: int, event: spile.Event) -> None:
            calls_seen.append((pid, event.pid))

        def on_end_trace_session(self, session: spile.Session) -> None:
            ends.append((session.ended_by, session.running(), len(calls_seen)))

    session = spile.Session(command=calls(2000))
    session.tracepoint(GETPPID, capture=[pid])
    session.run(handlers=Tracer())
    assert len(calls_seen) == 2000 and all(a == b for a, b in calls_seen)
    assert ends == [("command", False, 2000)]


def test_a_handler_s_exception_surfaces_after_detaching() -> None:
    session = spile.Session(command=calls(1000, before=0.0))
    probe = session.tracepoint(GETPPID, capture=[pid])
    loaded: set[int] = set()

    @probe.on_event
    def fail(pid: int) -> None:
        loaded.update(programs_of(os.getpid()))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        session.run()
    assert session.ended_by == "error" and not session.running()
    assert loaded and eventually(lambda: not programs() & loaded)


def test_a_group_and_its_member() -> None:
    seen: Counter[str] = Counter()
    session = spile.Session(command=calls(50))
    session.tracepoint(["syscalls:sys_enter_getppid", "syscalls:sys_exit_getppid"], capture=[pid], name="calls")
    session.run(
        handlers={
            "on_calls": lambda event: seen.update(group=1),
            "on_sys_exit_getppid": lambda pid: seen.update(member=1),
        }
    )
    assert seen == {"group": 50, "member": 50}


def test_a_pattern() -> None:
    session = spile.Session(command=calls(20))
    table = session.tracepoint("syscalls:sys_*_getppid").count(by=spile.probe_name)
    session.run()
    assert dict(table) == {"sys_enter_getppid": 20, "sys_exit_getppid": 20}


def test_star_gives_each_member_its_own_fields() -> None:
    session = spile.Session(command=calls(5))
    probe = session.tracepoint(["syscalls:sys_enter_getppid", "syscalls:sys_exit_getppid"], capture="*")
    with session:
        keys = {tuple(event) for event in probe}
    assert len(keys) == 2 and any("ret" in fields for fields in keys)


# Ends


def test_limit_and_break() -> None:
    seen: list[int] = []
    session = spile.Session(command=calls(10_000, before=0.0))
    session.tracepoint(GETPPID, capture=[pid]).on_event(lambda pid: seen.append(pid))
    session.run(limit=10)
    assert len(seen) == 10 and session.ended_by == "limit"
    assert session.returncode is not None
    other = spile.Session(pid=os.getpid())
    probe = other.tracepoint(GETPPID, capture=[pid])
    with other:
        call(5)
        for _ in probe:
            break
        assert other.running()
        other.stop()
        assert len(list(probe)) == 4


SCRIPT = """
    import sys, spile
    session = spile.Session({options})
    session.tracepoint("sched:sched_switch", capture=[spile.comm])
    seen = 0
    def on_sched_switch(event):
        global seen
        seen += 1
        if seen == 1: print("first", flush=True)
    def on_end_trace_session(session):
        print("end", session.ended_by, seen > 0, flush=True)
    session.run(handlers=sys.modules["__main__"])
    print("after", session.ended_by, session.losses.balance, flush=True)
"""


def script(options: str = "") -> subprocess.Popen[str]:
    text = textwrap.dedent(SCRIPT.format(options=options))
    child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "first\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_order(number: int) -> None:
    child = script()
    child.send_signal(number)
    output, _ = child.communicate(timeout=20)
    assert output.splitlines() == ["end interrupt True", "after interrupt 0"] and child.returncode == 0


def test_a_killed_process_leaves_nothing() -> None:
    child = script()
    loaded = programs_of(child.pid)
    assert loaded <= programs() and loaded
    child.kill()
    child.communicate()
    assert eventually(lambda: not programs() & loaded)


def test_a_signal_ends_the_command_too() -> None:
    child = script("command=['sleep', '100']")
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=20)
    assert "end interrupt True" in output and child.returncode == 0
    assert subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True).stdout == b""


def test_ctrl_c_at_a_terminal_reaches_both() -> None:
    """The terminal signals the whole process group; the command ends by itself, and its status is known."""
    text = (
        "import spile\n"
        "s = spile.Session(command=['sleep', '100'])\n"
        "s.profile(10).count()\n"
        "print('ready', flush=True)\n"
        "s.run()\n"
        "print(s.ended_by in ('interrupt', 'command'), s.returncode)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    assert eventually(
        lambda: (
            "sleep"
            in subprocess.run(["ps", "-o", "comm=", "--ppid", str(child.pid)], capture_output=True, text=True).stdout
        )
    )
    time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)
    output, _ = child.communicate(timeout=20)
    assert output == "True -2\n" and child.returncode == 0


def test_a_dropped_session_warns_and_detaches() -> None:
    session = spile.Session()
    session.profile(10).count()
    session.start()
    loaded = programs_of(os.getpid())
    assert loaded and loaded <= programs()
    with pytest.warns(ResourceWarning, match="dropped while it ran"):
        del session
        gc.collect()
    assert eventually(lambda: not programs() & loaded)


def test_a_forked_child_holds_nothing() -> None:
    session = spile.Session(pid=os.getpid())
    count = session.tracepoint(GETPPID).count()
    with session:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                count.snapshot()
            except spile.StateError:
                code = 0 if not descriptors() else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        call(5)
    assert count.value == 5


def test_threads_may_stop_and_read() -> None:
    session = spile.Session(pid=os.getpid())
    table = session.tracepoint(GETPPID).count(by=tid)
    stopper = threading.Timer(0.2, session.stop)
    with session:
        stopper.start()
        while session.running():
            call(100)
            table.take()
        stopper.join()
    assert session.ended_by == "stop" and table.total >= 100


def test_a_process_that_ends_ends_the_loop() -> None:
    child = subprocess.Popen(calls(10, before=0.3))
    session = spile.Session(pid=child.pid)
    probe = session.tracepoint(GETPPID, capture=[pid])
    with session:
        assert [event.pid for event in probe] == [child.pid] * 10
    assert session.ended_by == "end" and child.wait() == 0


# asyncio


def test_async_for() -> None:
    session = spile.Session(command=calls(100))
    probe = session.tracepoint(GETPPID, capture=[pid])

    async def main() -> int:
        seen = 0
        async with session:
            async for event in session:
                assert event.probe == probe.name
                seen += 1
        return seen

    assert asyncio.run(main()) == 100 and session.ended_by == "command"


def test_async_for_over_one_probe() -> None:
    session = spile.Session(command=calls(100))
    wanted = session.tracepoint(GETPPID, capture=[pid], where=cpu >= 0)
    session.tracepoint("sched:sched_process_exit", capture=[comm])

    async def main() -> list[str]:
        async with session:
            return [event.probe async for event in wanted]

    assert asyncio.run(main()) == [wanted.name] * 100


def test_async_every() -> None:
    session = spile.Session(command=calls(50_000))
    cell = session.tracepoint(GETPPID).count()

    async def main() -> int:
        async with session:
            return sum([cell.take() async for _ in session.every(0.02)])

    assert asyncio.run(main()) == 50_000


# Errors


def test_nothing_is_attached_after_an_error() -> None:
    session = spile.Session(command=["touch", "/nonexistent/never"])
    session.tracepoint("sched:sched_swich").count()
    session.tracepoint("sched:sched_switch", capture=[arg.prev_pdi])
    with pytest.raises(spile.Error) as caught:
        session.start()
    text = str(caught.value)
    assert "sched_switch" in text and "prev_pid" in text and text.count("test_live_session.py:") == 2
    with pytest.raises(spile.Error):
        session.check()
    assert not session.running() and session.returncode is None


def test_absurd_sizes_have_a_path() -> None:
    for options, path in (({"buffer": 5000}, "limits.buffer"), ({"stack_depth": 1000}, "limits.stack_depth")):
        session = spile.Session(**options)
        session.profile(9).count()
        with pytest.raises(spile.SpecError, match=path):
            session.start()


def test_check_and_explain() -> None:
    session = spile.Session()
    session.tracepoint(GETPPID, where=pid == 1).count()
    session.check()
    assert "sys_enter_getppid" in session.explain()
    assert not session.running()


def test_a_pattern_that_matches_nothing() -> None:
    session = spile.Session()
    session.tracepoint("sched:no_such_*").count()
    with pytest.raises(spile.ProbeNotFound, match="no_such"):
        session.start()


def test_low_rates_arrive_soon() -> None:
    session = spile.Session(pid=os.getpid())
    probe = session.tracepoint(GETPPID, capture=[pid])
    with session:
        events = iter(probe)
        for _ in range(5):
            time.sleep(0.05)
            call(1)
            begin = time.monotonic()
            next(events)
            assert time.monotonic() - begin < 0.1
        del events


def test_children_that_find_no_room_are_told_of() -> None:
    """The list of followed processes is filled by hand, so that a child finds none."""
    script = "import os, sys; sys.stdin.read(1); p = os.fork(); os.getppid(); p and os.waitpid(p, 0)"
    child = subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE)
    session = spile.Session(pid=child.pid)
    seen = session.tracepoint(GETPPID).count()
    with pytest.warns(spile.LossWarning, match="1 children of the followed process were not followed"), session:
        assert session.losses.lost_children == 0
        running = session._running
        assert running is not None
        with pytest.raises(spile.EngineError):
            for number in range(1 << 20, 1 << 21):
                running.engine.add_pid(number)
        child.communicate(b"x")
        session.wait(5)
    assert session.losses.lost_children == 1
    # The child's own call is missing, and no ledger knows of it.
    assert seen.value == 1 and session.losses.balance == 0
