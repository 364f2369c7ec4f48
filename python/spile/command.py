"""The command that a session traces, and the process that it filters by.

In: an argument list, or a process id. Out: a child that is born stopped (forked, but not yet executing the command), so
that the filter covers its tree from birth; its release, its exit, its end. Nothing here knows of probes.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
import warnings
from collections.abc import Sequence

from .errors import SpecError, StateError

Arguments = str | Sequence[str | os.PathLike[str]]

_PATIENCE = 2.0
"""Seconds that a child gets to end after SIGTERM, before SIGKILL."""


class Command:
    """A child process: made, born (`spawn`), released (`release`), ended."""

    def __init__(self, arguments: Arguments) -> None:
        """Takes an argument list, or one string that is split as a shell would (no shell runs it).

        Raises SpecError when there is no such program.
        """
        self.arguments = _split(arguments)
        self.pid: int | None = None
        self.returncode: int | None = None
        """As in `subprocess`: the exit status, or the negated signal; None while it runs."""
        self._gate = self._report = -1

    def look_up(self) -> str:
        """The program's path. Raises SpecError when there is none that can be executed."""
        import shutil

        program = self.arguments[0]
        found = shutil.which(program)
        if found is None:
            raise SpecError(f"there is no program {program!r} to run", path="command")
        return found

    def spawn(self) -> int:
        """Forks a child that waits, and gives its pid. It runs nothing but this module until `release`."""
        program = self.look_up()
        gate_read, self._gate = os.pipe()
        self._report, report_write = os.pipe()
        with warnings.catch_warnings():
            # The child calls nothing that another thread's lock could block.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _child(program, self.arguments, gate_read, report_write, (self._gate, self._report))
        os.close(gate_read)
        os.close(report_write)
        self.pid = pid
        return pid

    def release(self) -> None:
        """Lets the child execute the command. Raises OSError when the kernel refuses to execute it."""
        if self.pid is None:
            raise StateError("the command has not been spawned")
        os.write(self._gate, b"!")
        os.close(self._gate)
        report = os.read(self._report, 16)
        os.close(self._report)
        self._gate = self._report = -1
        if report:
            self.wait(None)
            number = int(report)
            raise OSError(number, os.strerror(number), self.arguments[0])

    def poll(self) -> int | None:
        """The return code, if it has ended."""
        if self.returncode is None and self.pid is not None:
            self._reap(os.WNOHANG)
        return self.returncode

    def wait(self, seconds: float | None) -> int | None:
        """Waits for its end, at most so long."""
        if self.returncode is None and self.pid is not None:
            if seconds is None:
                self._reap(0)
            else:
                deadline = time.monotonic() + seconds
                while self.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.005)
        return self.returncode

    def send(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None and self.pid is not None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def end(self, *, grace: float = 0.0) -> None:
        """Ends it: after `grace` seconds SIGTERM, then SIGKILL. A child that was never released just goes."""
        if self._gate >= 0:
            os.close(self._gate)
            os.close(self._report)
            self._gate = self._report = -1
            self.wait(None)
            self.pid = self.returncode = None
            return
        try:
            if self.wait(grace) is None:
                self.send(signal.SIGTERM)
                self.wait(_PATIENCE)
        finally:
            if self.poll() is None and self.pid is not None:
                self.send(signal.SIGKILL)
                self.wait(None)

    def _reap(self, options: int) -> None:
        assert self.pid is not None
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            # Someone else waited for it (SIGCHLD ignored, os.wait); how it ended is not to be known.
            self.returncode = 0
            return
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)


def _split(arguments: Arguments) -> list[str]:
    try:
        words = shlex.split(arguments) if isinstance(arguments, str) else [os.fspath(word) for word in arguments]
    except ValueError as error:
        raise SpecError(f"the command {arguments!r} can't be split into words: {error}", path="command") from None
    except TypeError:
        raise SpecError(f"a command is a string or a list of strings, not {arguments!r}", path="command") from None
    if not words or not words[0]:
        raise SpecError("the command is empty", path="command")
    return words


def _child(program: str, arguments: list[str], gate: int, report: int, others: tuple[int, int]) -> None:
    """The child's whole life before the command's own."""
    try:
        # What Python ignores or catches is the tracer's business; the command starts as from a shell.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            if signal.getsignal(number) is not None and (
                number in (signal.SIGPIPE, signal.SIGXFSZ) or signal.getsignal(number) != signal.SIG_IGN
            ):
                signal.signal(number, signal.SIG_DFL)
        for descriptor in others:
            os.close(descriptor)
        # An empty read says that the tracer is gone, or that it could not attach.
        if os.read(gate, 1):
            try:
                os.execv(program, arguments)
            except OSError as error:
                os.write(report, str(error.errno).encode())
    finally:
        os._exit(127)


def check_pid(pid: int) -> None:
    """Raises SpecError when `pid` is no process (as user space counts: a thread's id is none)."""
    try:
        text = _read(f"/proc/{pid}/status")
    except OSError:
        raise SpecError(f"there is no process {pid}", path="target.pid") from None
    facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    group = int(facts.get("Tgid", pid))
    if group != pid:
        raise SpecError(f"{pid} is a thread of process {group}: write pid={group}", path="target.pid")


def has_ended(pid: int) -> bool:
    """Whether a process that was there has gone (a zombie has)."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def _read(path: str) -> str:
    from pathlib import Path

    return Path(path).read_text(encoding="ascii", errors="replace")
