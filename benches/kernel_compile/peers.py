"""perf, bpftrace and trace-cmd, each at its best. In: events. Out: what they saw, by their own account.

perf and bpftrace attach by perf events, each of which the kernel takes some 70 ms to detach: of every set these peers
get what fires at all in this compile (spile's ledger says which), so that a run ends within a minute. That is to their
advantage.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benches.kernel_compile.events import by_category
from benches.kernel_compile.setting import TRACEFS
from benches.kernel_compile.tracers import Child, Outcome, Skipped, Tracer

BUFFER_KB = 8192
#: The kernel lets perf count these, and not record them: recording them would cause the next one.
NOT_FOR_PERF = {"irq_vectors:irq_work_exit"}


class Peer(Tracer):
    """One program of Debian's."""

    program = ""
    what = ""

    def __init__(self, events: Sequence[str], folder: Path) -> None:
        super().__init__(self.what, events, folder)
        self.child: Child | None = None

    def begin(self) -> None:
        if shutil.which(self.program) is None:
            raise Skipped(f"there is no {self.program} here")
        self.run()

    def run(self) -> None:
        """Starts it, and waits until it traces."""
        raise NotImplementedError

    def abandon(self) -> None:
        if self.child is not None:
            self.child.kill()

    def ended(self) -> tuple[float, float]:
        """Ends it; gives its CPU time, and how long that took."""
        assert self.child is not None
        before = time.perf_counter()
        self.child.interrupt()
        cpu = self.child.wait()
        return cpu, time.perf_counter() - before

    def seen(self, events: int, lost: int, cpu: float, stop: float, *, size: int | None, buffers: int = 0) -> Outcome:
        """What it came to."""
        assert self.child is not None
        remark = f"{len(self.events):,} tracepoints"
        return Outcome(events, lost, size, cpu, self.child.memory, buffers, self.started, stop, remark)


class Perf(Peer):
    """``perf record`` of the whole machine, without its own events."""

    program, what = "perf", "perf record --exclude-perf"

    def run(self) -> None:
        self.events = [event for event in self.events if event not in NOT_FOR_PERF]
        order, self.orders = os.pipe()
        self.answers, answer = os.pipe()
        command = ["perf", "record", "--quiet", "--all-cpus", f"--mmap-pages={BUFFER_KB}K"]
        command += ["--delay=-1", f"--control=fd:{order},{answer}", f"--output={self.folder / 'perf.data'}"]
        # It leaves itself out of the last --event only, so there is one.
        command += [f"--event={','.join(self.events)}", "--exclude-perf"]
        try:
            self.child = Child.start(
                command, self.folder / "complaints", output=subprocess.DEVNULL, keep=(order, answer)
            )
        finally:
            os.close(order)
            os.close(answer)
        os.write(self.orders, b"enable\n")
        if not os.read(self.answers, 16):
            self.child.process.wait()
            raise Skipped(self.child.complaint())

    def end(self) -> Outcome:
        cpu, stop = self.ended()
        data = self.folder / "perf.data"
        command = ["perf", "report", "--stats", "--input", str(data)]
        report = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        lost = _number(r"^\s*LOST_SAMPLES events:\s+(\d+)", report) + _number(r"^\s*LOST events:\s+(\d+)", report)
        events, cpus = _number(r"^\s*SAMPLE events:\s+(\d+)", report), os.cpu_count() or 1
        return self.seen(events, lost, cpu, stop, size=data.stat().st_size, buffers=BUFFER_KB * 1024 * cpus)

    def abandon(self) -> None:
        super().abandon()
        for name in ("orders", "answers"):
            if (descriptor := vars(self).pop(name, None)) is not None:
                os.close(descriptor)


class Bpftrace(Peer):
    """``@[probe] = count()``."""

    program, what = "bpftrace", "bpftrace @[probe] = count()"

    def run(self) -> None:
        out = self.folder / "out"
        probes = ",\n".join(f"tracepoint:{event}" for event in self.events)
        program = self.folder / "count.bt"
        program.write_text(f"{probes} {{ @[probe] = count(); }}\n")
        # Twice the tracepoints: it counts what patterns stand for, too.
        environment = {"BPFTRACE_MAX_PROBES": "8192", "BPFTRACE_MAX_PROGRAMS": "8192", "BPFTRACE_MAX_BPF_PROGS": "8192"}
        with out.open("w") as to:
            self.child = Child.start(
                ["bpftrace", program], self.folder / "complaints", environment=environment, output=to
            )
        # It says what it attaches before it does; its perf events are there once their number has come to rest.
        self.attached, self.since = -1, time.monotonic()
        self.child.ready(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        assert self.child is not None
        now = time.monotonic()
        try:
            number = len(list(Path(f"/proc/{self.child.process.pid}/fd").iterdir()))
        except OSError:
            return False
        if number != self.attached:
            self.attached, self.since = number, now
        return number > len(self.events) and now - self.since > 0.5

    def end(self) -> Outcome:
        cpu, stop = self.ended()
        counts = re.findall(r"^@\[[^]]*\]: (\d+)", (self.folder / "out").read_text(), re.MULTILINE)
        return self.seen(sum(map(int, counts)), 0, cpu, stop, size=None)


class TraceCmd(Peer):
    """``trace-cmd record``, which leaves its own processes out."""

    program, what = "trace-cmd", "trace-cmd record"

    def run(self) -> None:
        data = self.folder / "trace.dat"
        command = ["trace-cmd", "record", "-o", str(data), "-b", str(BUFFER_KB)]
        for category, names in by_category(self.events).items():
            whole = len(list((TRACEFS / "events" / category).glob("*/enable"))) == len(names)
            for event in [category] if whole else [f"{category}:{name}" for name in names]:
                command += ["-e", event]
        with (self.folder / "out").open("w") as to:
            self.child = Child.start(command, self.folder / "complaints", output=to)
        self.child.ready(lambda: "Hit Ctrl^C" in (self.folder / "out").read_text())

    def abandon(self) -> None:
        if self.child is not None:
            self.child.kill()
            # It traces in the machine's own instance, and leaves that as it was when it failed.
            (TRACEFS / "set_event").write_text("\n")
            (TRACEFS / "tracing_on").write_text("1")

    def end(self) -> Outcome:
        cpu, stop = self.ended()
        said = (self.folder / "out").read_text()
        events = sum(map(int, re.findall(r"^read events: (\d+)", said, re.MULTILINE)))
        lost = sum(map(int, re.findall(r"^(?:overrun|commit overrun|dropped events): (\d+)", said, re.MULTILINE)))
        size, cpus = (self.folder / "trace.dat").stat().st_size, os.cpu_count() or 1
        return self.seen(events, lost, cpu, stop, size=size, buffers=BUFFER_KB * 1024 * cpus)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0
