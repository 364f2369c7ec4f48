"""Real SystemTap on a kernel of the lab's: a hand-written script, whose bytes are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.prepared import Preparation, Prepared

pytestmark = pytest.mark.guest(kernels=("6.1",))

CALLS = 100
NAME = Path(sys.executable).name
WORKLOAD = f"{sys.executable} -S -c 'import os\nfor _ in range({CALLS}): os.getppid()'"
SCRIPT = f"""
global calls
probe begin {{ printf("%1b%4b%8b", 7, -2, 0x1122334455667788) }}
probe kernel.function("__x64_sys_getppid") {{ if (pid() == target() && execname() == "{NAME}") calls++ }}
probe end {{ printf("%s%1b%8b", "calls", 0, calls) }}
"""


def prepare(lab: Preparation) -> None:
    """On the host: the module that the test loads."""
    lab.module(SCRIPT, "bytes_and_calls")


def test_a_script_writes_the_bytes_that_it_should(prepared: Prepared) -> None:
    done = subprocess.run(
        ["staprun", "-c", WORKLOAD, prepared.module("bytes_and_calls")], capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    number = (0x1122334455667788).to_bytes(8, "little")
    assert done.stdout == b"\x07\xfe\xff\xff\xff" + number + b"calls\0" + CALLS.to_bytes(8, "little")
