"""Workloads whose numbers are known, and the kernel's own lists to check against."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

GETPPID = "syscalls:sys_enter_getppid"
_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_PROG_GET_NEXT_ID = 11


def calls(count: int, *, children: int = 0, before: float = 0.0) -> list[str]:
    """A command that calls getppid exactly so often, in itself and in each of its children."""
    storm = f"import os, time\ntime.sleep({before})\ng = os.getppid\nfor _ in range({count}): g()\n"
    forks = f"for _ in range({children}):\n  p = os.fork()\n  if p == 0: break\n  os.waitpid(p, 0)\n"
    return [sys.executable, "-S", "-c", "import os\n" + (forks if children else "") + storm]


def call(count: int) -> None:
    """Calls getppid exactly so often, here."""
    getppid = os.getppid
    for _ in range(count):
        getppid()


def programs() -> set[int]:
    """The ids of all BPF programs that the kernel has, by the kernel's own list."""
    found = set()
    attribute = (ctypes.c_uint32 * 32)()
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.syscall(_BPF, _PROG_GET_NEXT_ID, ctypes.byref(attribute), ctypes.sizeof(attribute)) == 0:
        found.add(attribute[1])
        attribute[0] = attribute[1]
    return found


def programs_of(process: int) -> set[int]:
    """The ids of the programs that a process holds: others may load some at any time."""
    found = set()
    for entry in list(Path(f"/proc/{process}/fdinfo").iterdir()):
        try:
            lines = entry.read_text().splitlines()
        except OSError:
            continue
        found |= {int(line.split(":")[1]) for line in lines if line.startswith("prog_id:")}
    return found


def descriptors() -> list[str]:
    """This process's descriptors of BPF objects and perf events."""
    links = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            link = str(entry.readlink())
        except OSError:
            continue
        if "bpf" in link or "perf_event" in link:
            links.append(link)
    return links


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something comes true in time: the kernel frees in the background."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
