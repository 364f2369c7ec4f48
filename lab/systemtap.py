"""SystemTap for the lab's kernels: compiled on the host, run in a guest.

In: a kernel of the lab's, a script. Out: a module that `staprun` loads in a guest of that kernel, from the cache where
the same script was compiled before. Compiling inside a guest takes ten minutes and more. It never runs a probe on the
host.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import LabError, cache, packages
from lab.kernels import Kernel

PACKAGED_RUNTIME = Path("/usr/share/systemtap/runtime")
# A guest's CPUs take turns on one thread: who waits for a lock that the other holds must outlast its turn.
_LOCK = "-DMAXTRYLOCK="
PATIENCE = f"{_LOCK}1000000"
_RELEASE = Path("include/config/kernel.release")
_NAME = re.compile(r"[a-z0-9_]{1,55}")
# SystemTap 4.8 calls task_work_cancel() by the name that it had until the kernel's commit 68cbd415dd4b (6.1.103).
_RENAMED = (
    ("typeof(&task_work_cancel)", "typeof(&task_work_cancel_func)"),
    ("#define task_work_cancel (", "#define task_work_cancel_func ("),
    ('lookup_name("task_work_cancel")', 'lookup_name("task_work_cancel_func")'),
    ("= task_work_cancel(task, func)", "= task_work_cancel_func(task, func)"),
)


@dataclass(frozen=True)
class Compiler:
    """A `stap` that compiles for one kernel."""

    kernel: Kernel

    @classmethod
    def of(cls, kernel: Kernel) -> Compiler:
        """The compiler for a kernel, its packages and symbols fetched where they aren't there."""
        if kernel.series != "6.1":
            raise LabError(f"Debian 12's SystemTap 4.8 does not compile for {kernel.release}; it does for 6.1")
        if Path("/sys/kernel/security/lockdown").exists():
            raise LabError("securityfs is mounted, so stap would want signed modules: umount /sys/kernel/security")
        compiler = cls(kernel)
        headers = f"linux-headers-{kernel.release}"
        packages.need(
            f"command -v stap && command -v cc && command -v make && test -e /usr/src/{headers}/Makefile",
            *("systemtap", "systemtap-runtime", "gcc", "make", headers),
        )
        with cache.lock("cache"):
            compiler._prepare()
        return compiler

    @property
    def build(self) -> Path:
        """The kernel's build tree: Debian's headers, the real System.map and the debugging symbols."""
        return cache.folder() / "systemtap" / self.kernel.release

    @property
    def runtime(self) -> Path:
        """SystemTap's runtime, so that it compiles for this kernel."""
        return self.build / "runtime"

    @property
    def cache(self) -> Path:
        """The lab's own cache of `stap`, SYSTEMTAP_DIR."""
        return cache.folder() / "systemtap" / "cache"

    @property
    def arguments(self) -> list[str]:
        """What `stap` needs on its command line to compile for this kernel."""
        return ["-R", str(self.runtime), "-r", str(self.build)]

    def module(self, script: str, name: str, *options: str, limit: float = 300) -> Path:
        """The compiled module, in a folder that guests see; with a guest's patience for locks, whatever it asks for."""
        options = (*(option for option in options if not option.startswith(_LOCK)), PATIENCE)
        if not _NAME.fullmatch(name):
            raise LabError(f"{name!r} can't be a module's name: lower-case letters, digits and _, at most 55")
        identity = "\0".join([self.kernel.release, _version(), name, script, *options])
        folder = cache.folder() / "modules" / hashlib.sha256(identity.encode()).hexdigest()[:24]
        with cache.lock("stap"):
            if not (folder / f"{name}.ko").exists():
                with cache.complete(folder) as half:
                    (half / f"{name}.stp").write_text(script, encoding="utf-8")
                    command = ["stap", *self.arguments, "-p4", "-m", name, *options, f"{name}.stp"]
                    self._run(command, half, limit, name)
                    if not (half / f"{name}.ko").exists():
                        raise LabError(f"stap refused {name}: it made no module")
        return folder / f"{name}.ko"

    def fill(self, script: str, *options: str, into: Path, limit: float = 300) -> None:
        """Fills a folder that a guest's SYSTEMTAP_DIR can be, so that `stap` there finds this script compiled.

        There stap must read it from its standard input or from `-e`, with the same options. The kernel's build tree
        must be where it is in the guest, so it is mounted there, for this one process alone.
        """
        tree = self.kernel.folder / "lib" / "modules" / self.kernel.release
        mount = 'mount --bind "$0" "$1" && shift && exec "$@"'
        mounted = ["unshare", "--mount", "sh", "-c", mount, str(tree), f"/lib/modules/{self.kernel.release}"]
        command = [*mounted, "stap", "-r", self.kernel.release, "-p4", *options, "-"]
        with cache.lock("stap"):
            self._run(command, Path("/"), limit, "the script", script)
            shutil.copytree(self.cache, into, dirs_exist_ok=True)

    def _run(self, command: list[str], folder: Path, limit: float, name: str, script: str = "") -> None:
        environment = {**os.environ, "SYSTEMTAP_DIR": str(self.cache), "SYSTEMTAP_RUNTIME": str(self.runtime)}
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                _, said = process.communicate(script, timeout=limit)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                # What a killed pass 2 leaves there makes later ones fail.
                shutil.rmtree(self.cache, ignore_errors=True)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise LabError(f"stap did not compile {name} within {limit:g} s") from None
                raise
        if process.returncode:
            raise LabError(f"stap refused {name} (status {process.returncode}):\n{said.strip()}")

    def _prepare(self) -> None:
        if not (self.build / "vmlinux").exists():
            self._unpack()
        if (self.build / _RELEASE).read_text(encoding="utf-8").strip() != self.kernel.release:
            self._tell_release()
        # Where stap looks for the headers of tracepoints; without it kernel.trace matches none.
        sources = self.build / "source"
        if not sources.is_symlink():
            sources.symlink_to(_common(Path(f"/usr/src/linux-headers-{self.kernel.release}")))
        # Where a `stap` that runs in a guest looks for the kernel's build tree.
        link = self.kernel.folder / "lib" / "modules" / self.kernel.release / "build"
        if not link.is_symlink():
            link.symlink_to(self.build)

    def _tell_release(self) -> None:
        """Says in the tree which release it is of: in Debian's headers this is a version, such as 6.1.192.

        stap leaves the tree that it is told of where a remote kernel has another release.
        """
        headers = (self.build / "include").resolve()
        with cache.complete(self.build / "included") as folder:
            (folder / "config").mkdir()
            for entry in (*(headers / "config").iterdir(), *headers.iterdir()):
                if entry.name not in ("config", _RELEASE.name):
                    (folder / entry.relative_to(headers)).symlink_to(entry)
            (folder / "config" / _RELEASE.name).write_text(f"{self.kernel.release}\n", encoding="utf-8")
        # At once: somebody may be compiling.
        link = self.build / ".include"
        link.unlink(missing_ok=True)
        link.symlink_to("included")
        link.rename(self.build / "include")

    def _unpack(self) -> None:
        headers = Path(f"/usr/src/linux-headers-{self.kernel.release}")
        inside = f"usr/lib/debug/boot/{{}}-{self.kernel.release}"
        package = f"linux-image-{self.kernel.release}-dbg"
        with packages.downloaded(package) as file, cache.complete(self.build) as folder:
            for entry in headers.iterdir():
                (folder / entry.name).symlink_to(entry)
            names = ("System.map", "vmlinux")
            packages.unpack(file, folder, *(f"./{inside.format(name)}" for name in names))
            for name in names:
                (folder / inside.format(name)).rename(folder / name)
            shutil.rmtree(folder / "usr")
            shutil.copytree(PACKAGED_RUNTIME, folder / "runtime")
            _rename_calls(folder / "runtime" / "stp_task_work.c", headers)


def _common(headers: Path) -> Path:
    """The part of a kernel's headers that Debian's flavours of it share."""
    return Path(re.sub(r"-cloud-amd64$", "-common", str(headers)))


def _rename_calls(source: Path, headers: Path) -> None:
    if "task_work_cancel_func" not in (_common(headers) / "include/linux/task_work.h").read_text(encoding="utf-8"):
        return
    text = source.read_text(encoding="utf-8")
    for old, new in _RENAMED:
        text = text.replace(old, new)
    source.write_text(text, encoding="utf-8")


def _version() -> str:
    return subprocess.run(
        ["stap", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout.splitlines()[0]
