"""The machine that figures come from, in words. In: /proc, and the peers' own versions. Out: names and values."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import spile


def describe() -> dict[str, str]:
    """What a reader of the figures wants to know."""
    return {
        "CPU": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} CPUs",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB",
        "kernel": f"{platform.release()} {platform.machine()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "spile": spile.__version__,
        "bpftrace": version("bpftrace"),
        "perf": version("perf"),
        "load at the start": Path("/proc/loadavg").read_text().split()[0],
    }


def version(program: str) -> str:
    """What a program says of itself."""
    if shutil.which(program) is None:
        return "not installed"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"v?\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0].removeprefix("v") if found else "?"


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "?"
