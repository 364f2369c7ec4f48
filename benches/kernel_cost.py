"""The price of an event in the kernel: what a traced getppid costs, less what it costs untraced.

Every side traces the entry of the storm's system calls with four integer fields, and must not lose events: losing is
cheaper than recording. Attached one after the other, in turns, with the untraced storm before each. The filter is a
condition on the process, as bpftrace's is. A session for a process, which follows its children, is priced beside that.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from price import Price, Row, Skipped, Target, typical
from storm import Storm

import spile
from spile import arg, cpu, pid, tid

CALLS, ROUNDS, TURNS = 20_000, 15, 5
A_THIRD = Target("at most", 0.3)
FIELDS = {"pid": pid, "tid": tid, "on": cpu, "call": arg.id}
PERF_EVENT = "raw_syscalls:sys_enter"
FOLLOWED = "session for a process"
RING_BUFFER = "spile by BPF ring buffers"
QUEUE = 1 << 30
NO_TRACEFS = "no tracefs is mounted (mount -t tracefs nodev /sys/kernel/tracing)"


@dataclass
class Side:
    """One way of tracing the storm."""

    name: str
    attached: Callable[[Side, int], AbstractContextManager[None]]
    #: Nanoseconds that a call costs more than it would untraced, by turn.
    extra: list[float] = field(default_factory=list)
    events: int = 0
    lost: int = 0

    def remark(self) -> str:
        """How much of what it costs was paid for."""
        return f"{self.name} recorded {self.events:,} events and lost {self.lost:,}"


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """Both of spile's tracepoints beside each peer."""
    what = "kernel side of an event"
    try:
        spile.Session().tracepoint(PERF_EVENT)
        ours = [Side("tracepoint", _tracepoint), Side("raw_tracepoint", _raw_tracepoint), Side(FOLLOWED, _followed)]
        peers = [side for side, reason in _peers() if reason is None]
        with Storm() as storm:
            for _ in range(1 if tiny else TURNS):
                for side in ours + peers:
                    turn(storm, side, *((100, 1) if tiny else (CALLS, ROUNDS)))
    except spile.Error as error:
        yield Skipped(what, str(error).splitlines()[0])
        return
    for side in ours:
        for peer in peers:
            remark = f"{side.remark()}; {peer.remark()}"
            target = None if peer.name in ("ftrace", RING_BUFFER) or side.name == FOLLOWED else A_THIRD
            yield Price(
                f"{what}, {side.name}", peer.name, typical(side.extra), typical(peer.extra), "ns", target, remark
            )
    for side, reason in _peers():
        if reason is not None:
            yield Skipped(f"{what}, {side.name}", reason)


def _peers() -> Iterator[tuple[Side, str | None]]:
    """Each, and why it can't be had."""
    unmounted = None if tracefs() else NO_TRACEFS
    for side, program, package in (
        (Side("bpftrace printf", _bpftrace), "bpftrace", "bpftrace"),
        (Side("perf record", _perf), "perf", "linux-perf"),
    ):
        reason = None if shutil.which(program) else f"no {program} here; Debian's package is {package}"
        yield side, reason or unmounted
    yield Side(RING_BUFFER, _ring_buffer), None
    yield Side("ftrace", _ftrace), unmounted


def turn(storm: Storm, side: Side, calls: int, rounds: int, keys: int = 0) -> None:
    """What one way of tracing adds to a call: of getppid, or of umask with so many arguments."""
    before = typical(storm.round(calls, keys) for _ in range(rounds))
    with side.attached(side, storm.pid):
        traced = typical(storm.round(calls, keys) for _ in range(rounds))
    side.extra.append(traced - before)


@contextmanager
def traced_by(side: Side, session: spile.Session) -> Iterator[None]:
    """A session, and what it recorded and lost."""
    with session:
        yield
    for losses in session.losses.values():
        side.events += losses.delivered + losses.tabled
        side.lost += losses.lost


def _tracepoint(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session(queue=QUEUE)
    session.tracepoint(PERF_EVENT, capture=FIELDS, where=pid == process)
    return traced_by(side, session)


def _raw_tracepoint(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session(queue=QUEUE)
    session.raw_tracepoint("sys_enter", capture=FIELDS, where=pid == process)
    return traced_by(side, session)


def _ring_buffer(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session(queue=QUEUE, transport="ringbuf")
    session.raw_tracepoint("sys_enter", capture=FIELDS, where=pid == process)
    return traced_by(side, session)


def _followed(side: Side, process: int) -> AbstractContextManager[None]:
    session = spile.Session(pid=process, queue=QUEUE)
    session.raw_tracepoint("sys_enter", capture=FIELDS)
    return traced_by(side, session)


@contextmanager
def _bpftrace(side: Side, process: int) -> Iterator[None]:
    program = (
        'BEGIN { printf("ready\\n"); } '
        f"tracepoint:{PERF_EVENT} /pid == {process}/ "
        '{ printf("%d %d %d %d\\n", pid, tid, cpu, args->id); }'
    )
    with tempfile.TemporaryDirectory(prefix="spile-bench-") as folder:
        out, complaints = Path(folder, "out"), Path(folder, "complaints")
        # Its default buffer of 64 pages would lose most of a round.
        environment = {**os.environ, "BPFTRACE_PERF_RB_PAGES": "2048"}
        with out.open("wb") as to, complaints.open("wb") as errors:
            child = subprocess.Popen(["bpftrace", "-e", program], stdout=to, stderr=errors, env=environment)
            with running(child, lambda: b"ready" in out.read_bytes()):
                yield
        side.events += out.read_bytes().count(b"\n") - 2
        text = out.read_text() + complaints.read_text()
        side.lost += sum(int(count) for count in re.findall(r"Lost (\d+) events", text))


@contextmanager
def _perf(side: Side, process: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="spile-bench-") as folder:
        data = Path(folder, "perf.data")
        command = ["perf", "record", "--quiet", "--mmap-pages", "2048", "--output", str(data)]
        child = subprocess.Popen(
            [*command, "--event", PERF_EVENT, "--pid", str(process)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with running(child, lambda: data.exists() and data.stat().st_size > 0):
            yield
        report = subprocess.run(
            ["perf", "report", "--stats", "--input", str(data)], capture_output=True, text=True, check=False
        )
        side.events += _stat(report.stdout, "SAMPLE")
        side.lost += _stat(report.stdout, "LOST_SAMPLES")


def _stat(report: str, kind: str) -> int:
    found = re.search(rf"^\s+{kind} events:\s+(\d+)", report, re.MULTILINE)
    return int(found[1]) if found else 0


@contextmanager
def _ftrace(side: Side, process: int) -> Iterator[None]:
    """The kernel's own ring, read by nobody: large enough for the turn. In an instance of its own."""
    place = tracefs()
    assert place is not None
    instance = place / "instances" / f"spile-bench-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "buffer_size_kb").write_text("65536")
        (instance / "set_event_pid").write_text(str(process))
        (instance / "events/raw_syscalls/sys_enter/enable").write_text("1")
        yield
        (instance / "events/raw_syscalls/sys_enter/enable").write_text("0")
        for stats in (instance / "per_cpu").glob("cpu*/stats"):
            text = stats.read_text()
            side.events += int(re.findall(r"^entries: (\d+)", text, re.MULTILINE)[0])
            side.lost += sum(
                int(count) for count in re.findall(r"^(?:overrun|dropped events): (\d+)", text, re.MULTILINE)
            )
    finally:
        instance.rmdir()


def tracefs() -> Path | None:
    """Where it is mounted, writable; none where it isn't. Every peer needs it; spile does not."""
    for place in (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing")):
        if os.access(place / "instances", os.W_OK):
            return place
    return None


@contextmanager
def running(child: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> Iterator[None]:
    """A tracer, from when it traces until it has ended."""
    try:
        deadline = time.monotonic() + 20
        while not is_ready():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"kernel_cost: {child.args!r} did not come up")
            time.sleep(0.05)
        time.sleep(0.3)
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(30)
