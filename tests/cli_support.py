"""Running the command as a user does, and workloads that know their own numbers."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

SPILE = [sys.executable, "-m", "spile"]


def spile(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs `spile`, its output in pipes."""
    return subprocess.run([*SPILE, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def spile_json(*arguments: str) -> list[dict[str, Any]]:
    """Runs `spile`, which must succeed, and reads its lines of JSON."""
    done = spile(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def python(code: str) -> str:
    """A command for `-c` that runs Python code."""
    return shlex.join([sys.executable, "-S", "-c", code])


def getppid(calls: int) -> str:
    """A command that calls getppid(2) so many times."""
    return python(f"import os\nfor _ in range({calls}): os.getppid()")
