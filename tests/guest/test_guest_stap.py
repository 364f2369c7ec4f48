"""Real SystemTap on a kernel of the lab's: a hand-written script, whose bytes are known."""

from __future__ import annotations

import os
import subprocess

import pytest

from lab.prepared import Preparation, Prepared

pytestmark = pytest.mark.guest(kernels=("6.1",))

CALLS = 100
WORKLOAD = f"python3 -S -c 'import os\nfor _ in range({CALLS}): os.getppid()'"
SCRIPT = """
global calls
probe begin { printf("%1b%4b%8b", 7, -2, 0x1122334455667788) }
probe kernel.function("__x64_sys_getppid") { if (pid() == target() && execname() == "python3") calls++ }
probe end { printf("%s%1b%8b", "calls", 0, calls) }
"""
WHOLE = """
global reads
probe kernel.function("__x64_sys_getppid") { if (execname() == "python3") reads <<< 1 }
probe end { printf("%d\\n", @count(reads)) }
"""


def prepare(lab: Preparation) -> None:
    """On the host: the module that one test loads, and the one that another's `stap` finds compiled."""
    lab.module(SCRIPT, "bytes_and_calls")
    lab.stap(WHOLE, "-DMAXSTRINGLEN=256")


def test_a_script_writes_the_bytes_that_it_should(prepared: Prepared) -> None:
    done = subprocess.run(
        ["staprun", "-c", WORKLOAD, prepared.module("bytes_and_calls")], capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    number = (0x1122334455667788).to_bytes(8, "little")
    assert done.stdout == b"\x07\xfe\xff\xff\xff" + number + b"calls\0" + CALLS.to_bytes(8, "little")


@pytest.mark.slow
def test_stap_itself_finds_its_script_compiled(prepared: Prepared) -> None:
    done = subprocess.run(
        ["stap", "-v", "-DMAXSTRINGLEN=256", "-c", WORKLOAD, "-"],
        input=WHOLE,
        env={**os.environ, **prepared.stap_variables},
        capture_output=True,
        timeout=190,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("using cached") == 2, done.stderr
    assert done.stdout == f"{CALLS}\n"
