"""docs/semantics.md, held against the kernel that the tests run on, where no other test does."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import arg, cgroups, comm, cpu, pid, string, tid, timestamp, uid
from workload import _BPF, GETPPID, call, calls

pytestmark = pytest.mark.live

OPENAT = "syscalls:sys_enter_openat"
BUSY = [sys.executable, "-S", "-c", "while True: pass"]
_LIBC = ctypes.CDLL(None, use_errno=True)


def own(**options: Any) -> spile.Session:
    """A session on this very process."""
    return spile.Session(pid=os.getpid(), **options)


def open_nothing(path: bytes | int) -> None:
    """Calls openat(2) with what is no path of a file, or no path at all."""
    _LIBC.openat(-100, path if isinstance(path, bytes) else ctypes.c_void_p(path), 0)


# Time, tasks, CPUs


def test_times_are_those_of_the_monotonic_clock_and_of_the_day() -> None:
    session = own()
    probe = session.tracepoint(GETPPID, capture={"stamp": timestamp})
    with session:
        before, day = time.monotonic_ns(), time.time()
        call(1)
        after, evening = time.monotonic_ns(), time.time()
        event = next(iter(probe))
    assert before <= event.time <= after and before <= event["stamp"] <= after
    assert day - 0.01 <= event.datetime.timestamp() <= evening + 0.01
    assert event.datetime.utcoffset() is not None


def test_a_process_has_threads_and_the_kernel_calls_a_thread_a_pid() -> None:
    session = own()
    seen = session.tracepoint(GETPPID, capture={"pid": pid, "tid": tid})
    switches = session.tracepoint("sched:sched_switch", where=arg.prev_comm == "one thread").count(
        by=(pid, tid, arg.prev_pid)
    )
    number = 0

    def work() -> None:
        nonlocal number
        number = threading.get_native_id()
        Path("/proc/thread-self/comm").write_text("one thread")
        call(1)
        time.sleep(0.01)

    with session:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        session.stop()
        assert [(event["pid"], event["tid"]) for event in seen] == [(os.getpid(), number)]
    assert set(switches) == {(os.getpid(), number, number)} != {(number, number, number)}


def test_in_a_switch_the_context_is_the_outgoing_task_s() -> None:
    session = spile.Session(command=calls(10, before=0.05))
    capture = {"tid": tid, "prev": arg.prev_pid, "comm": comm, "name": arg.prev_comm}
    probe = session.tracepoint("sched:sched_switch", capture=capture)
    with session:
        events = list(probe)
    assert events
    assert all(event["tid"] == event["prev"] and event["comm"] == event["name"] for event in events)


def test_in_a_softirq_the_context_is_the_interrupted_task_s() -> None:
    session = spile.Session(command=BUSY)
    softirqs = session.tracepoint("irq:softirq_entry").count(by=pid)
    session.run(duration=0.5)
    assert session._command is not None
    assert list(softirqs) == [session._command.pid] and softirqs.total > 3


# Whom a session sees


@pytest.fixture
def folder() -> Iterator[Path]:
    """A cgroup of the test's own, with one below it."""
    roots = cgroups.mounts(Path("/proc/self/mountinfo").read_text())
    if not roots:
        pytest.skip("no cgroup2 hierarchy is mounted")
    path = roots[0] / f"spile-test-{os.getpid()}"
    try:
        (path / "below").mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    yield path
    (path / "below").rmdir()
    path.rmdir()


@pytest.mark.parametrize("spelling", [str, lambda path: f"/{path.name}", lambda path: path.stat().st_ino])
def test_a_cgroup_is_exactly_that_one(folder: Path, spelling: Any) -> None:
    session = spile.Session(cgroup=spelling(folder))
    counts = session.tracepoint(GETPPID).count(by=spile.cgroup)
    with session:
        for times, group in ((100, folder), (20, folder / "below"), (3, None)):
            move = f"echo $$ > {group}/cgroup.procs && " if group else ""
            subprocess.run(["sh", "-c", f'{move} exec "$@"', "sh", *calls(times)], check=True)
    assert dict(counts) == {folder.stat().st_ino: 100}


# Groups


def test_a_named_field_must_exist_in_every_member() -> None:
    session = own()
    session.tracepoint([GETPPID, "syscalls:sys_exit_getppid"], capture={"ret": arg.ret})
    with pytest.raises(spile.FieldNotFound, match=r"sys_enter_getppid has no field arg\.ret"):
        session.check()


# Expressions


def test_arithmetic_is_python_s_but_for_64_bits_and_zero() -> None:
    zero = pid * 0
    expressions = {
        "wrapped": (timestamp * 0 + (2**64 - 1)) + 2,
        "floored": (zero - 7) // 2,
        "rest": (zero - 7) % 2,
        "by_zero": pid // zero,
        "rest_by_zero": pid % zero,
        "width_kept": ~cpu,
    }
    session = own()
    probe = session.tracepoint(GETPPID, capture=expressions)
    mixed = session.tracepoint(GETPPID, where=[zero - 1 < timestamp, zero - 1 < 2**63, uid >= zero - 1]).count()
    with session:
        call(1)
        event = next(iter(probe))
    assert dict(event) == {
        "wrapped": 1,
        "floored": -4,
        "rest": 1,
        "by_zero": 0,
        "rest_by_zero": 0,
        "width_kept": 2**32 - 1 - event.cpu,
    }
    assert mixed.value == 1


def test_what_cannot_be_read_is_none_and_decides_nothing() -> None:
    session = own()
    mine = arg.flags == 0
    path = string(arg.filename)
    seen = session.tracepoint(OPENAT, capture={"path": path}, where=mine)
    inverted = session.tracepoint(OPENAT, where=[mine, ~(path == "x")], name="inverted").count()
    first = session.tracepoint(OPENAT, where=mine & ((path == "x") | (arg.dfd == -100)), name="first").count()
    last = session.tracepoint(OPENAT, where=mine & ((arg.dfd == -100) | (path == "x")), name="last").count()
    keyed = session.tracepoint(OPENAT, where=mine, name="keyed").count(by=path)
    with pytest.warns(spile.LossWarning, match="keyed: 1 are missing from tables"), session:
        open_nothing(16)
        open_nothing(b"/nonexistent")
        session.stop()
        assert [event["path"] for event in seen] == [None, "/nonexistent"]
    losses = session.losses
    assert (inverted.value, losses["inverted"].faulted) == (1, 1)
    assert (first.value, losses["first"].faulted) == (1, 1)
    assert (last.value, losses["last"].faulted) == (2, 0)
    assert dict(keyed) == {"/nonexistent": 1} and keyed.faulted == losses["keyed"].unkeyed == 1
    assert losses["keyed"].faulted == 0 and losses.balance == 0


# Strings


def test_no_byte_is_lost_and_a_cut_is_marked() -> None:
    path = b"/nonexistent-\xff\xe4"
    session = own()
    capture = {
        "path": string(arg.filename),
        "cut": string(arg.filename, 5),
        "fits": string(arg.filename, len(path) + 1),
    }
    probe = session.tracepoint(OPENAT, capture=capture, where=arg.flags == 0)
    with session:
        open_nothing(path)
        event = next(iter(probe))
    assert os.fsencode(event["path"]) == path and event["fits"] == event["path"]
    assert event["cut"] == "/non"
    assert [isinstance(event[name], spile.CutStr) for name in capture] == [False, True, False]


# A session's life


def test_attaching_records_nothing_of_itself() -> None:
    session = own()
    by_number = session.raw_tracepoint("sys_enter").count(by=arg.id)
    with session:
        call(1)
    assert by_number.total > 0
    assert by_number.get(_BPF, 0) <= 1  # that which closes the gate


def test_a_process_s_children_are_followed_from_now_on() -> None:
    shell = subprocess.Popen(["sh", "-c", 'read line; "$@"; exit 0', "sh", *calls(30)], stdin=subprocess.PIPE)
    session = spile.Session(pid=shell.pid)
    alone = spile.Session(pid=shell.pid, follow=False)
    followed, single = session.tracepoint(GETPPID).count(by=pid), alone.tracepoint(GETPPID).count(by=pid)
    with session, alone:
        shell.communicate(b"go\n")
    assert shell.pid not in followed and list(followed.values()) == [30]
    assert dict(single) == {}
