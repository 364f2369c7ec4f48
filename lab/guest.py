"""A guest: one of the lab's kernels over the host's own root file system.

In: a kernel, a command, a time limit. Out: the command's output and exit status, and the console's text, all through
files of the run's folder, for vng's own exit status is 255 whatever happened. The guest has the host's files read-only,
under layers in memory: of all that it writes, only the run's folder stays. One guest runs at a time on a machine; it
ends by its limit even where whoever started it is gone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lab import LabError, cache, packages
from lab.kernels import Kernel

# An oops ends the guest: whatever it would say after that would be worth nothing. Mitigations only cost time.
BOOT = "oops=panic mitigations=off audit=0"
CPUS = 2
# One thread for all CPUs: with a thread for each, one of them may run code that another is just patching, half old
# and half new, which no real CPU does. Guests panicked so while probes were attached to functions in use.
ACCELERATOR = ("-accel", "tcg,thread=single")
MEMORY = "2G"
_KEPT_RUNS = 20
_A_DAY = 86400
_TAIL = 4000
# timeout's own statuses; where the first signal did not help, its second takes itself along.
_ENDED_BY_TIMEOUT = (124, 128 + signal.SIGKILL, -signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """How a guest's command ended: with a status, or without one and for this reason."""

    status: int | None
    reason: str
    output: str
    console: str
    folder: Path

    def __str__(self) -> str:
        """The reason, with the last lines of the command's output and of the console."""
        return (
            f"{self.reason}\n--- the end of its command's output ({self.folder}/output) ---\n{self.output[-_TAIL:]}\n"
            f"--- the end of its console ({self.folder}/console) ---\n{self.console[-_TAIL:]}"
        )


class Guest:
    """A guest that runs a command; a context manager that leaves no process behind."""

    def __init__(self, kernel: Kernel, folder: Path, *, limit: float) -> None:
        """Nothing runs yet."""
        self.kernel = kernel
        self.folder = folder
        self.limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: str | None = None
        self._since = 0.0
        self._held = ExitStack()

    def __enter__(self) -> Guest:
        """The guest."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends it, whatever it does."""
        self.stop("it was no longer needed")
        self._held.close()

    def start(
        self, command: list[str], environment: Mapping[str, str], where: Path, devices: Sequence[str] = ()
    ) -> None:
        """Boots, with `devices` as QEMU's options say them, and runs the command there."""
        script = self.folder / "script"
        named = {"SPILE_LAB_KERNEL": self.kernel.series, "SPILE_LAB_RUN": str(self.folder), **environment}
        script.write_text(guest_script(command, named, where, self.folder), encoding="utf-8")
        descriptor = self._held.enter_context(cache.lock("guest"))
        self._since = time.monotonic()
        with (self.folder / "console").open("wb") as console:
            self._process = subprocess.Popen(
                boot_command(self.kernel, script, self.folder, self.limit, devices),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=host_environment(),
                start_new_session=True,
                pass_fds=[descriptor],
            )

    @property
    def running(self) -> bool:
        """Whether it still does."""
        return self._process is not None and self._process.poll() is None

    def stop(self, reason: str) -> None:
        """Ends a guest that still runs, with all its processes."""
        if self._process is None or self._process.poll() is not None:
            return
        self._stopped = reason
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(self._process.pid, number)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                continue
            break

    def ended(self) -> Ended:
        """How it ended, for a guest that no longer runs."""
        assert self._process is not None
        code = self._process.wait()
        self._sweep()
        status = _status(self.folder / "status")
        output, console = _text(self.folder / "output"), _text(self.folder / "console")
        return Ended(status, self._reason(status, code), output, console, self.folder)

    def _sweep(self) -> None:
        """The processes that vng leaves where it is killed."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _reason(self, status: int | None, code: int) -> str:
        who = f"the guest ({self.kernel.release})"
        if status is not None:
            return f"the command ended with status {status}"
        if self._stopped:
            return f"{who} was ended: {self._stopped}"
        if code in _ENDED_BY_TIMEOUT and time.monotonic() - self._since >= self.limit:
            return f"{who} did not end within {self.limit:g} s"
        if "Kernel panic" in _text(self.folder / "console"):
            return f"{who} panicked"
        return f"{who} ended without a result (vng's status: {code})"


def run(kernel: Kernel, command: list[str], *, limit: float, show: bool = False, where: Path | None = None) -> Ended:
    """Runs one command in a guest, from its boot to its end; shows its output as it comes, if asked."""
    folder = new_run(kernel)
    with Guest(kernel, folder, limit=limit) as guest:
        guest.start(command, {}, where or Path.cwd())
        shown = 0
        while guest.running:
            time.sleep(0.1)
            shown = _show(folder / "output", shown) if show else 0
        ended = guest.ended()
        if show:
            _show(folder / "output", shown)
        return ended


def new_run(kernel: Kernel) -> Path:
    """A folder for a run's files; of those of other days, all but the last go."""
    runs = cache.folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT_RUNS]:
        if time.time() - old.stat().st_mtime > _A_DAY:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime(f"%m%d-%H%M%S-{kernel.series}-"), dir=runs))


def boot_command(kernel: Kernel, script: Path, shared: Path, limit: float, devices: Sequence[str] = ()) -> list[str]:
    """The command that boots a guest, which ends by its limit, and with this process even where that is killed."""
    # vng gives these to a shell.
    machine = f"--qemu-opts={shlex.join([*ACCELERATOR, *devices])}"
    return [
        *("setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", f"{limit:g}"),
        *("vng", "--run", str(kernel.image), "--disable-kvm", "--cpus", str(CPUS), "--memory", MEMORY, machine),
        *(f"--rwdir={shared}", "--append", BOOT, "--verbose", "--", f"sh {shlex.quote(str(script))}"),
    ]


def guest_script(command: list[str], environment: Mapping[str, str], where: Path, folder: Path) -> str:
    """What the guest runs: the command, its output and status into files."""
    inside = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(cache.folder().parent),
        **environment,
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in inside.items())
    output, status = shlex.quote(str(folder / "output")), shlex.quote(str(folder / "status"))
    return (
        "scratch=$(mktemp -d /dev/shm/lab.XXXXXX)\ntrap 'rm -rf $scratch' EXIT\n"
        f"export HOME=$scratch TMPDIR=$scratch\n{exports}cd {shlex.quote(str(where))} &&\n"
        f"( exec {shlex.join(command)} ) >{output} 2>&1 </dev/null\n"
        f"echo $? >{status}.new && mv {status}.new {status}\n"
    )


def host_environment() -> dict[str, str]:
    """The environment of vng: its programs and virtiofsd are on the path."""
    own = [str(cache.folder() / "bin"), str(Path(sys.executable).parent)]
    return {**os.environ, "PATH": os.pathsep.join([*own, os.environ.get("PATH", "/usr/bin:/bin")])}


def need_programs() -> None:
    """What boots a guest: installed where it isn't there."""
    path = host_environment()["PATH"]
    if not shutil.which("vng", path=path):
        raise LabError("vng is missing: install the group `lab` of pyproject.toml, or run `make guest-test` once")
    packages.need("command -v qemu-system-x86_64", "qemu-system-x86")
    packages.need("command -v busybox", "busybox-static")
    if not (cache.folder() / "bin" / "virtiofsd").exists():
        _build_virtiofsd()


def _build_virtiofsd() -> None:
    """Debian 12's virtiofsd is QEMU's old one in C, which vng refuses."""
    packages.need("pkg-config --exists libseccomp libcap-ng", "pkg-config", "libseccomp-dev", "libcap-ng-dev")
    print("lab: building virtiofsd (once; a minute or two)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="spile-lab-") as target, cache.lock("cache"):
        done = subprocess.run(
            ["cargo", "install", "--quiet", "--locked", "--root", cache.folder(), "--version", "^1.13", "virtiofsd"],
            env={**os.environ, "CARGO_TARGET_DIR": target},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise LabError(f"virtiofsd can't be built: {done.stderr.strip()}")


def _status(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _show(path: Path, shown: int) -> int:
    if not path.exists():
        return shown
    with path.open("rb") as opened:
        opened.seek(shown)
        sys.stdout.buffer.write(opened.read())
        sys.stdout.flush()
        return opened.tell()
