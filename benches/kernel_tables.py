"""The price of counting an event in the kernel: what a counted system call costs, less what it costs untraced.

By process and by kernel stack, beside bpftrace's `@[…] = count()`, with the storm's process as the condition of both;
and by an argument of which there are a thousand or a million, beside each other: caches are what differs. An empty
program says how much of it is the price of having any program there, which nobody can go below.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import empty_program
from kernel_cost import CALLS, NO_TRACEFS, PERF_EVENT, ROUNDS, TURNS, Side, running, traced_by, tracefs, turn
from price import Price, Row, Skipped, Target, typical
from storm import Storm

import spile
from spile import arg, kstack, pid

FEW, MANY = 1_000, 1_000_000
#: For a million keys of 24 bytes in two generations on some CPUs.
TABLES = 512 << 20
Attached = Callable[[Side, int], AbstractContextManager[None]]


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """By process, by stack, by many keys."""
    calls, rounds, turns = (100, 1, 1) if tiny else (CALLS, ROUNDS, TURNS)
    by_pid = (Side("count(by=pid)", _by_pid), Side("@[pid] = count()", _bpftrace("pid")))
    by_stack = (Side("count(by=kstack)", _by_stack), Side("@[kstack] = count()", _bpftrace("kstack")))
    empty = Side("an empty program", _empty)
    few, many = (Side(f"count(by=argument), {keys:,} keys", _by_argument) for keys in (FEW, MANY))
    lacking = _lacking()
    try:
        with Storm() as storm:
            for _ in range(turns):
                for ours, peer in (by_pid, by_stack):
                    turn(storm, ours, calls, rounds)
                    if lacking is None:
                        turn(storm, peer, calls, rounds)
                if empty_program.HAS_IT:
                    turn(storm, empty, calls, rounds)
            for _ in range(turns):
                # Every key once at least, so that the table has them all.
                turn(storm, few, calls, rounds, keys=FEW)
                turn(storm, many, calls if tiny else 2 * MANY, min(rounds, 3), keys=MANY)
    except spile.Error as error:
        yield Skipped("counting in the kernel", str(error).splitlines()[0])
        return
    for (ours, peer), target in ((by_pid, Target("at most", 0.3)), (by_stack, Target("at most", 1.0))):
        if lacking is None:
            remark = f"{ours.remark()}; {peer.name} lost {peer.lost:,}"
            extra = typical(ours.extra), typical(peer.extra)
            yield Price(f"kernel side, {ours.name}", f"bpftrace {peer.name}", *extra, "ns", target, remark)
        else:
            yield Skipped(f"kernel side, {ours.name}", lacking)
    if empty_program.HAS_IT:
        yield from _beside(empty, *by_pid)
    extra = typical(many.extra), typical(few.extra)
    yield Price(f"kernel side, {many.name}", f"{FEW:,} keys", *extra, "ns", Target("at most", 2), many.remark())


def _lacking() -> str | None:
    """Why bpftrace can't be had."""
    if shutil.which("bpftrace") is None:
        return "no bpftrace here; Debian's package is bpftrace"
    return None if tracefs() else NO_TRACEFS


def _beside(empty: Side, *sides: Side) -> Iterator[Row]:
    """What each costs beside a program that does nothing: the nearer to 1, the less is left to gain."""
    for side in sides:
        if side.extra:
            yield Price(f"kernel side, {side.name}", empty.name, typical(side.extra), typical(empty.extra), "ns")


def _empty(_side: Side, _process: int) -> AbstractContextManager[None]:
    return empty_program.attached("sys_enter")


def _by_pid(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session()
    session.tracepoint(PERF_EVENT, where=pid == process).count(by=pid)
    return traced_by(side, session)


def _by_stack(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session()
    session.tracepoint(PERF_EVENT, where=pid == process).count(by=kstack)
    return traced_by(side, session)


def _by_argument(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session(tables=TABLES)
    session.raw_tracepoint("sys_enter", where=pid == process).count(by=arg.regs.di)
    return traced_by(side, session)


def _bpftrace(key: str) -> Attached:
    @contextmanager
    def attached(side: Side, process: int) -> Iterator[None]:
        count = f"tracepoint:{PERF_EVENT} /pid == {process}/ {{ @[{key}] = count(); }}"
        # What is attached behind the other probe says that that is.
        program = count + ' interval:ms:100 { printf("ready\\n"); }'
        with tempfile.TemporaryDirectory(prefix="spile-bench-") as folder:
            out = Path(folder, "out")
            with out.open("wb") as to:
                child = subprocess.Popen(["bpftrace", "-e", program], stdout=to, stderr=subprocess.DEVNULL)
                with running(child, lambda: b"ready" in out.read_bytes()):
                    yield
                    # It has been priced; names for the stacks that it would print can take minutes.
                    child.kill()

    return attached
