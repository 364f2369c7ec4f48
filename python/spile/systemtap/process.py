"""A running stap: started, listened to, ended.

In: a script and `StapOptions`. Out: the descriptor of its binary output, which Rust reads; what it said, as typed
errors and warnings; what it lost, as numbers. It never reads the output, and never waits longer than it was told to.

    process = StapProcess.start(script, options, Needs({"MAXSTRINGLEN": 512}), target=Target(pid=42))
    fd = process.take_stdout()          # yours from now on; with options.bulk it is `output`'s files that are written
    …                                   # the decoder sees the control record "ready":
    process.ready()                     # no start_timeout from now on
    process.poll()                      # None while it runs, else how it `Ended`
    process.error()                     # why it ended by itself, typed; None while it runs and for a good end
    process.stop()                      # SIGINT, SIGTERM, SIGKILL, the module unloaded. Somebody must go on reading!
    process.warnings(); process.losses()        # losses are complete after the end: stap counts them then
    process.close()                     # ends what still runs

stderr is read by a thread always, so that a flood of messages can't block stap. stap itself runs below a small process
of its own (`supervise`), which ends it when this one dies, by whatever signal, and unloads its module.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import Error, SpecError, StateError, Unsupported
from .command import Needs, StapCommand, Target, run_command, unload_command
from .messages import Reader
from .options import StapOptions
from .problems import StapLosses, losses_of, packages, problem_of, warnings_of
from .supervise import UNLOAD_PATIENCE

PATIENCE = (10.0, 3.0)
"""Seconds that stap gets to end by SIGINT (its end probes print their tables meanwhile), then by SIGTERM."""
PIPE_SIZE = 1 << 20
_SUPERVISOR = Path(__file__).with_name("supervise.py")


@dataclass(frozen=True)
class Ended:
    """How a stap ended."""

    returncode: int | None
    """As in `subprocess`: the exit status, or the negated signal; None when the supervisor was killed itself."""
    asked: bool
    """Whether it was told to end, and had not ended before."""
    late: bool = False
    """Whether that was because it was not ready in time."""
    killed: bool = False
    """Whether it took SIGKILL: what the end probes print is lost."""
    passed: int = 0
    """The last of stap's passes that it got through."""
    unloaded: tuple[str, ...] = ()
    """Modules that had to be unloaded after it."""
    module: tuple[str, ...] = ()
    """Modules that are still loaded."""


class StapProcess:
    """One stap, or one staprun."""

    def __init__(
        self,
        command: StapCommand,
        options: StapOptions,
        script: str | None = None,
        *,
        where: Path | None = None,
        stdout: int | None = None,
        declared: Callable[[int], str | None] | None = None,
    ) -> None:
        """Starts `command` in the folder `where`; `declared` knows which probe a line of the script is about."""
        self.command = command
        self.options = options
        self._reader = Reader(0 if command.reads_script else 4, declared)
        self._lock = threading.Lock()
        self._reports: list[dict[str, Any]] = []
        self._ended: Ended | None = None
        self._over = threading.Event()
        self._started = threading.Event()
        self._asked = False
        self._stdout: int | None = None
        self._launch(script, where, stdout)

    @classmethod
    def start(
        cls,
        script: str,
        options: StapOptions | None = None,
        needs: Needs | None = None,
        *,
        target: Target | None = None,
        stdout: int | None = None,
        output: str | None = None,
        declared: Callable[[int], str | None] | None = None,
    ) -> Self:
        """Starts stap on the script; with ``options.module`` staprun on that module, which must be of this script.

        It writes to the descriptor `stdout`, which stays the caller's, or to a pipe that `take_stdout` gives; in bulk
        mode to `output` with ``_0``, ``_1``, … for the CPUs. `declared` gives errors the place of the user's own line.

        Raises Unsupported, naming the packages, when the program is not there, OSError when it can't be executed, and
        SpecError for a module of another script.
        """
        chosen = options or StapOptions()
        if chosen.module is not None:
            _check_module(Path(chosen.module), script)
        command = run_command(chosen, needs, target=target, output=output)
        return cls(command, chosen, script if command.reads_script else None, stdout=stdout, declared=declared)

    # Life -------------------------------------------------------------------------------------------------------------

    def take_stdout(self) -> int:
        """The descriptor of the binary stream, which belongs to the caller from now on. At its end stap has ended."""
        if self._stdout is None:
            raise StateError("the stream's descriptor has been taken before")
        descriptor, self._stdout = self._stdout, None
        return descriptor

    def ready(self) -> None:
        """All probes are attached (the stream said so)."""
        self._order("ready")

    def poll(self) -> Ended | None:
        """How it ended, if it has."""
        return self._ended

    def wait(self, seconds: float | None = None) -> Ended | None:
        """Waits for its end, at most so long."""
        self._over.wait(seconds)
        return self._ended

    def stop(self, patience: tuple[float, float] = PATIENCE) -> Ended:
        """Asks it to end, and waits until it has, by force at last; does nothing more to one that has ended.

        Somebody must read the stream meanwhile: a stap whose pipe is full can't end by itself.
        """
        self._asked = True
        self._order("stop", *patience)
        # The supervisor keeps to its deadlines, unloading included; a busy machine gets some time on top.
        if self._over.wait(sum(patience) + 2 * UNLOAD_PATIENCE) and self._ended is not None:
            return self._ended
        self._supervisor.kill()
        self._over.wait(10)
        return self._ended or Ended(None, asked=True, killed=True)

    def close(self) -> None:
        """Ends it, if it runs."""
        if self._ended is None:
            self.stop((0.5, 0.5))
        if self._stdout is not None:
            os.close(self.take_stdout())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it said -----------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What it wrote on stderr, its middle left out where it is long."""
        with self._lock:
            return self._reader.log()

    @property
    def passed(self) -> int:
        """The last of stap's passes that has ended: 4 when the module is compiled."""
        with self._lock:
            return self._reader.passed

    def error(self) -> Error | None:
        """Why it ended by itself, as spile's own error; None for an end that was asked for, or a good one."""
        ended = self._ended
        if ended is None:
            return None
        with self._lock:
            return problem_of(self._reader, ended, self.options)

    def warnings(self) -> tuple[str, ...]:
        """What a user should know though the script ran: probes that could not be attached, a module left behind."""
        with self._lock:
            return warnings_of(self._reader, self._ended)

    def losses(self) -> StapLosses:
        """What stap says that it lost; it says so when it ends."""
        with self._lock:
            return losses_of(self._reader)

    # Below ------------------------------------------------------------------------------------------------------------

    def _launch(self, script: str | None, where: Path | None, stdout: int | None) -> None:
        program = self.command.arguments[0]
        if shutil.which(program) is None:
            raise Unsupported(f"there is no program {program!r} here: {packages(self.options)}")
        (report, report_end), (errors, errors_end) = os.pipe(), os.pipe()
        output, output_end = os.pipe() if stdout is None else (None, os.dup(stdout))
        handed = [report_end]
        try:
            with contextlib.suppress(OSError):
                fcntl.fcntl(output_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            if script is not None:
                handed.append(_script_file(script))
            self._supervisor = subprocess.Popen(
                self._supervised(report_end, handed[-1] if script is not None else None),
                stdin=subprocess.PIPE,
                stdout=output_end,
                stderr=errors_end,
                pass_fds=handed,
                env=self.command.environment(),
                cwd=where,
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (report, errors, output):
                if descriptor is not None:
                    os.close(descriptor)
            raise
        finally:
            # Held by the child alone, or the ends of its streams would never come.
            for descriptor in (errors_end, output_end, *handed):
                os.close(descriptor)
        self._stdout = output
        self._thread = threading.Thread(target=self._listen, args=(errors, report), name="spile-stap", daemon=True)
        self._thread.start()
        self._started.wait()
        self._raise_if_not_executed()

    def _supervised(self, report: int, script: int | None) -> list[str]:
        module = self.options.module
        plan = {
            "report": report,
            "script": script,
            "parent": os.getpid(),
            "patience": PATIENCE,
            "timeout": self.options.start_timeout,
            "unload": list(unload_command(self.options).arguments),
            "module": "" if module is None else Path(module).stem,
            "staprun": self._staprun() if self.command.reads_script else "",
        }
        return [sys.executable, "-I", "-S", str(_SUPERVISOR), json.dumps(plan), *self.command.arguments]

    def _staprun(self) -> str:
        """The staprun that stap is to start; the empty string for its own."""
        environment = self.command.environment()
        return environment.get("SYSTEMTAP_STAPRUN") or shutil.which(self.options.staprun) or ""

    def _raise_if_not_executed(self) -> None:
        for facts in self._reports:
            if "failed" in facts:
                self.close()
                raise OSError(facts["failed"], os.strerror(facts["failed"]), self.command.arguments[0])

    def _order(self, *words: object) -> None:
        pipe = self._supervisor.stdin
        if pipe is not None and self._ended is None:
            with contextlib.suppress(OSError, ValueError):
                pipe.write((" ".join(str(word) for word in words) + "\n").encode())
                pipe.flush()

    def _listen(self, errors: int, report: int) -> None:
        """The thread's whole life: both pipes until their ends, then the supervisor's own."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(errors, selectors.EVENT_READ)
            selector.register(report, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        if key.fd == report:
                            self._started.set()
                    elif key.fd == errors:
                        with self._lock:
                            self._reader.feed(data)
                    else:
                        *lines, rest = (rest + data).split(b"\n")
                        self._reports += [json.loads(line) for line in lines]
                        self._started.set()
        self._supervisor.wait()
        if self._supervisor.stdin is not None:
            with contextlib.suppress(OSError):
                self._supervisor.stdin.close()
        with self._lock:
            self._reader.close()
            self._ended = self._conclude()
        self._over.set()

    def _conclude(self) -> Ended:
        facts = self._reports
        return Ended(
            returncode=next((fact["ended"] for fact in facts if "ended" in fact), None),
            asked=self._asked and any("signal" in fact for fact in facts),
            late=any("late" in fact for fact in facts),
            killed=any(fact.get("signal") == signal.SIGKILL for fact in facts),
            passed=self._reader.passed,
            unloaded=tuple(fact["unloaded"] for fact in facts if "unloaded" in fact),
            module=tuple(fact["module"] for fact in facts if "module" in fact),
        )


def _script_file(script: str) -> int:
    """The script in a file without a name: nothing to clean away, nothing that other users could read or change."""
    with tempfile.TemporaryFile() as file:
        file.write(script.encode())
        file.seek(0)
        return os.dup(file.fileno())


def _check_module(module: Path, script: str) -> None:
    """Raises SpecError when the module is not there, or the script beside it is another one."""
    if not module.is_file():
        raise SpecError(f"there is no module {str(module)!r}: compile_module makes it", "systemtap.module")
    beside = module.with_suffix(".stp")
    if beside.is_file() and beside.read_text(encoding="utf-8") != script:
        raise SpecError(
            f"{str(module)!r} was compiled from another script than this session's ({str(beside)!r}): compile it again",
            "systemtap.module",
        )
