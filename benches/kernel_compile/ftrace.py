"""ftrace at its best: an instance of its own, and a careful reader in C. In: events. Out: raw pages on disk.

The reader's own process is left out, sub-buffers are large where the kernel lets them be, the clock is the cheap one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from benches.kernel_compile.events import by_category
from benches.kernel_compile.setting import TRACEFS
from benches.kernel_compile.tracers import Child, Outcome, Tracer

BUFFER_KB = 8192
SUBBUFFER_KB = 64
PAUSE_MS = 10


class Ftrace(Tracer):
    """The instance, and the reader's process."""

    def __init__(self, events: Sequence[str], folder: Path, reader: Path) -> None:
        super().__init__("ftrace, careful reader", events, folder)
        self.reader = reader
        self.instance = TRACEFS / "instances" / f"spile-bench-{os.getpid()}"
        self.child: Child | None = None

    def begin(self) -> None:
        self.instance.mkdir()
        self._set("tracing_on", 0)
        subbuffer = self._subbuffer()
        self._set("buffer_size_kb", BUFFER_KB)
        arguments = [str(self.instance / "per_cpu"), str(self.folder), str(subbuffer), str(PAUSE_MS)]
        self.child = Child.start([self.reader, *arguments], self.folder / "complaints")
        self.child.line()
        self._set("set_event_notrace_pid", self.child.process.pid)
        present = {path.name: path for path in (self.instance / "events").iterdir() if path.is_dir()}
        for category, names in by_category(self.events).items():
            whole = {path.name for path in present[category].iterdir() if path.is_dir()}
            for place in [category] if whole == set(names) else [f"{category}/{name}" for name in names]:
                self._set(f"events/{place}/enable", 1)
        self._set("tracing_on", 1)

    def end(self) -> Outcome:
        assert self.child is not None
        before = time.perf_counter()
        self._set("tracing_on", 0)
        self.child.interrupt()
        written = int(self.child.line())
        cpu = self.child.wait()
        events = self._stats("read events")
        lost = sum(self._stats(name) for name in ("overrun", "commit overrun", "dropped events"))
        self._set("events/enable", 0)
        stop, buffers = time.perf_counter() - before, BUFFER_KB * 1024 * len(self._cpus())
        remark = f"sub-buffers of {self._subbuffer()} bytes, read every {PAUSE_MS} ms"
        return Outcome(events, lost, written, cpu, self.child.memory, buffers, self.started, stop, remark)

    def abandon(self) -> None:
        if self.child is not None:
            self.child.kill()
        if self.instance.is_dir():
            self._set("events/enable", 0)
            self.instance.rmdir()

    def _set(self, name: str, value: int) -> None:
        (self.instance / name).write_text(str(value))

    def _subbuffer(self) -> int:
        """Its size. Before 6.8 it was always a page."""
        setting = self.instance / "buffer_subbuf_size_kb"
        if not setting.exists():
            return os.sysconf("SC_PAGE_SIZE")
        if self.child is None:
            setting.write_text(str(SUBBUFFER_KB))
        return int(setting.read_text()) * 1024

    def _cpus(self) -> list[Path]:
        return list((self.instance / "per_cpu").glob("cpu*"))

    def _stats(self, name: str) -> int:
        found = (re.search(rf"^{name}: (\d+)", (cpu / "stats").read_text(), re.MULTILINE) for cpu in self._cpus())
        return sum(int(match[1]) for match in found if match)
