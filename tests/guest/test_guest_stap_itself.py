"""`stap` itself on a kernel of the lab's, with a script that was compiled for it on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.prepared import Preparation, Prepared

pytestmark = [pytest.mark.guest(kernels=("6.1",)), pytest.mark.slow]

CALLS = 100
WORKLOAD = f"{sys.executable} -S -c 'import os\nfor _ in range({CALLS}): os.getppid()'"
SCRIPT = f"""
global calls
probe kernel.function("__x64_sys_getppid") {{ if (execname() == "{Path(sys.executable).name}") calls <<< 1 }}
probe end {{ printf("%d\\n", @count(calls)) }}
"""
OPTIONS = ["-DMAXSTRINGLEN=256", "-c", WORKLOAD]


def prepare(lab: Preparation) -> None:
    """On the host: what `stap` with these options finds."""
    lab.stap(SCRIPT, *OPTIONS)


def test_stap_itself_finds_its_script_compiled(prepared: Prepared) -> None:
    done = subprocess.run(
        ["stap", "-v", *OPTIONS, "-"],
        input=SCRIPT,
        env={**os.environ, **prepared.stap_variables},
        capture_output=True,
        timeout=190,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("using cached") == 2, done.stderr
    assert done.stdout == f"{CALLS}\n"
