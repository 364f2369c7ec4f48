"""What has to be there: root, tracefs, Debian's packages. In: the machine as it is. Out: it is there, or a reason.

tracefs is mounted for this bench alone, in a mount namespace of its own, where it isn't mounted yet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TRACEFS = Path("/sys/kernel/tracing")
#: A shell test, and the packages that make it succeed.
Need = tuple[str, tuple[str, ...]]

COMPILER: tuple[Need, ...] = (("command -v cc && command -v make", ("gcc", "libc6-dev", "make")),)
KERNEL: tuple[Need, ...] = (
    *COMPILER,
    ("ls /usr/src/linux-source-6.1.tar.*", ("linux-source-6.1",)),
    ("command -v flex && command -v bison && command -v bc && command -v xz", ("flex", "bison", "bc", "xz-utils")),
    ("test -e /usr/include/libelf.h && test -e /usr/include/openssl/ssl.h", ("libelf-dev", "libssl-dev")),
)
#: ftrace is the kernel's own.
PEERS: dict[str, Need] = {
    "perf": ("command -v perf", ("linux-perf",)),
    "bpftrace": ("command -v bpftrace", ("bpftrace",)),
    "trace-cmd": ("command -v trace-cmd", ("trace-cmd",)),
}


def need(needs: tuple[Need, ...]) -> None:
    """Installs what is missing. Raises SystemExit where that fails, with what to install."""
    for test, packages in needs:
        subprocess.run([ROOT / ".ci" / "need", test, *packages], check=True)


def with_tracefs(arguments: list[str]) -> None:
    """Goes on in a mount namespace that has a tracefs, if there is none here. Raises SystemExit for who isn't root."""
    if os.geteuid() != 0:
        raise SystemExit("kernel_compile: every tracer here traces the whole machine; run this as root")
    if (TRACEFS / "events").is_dir():
        return
    if os.environ.get("SPILE_BENCH_TRACEFS"):
        raise SystemExit(f"kernel_compile: no tracefs at {TRACEFS}, although it was just mounted")
    mounted = f'mount -t tracefs nodev {TRACEFS} && exec "$@"'
    command = ["unshare", "--mount", "--", "sh", "-c", mounted, "sh", sys.executable, "-m", "benches.kernel_compile"]
    os.execvpe(command[0], [*command, *arguments], {**os.environ, "SPILE_BENCH_TRACEFS": "1"})


def compiled(source: Path, folder: Path) -> Path:
    """A C program of this bench."""
    program = folder / source.stem
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program
