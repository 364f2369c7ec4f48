"""Runs one program (stap, or staprun) and outlives its parent: a process of its own, with the standard library alone.

In: a plan as JSON, the program's arguments, and orders on standard input. Out: reports, a line of JSON each, on the
plan's descriptor. It never touches the program's output, which goes straight to whoever reads it.

The program gets a session of its own. It is asked to end (SIGINT, SIGTERM, at last SIGKILL for all that it started)
when the order comes, when orders can come no more or the parent is gone (a pidfd says so, even where some other child
has inherited the pipe), and when it isn't ready in time. Only the leader is asked: stap hands a signal on, and a
staprun that hears it more than twice throws its last output away.

What then stays of it is ended too, and a module that lost its staprun is unloaded. stap is made to start one that first
says who it is: however early it dies, its module is known.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STAGES = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LOOK_EVERY = 0.5
"""Seconds between looks for the process that owns the module, until it is seen."""
LAST_PATIENCE = 5.0
"""Seconds that the kernel gets after a SIGKILL."""
UNLOAD_PATIENCE = 60.0
"""Seconds that a module gets to let go: what was killed holds it until the kernel has put its files away."""
UNLOAD_ONCE = 20.0
"""Seconds of one try to unload it."""
UNLOAD_PAUSE = (0.05, 2.0)
"""Seconds between two tries, at first and at most."""


class Supervisor:
    """One program's life."""

    def __init__(self, plan: dict[str, Any], arguments: list[str]) -> None:
        self.arguments = arguments
        self.report_to: int = plan["report"]
        self.patience: list[float] = [float(seconds) for seconds in plan["patience"]]
        self.unload: list[str] = plan["unload"]
        self.module: str = plan["module"]
        self.staprun: str = plan["staprun"]
        self.parent: int = plan["parent"]
        self.script: int | None = plan["script"]
        self.ready_until: float | None = time.monotonic() + plan["timeout"]
        self.stage = -1
        self.stage_until: float | None = None
        self.owners: set[int] = set()
        self.announced: Path | None = None
        self.rest = b""

    def report(self, **facts: object) -> None:
        """Tells the parent, if there still is one."""
        with contextlib.suppress(OSError):
            os.write(self.report_to, json.dumps(facts).encode() + b"\n")

    def run(self) -> None:
        """From start to end."""
        # The tracer's thread may have blocked signals, which stap would inherit.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ, "orders")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._hear)
        wake, waker = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        selector.register(wake, selectors.EVENT_READ, "signal")
        with contextlib.suppress(OSError, AttributeError):
            selector.register(os.pidfd_open(self.parent), selectors.EVENT_READ, "parent")
        if os.getppid() != self.parent:
            return
        with self._announcing() as environment:
            try:
                program = subprocess.Popen(
                    self.arguments,
                    stdin=subprocess.DEVNULL if self.script is None else self.script,
                    start_new_session=True,
                    env=environment,
                )
            except OSError as error:
                self.report(failed=error.errno)
                return
            self._let_go()
            self.report(started=program.pid)
            self._attend(program, selector, wake)
            self._clear_away(program)
        self.report(ended=program.returncode)

    @contextlib.contextmanager
    def _announcing(self) -> Iterator[dict[str, str]]:
        """The program's environment, in which stap starts a staprun that leaves its number, the module's, in a file."""
        environment = dict(os.environ)
        with contextlib.ExitStack() as held:
            if self.staprun:
                with contextlib.suppress(OSError):
                    folder = Path(tempfile.mkdtemp(prefix="spile-staprun-"))
                    held.callback(shutil.rmtree, folder, ignore_errors=True)
                    announced, program = folder / "announced", folder / "staprun"
                    program.write_text(
                        f'#!/bin/sh\necho $$ >>{shlex.quote(str(announced))}\nexec {shlex.quote(self.staprun)} "$@"\n'
                    )
                    program.chmod(0o700)
                    # Not where nothing may be executed: there staprun is looked for now and then.
                    if os.access(program, os.X_OK):
                        self.announced = announced
                        environment["SYSTEMTAP_STAPRUN"] = str(program)
            yield environment

    def _see_owners(self, session: int) -> None:
        """The staprun processes that were announced, and those that are there."""
        self.owners.update(pid for pid in members(session) if _is_staprun(pid))
        if self.announced is not None:
            with contextlib.suppress(OSError):
                self.owners.update(int(word) for word in self.announced.read_text().split() if word.isdecimal())

    def _let_go(self) -> None:
        """The program's output ends when the program does, so nobody else may hold it."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2, *([] if self.script is None else [self.script])):
            os.dup2(nowhere, descriptor)

    def _hear(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._begin_to_end()

    def _attend(self, program: subprocess.Popen[bytes], selector: selectors.BaseSelector, wake: int) -> None:
        """Until the leader is gone."""
        while program.poll() is None:
            for key, _ in selector.select(self._timeout()):
                if key.data == "signal":
                    os.read(wake, 4096)
                elif key.data == "orders":
                    self._obey(selector)
                else:
                    selector.unregister(key.fd)
                    self._begin_to_end()
            if not self.owners:
                self._see_owners(program.pid)
            self._step(program)

    def _timeout(self) -> float | None:
        ends = [end for end in (self.ready_until, self.stage_until) if end is not None]
        if not self.owners:
            ends.append(time.monotonic() + LOOK_EVERY)
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _obey(self, selector: selectors.BaseSelector) -> None:
        data = os.read(0, 4096)
        if not data:
            selector.unregister(0)
            self._begin_to_end()
        *orders, self.rest = (self.rest + data).split(b"\n")
        for order in orders:
            word, *numbers = order.split()
            if word == b"ready":
                self.ready_until = None
            elif word == b"stop":
                self.patience = [float(number) for number in numbers] or self.patience
                self._begin_to_end()

    def _begin_to_end(self) -> None:
        if self.stage < 0:
            self.ready_until, self.stage_until = None, time.monotonic()

    def _step(self, program: subprocess.Popen[bytes]) -> None:
        """Sends the next signal when it is due."""
        now = time.monotonic()
        if self.ready_until is not None and now >= self.ready_until:
            self.report(late=True)
            self._begin_to_end()
        if self.stage_until is None or now < self.stage_until or program.poll() is not None:
            return
        self.stage = min(self.stage + 1, len(STAGES) - 1)
        number = STAGES[self.stage]
        self.report(signal=int(number))
        if number == signal.SIGKILL:
            self._see_owners(program.pid)
            kill(members(program.pid), number)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(program.pid, number)
        self.stage_until = now + (self.patience[self.stage] if self.stage < len(self.patience) else LAST_PATIENCE)

    def _clear_away(self, program: subprocess.Popen[bytes]) -> None:
        """Ends what the leader left running, then unloads what has lost its staprun."""
        as_it_should = self.stage < 0 and program.returncode >= 0
        if self.module:  # the program was staprun itself, and may have ended before it was seen as that
            self.owners.add(program.pid)
        for number, seconds in ((signal.SIGTERM, self.patience[-1]), (signal.SIGKILL, LAST_PATIENCE)):
            left = members(program.pid)
            self._see_owners(program.pid)
            if as_it_should:  # a traced command may leave what it likes
                left = [pid for pid in left if _is_staprun(pid)]
            if not left:
                break
            self.report(left=left, sent=int(number))
            kill(left, number)
            until = time.monotonic() + seconds
            while set(left) & set(members(program.pid)) and time.monotonic() < until:
                time.sleep(0.02)
        for name in self._modules():
            self.report(**{"unloaded" if self._unload(name) else "module": name})

    def _modules(self) -> list[str]:
        """The modules that are still loaded: staprun calls them after its own process."""
        endings = tuple(f"_{pid}" for pid in self.owners)
        return [name for name in loaded() if self.owners and (name.endswith(endings) or name == self.module)]

    def _unload(self, name: str) -> bool:
        """Tries again until it is gone, or its time is."""
        until, (pause, longest) = time.monotonic() + UNLOAD_PATIENCE, UNLOAD_PAUSE
        while name in loaded() and time.monotonic() < until:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                # What it says of a module that is busy is no news.
                subprocess.run(
                    [*self.unload, name], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=UNLOAD_ONCE
                )
            if name in loaded():
                time.sleep(pause)
                pause = min(2 * pause, longest)
        return name not in loaded()


def members(session: int) -> list[int]:
    """The living processes of a session."""
    return [pid for pid, fields in _processes() if fields[3] == str(session) and fields[0] not in ("Z", "X")]


def kill(pids: list[int], number: int) -> None:
    """Sends a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def loaded() -> list[str]:
    """The names of the kernel's modules."""
    with contextlib.suppress(OSError):
        return [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]
    return []


def _processes() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):  # noqa: PTH208 (names alone, quicker than paths)
        if name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(name), Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _is_staprun(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return re.match(r"stap(run|io)", Path(f"/proc/{pid}/comm").read_text()) is not None
    return False


if __name__ == "__main__":
    Supervisor(json.loads(sys.argv[1]), sys.argv[2:]).run()
