"""Function probes in guests, on kernels that allow them: the engine's own tests, built on the host.

In: `rust/bpf/tests/live_functions.rs`. Out: that it passes, and by which means functions were probed.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lab.prepared import Preparation, Prepared

pytestmark = pytest.mark.guest

_ROOT = Path(__file__).parents[2]
_BINARY = "live_functions"
#: What a kernel offers: kprobe.multi came with Linux 5.18, and Debian's 6.1 is built without what it needs.
_MEANS = {"6.1": "[Fentry, Kprobe]", "6.12": "[Fentry, KprobeMulti, Kprobe]"}


def prepare(lab: Preparation) -> None:
    """Builds the tests; a guest compiles nothing."""
    command = ["cargo", "test", "-p", "spile-bpf", "--test", _BINARY, "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if '"executable":"' in line]
    paths = [found["executable"] for found in artifacts if found["target"]["name"] == _BINARY]
    (lab.folder / _BINARY).symlink_to(paths[-1])


@pytest.mark.timeout(600)
def test_functions_are_probed_by_every_means(prepared: Prepared, guest_kernel: str) -> None:
    """Calls, arguments, results, stacks, times and recursion, by each means that the kernel has."""
    command = [str(prepared.folder / _BINARY), "--nocapture", "--test-threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "0 ignored" in said, said
    assert f"functions are probed by {_MEANS[guest_kernel]}" in said
    assert "SKIPPED" not in said
