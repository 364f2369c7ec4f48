"""A tracer: a process that traces while something else is measured. In: events. Out: what it saw, lost and took.

Each is started before the measured work and ended after it; its CPU time and memory come from the kernel, by wait4(2),
and are those of its whole life. What it wrote is looked at and removed afterwards, when nobody measures.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: Seconds that attaching or ending may take.
PATIENCE = 180.0


class Skipped(Exception):  # noqa: N818 (no error: the report says it)
    """What this machine or this spile can't do, with the reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a tracer came to."""

    events: int
    lost: int
    #: On disk; None where nothing is written.
    bytes: int | None
    #: Seconds of CPU time, in user and kernel mode.
    cpu: float
    #: The most resident memory, and the kernel's buffers beside it, in bytes.
    memory: int
    buffers: int
    #: Seconds from its start until it traced, and from the order to end until it had.
    start: float
    stop: float
    remark: str = ""


class Tracer(ABC):
    """One way to trace some events. Used once for each run."""

    def __init__(self, name: str, events: Sequence[str], folder: Path) -> None:
        self.name = name
        self.events = list(events)
        self.folder = folder

    def __enter__(self) -> Tracer:
        self.folder.mkdir(parents=True, exist_ok=True)
        before = time.perf_counter()
        self.begin()
        self.started = time.perf_counter() - before
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
        for path in self.folder.iterdir():
            path.unlink()

    @abstractmethod
    def begin(self) -> None:
        """Returns once it traces. Raises `Skipped`."""

    @abstractmethod
    def end(self) -> Outcome:
        """Ends it, and says what it saw."""

    @abstractmethod
    def abandon(self) -> None:
        """Leaves nothing behind, whatever happened."""

    def written(self) -> int:
        """Bytes in its folder."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


@dataclass
class Child:
    """A tracer's process."""

    process: subprocess.Popen[str]
    complaints: Path
    usage: resource.struct_rusage | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str | os.PathLike[str]],
        complaints: Path,
        *,
        environment: Mapping[str, str] | None = None,
        output: int | IO[str] = subprocess.PIPE,
        keep: Sequence[int] = (),
    ) -> Child:
        """Starts it; what it says on stderr goes to a file."""
        with complaints.open("w") as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                text=True,
                pass_fds=keep,
                env={**os.environ, **(environment or {})},
            )
        return cls(process, complaints)

    def ready(self, is_ready: Callable[[], bool]) -> None:
        """Waits until it traces. Raises `Skipped` with its complaints, if it ends instead."""
        deadline = time.monotonic() + PATIENCE
        while not is_ready():
            if self.process.poll() is not None:
                raise Skipped(self.complaint() or f"it ended at once, with {self.process.returncode}")
            if time.monotonic() > deadline:
                raise Skipped(f"it did not trace within {PATIENCE:.0f} s")
            time.sleep(0.02)

    def line(self) -> str:
        """Its next line. Raises `Skipped` with its complaints, if it ends instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Skipped(self.complaint() or f"it ended with {self.process.returncode}")
        return line.strip()

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> float:
        """Waits for its end; gives its seconds of CPU time."""
        if self.usage is None:
            _, status, self.usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.usage.ru_utime + self.usage.ru_stime

    @property
    def memory(self) -> int:
        """The most resident bytes."""
        return 0 if self.usage is None else self.usage.ru_maxrss * 1024

    def complaint(self) -> str:
        """The last two lines of what it said on stderr."""
        lines = self.complaints.read_text(errors="replace").strip().splitlines()
        return " ".join(line.strip() for line in lines[-2:])

    def kill(self) -> None:
        """Ends it, whatever it does."""
        if self.process.poll() is None and self.usage is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
