"""Function probes in guests, on kernels that allow them: the engine's own tests, built on the host.

In: `rust/bpf/tests/live_{functions,modules,attach}.rs`. Out: that they pass, and by which means.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guest_binaries import build
from lab.prepared import Preparation, Prepared

pytestmark = pytest.mark.guest

_BINARIES = ("live_functions", "live_modules", "live_attach")
#: What a kernel offers: kprobe.multi came with Linux 5.18, and Debian's 6.1 is built without what it needs.
_MEANS = {"6.1": "[Fentry, Kprobe]", "6.12": "[Fentry, KprobeMulti, Kprobe]"}


def prepare(lab: Preparation) -> None:
    """Builds the tests; a guest compiles nothing."""
    build(lab, *_BINARIES)


def _run(binary: Path, kernel: str) -> None:
    """Runs one of them: all its tests pass, by every means that the kernel has, and none is left out."""
    done = subprocess.run([binary, "--nocapture", "--test-threads=1"], capture_output=True, text=True, timeout=500)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "0 ignored" in said, said
    assert f"functions are probed by {_MEANS[kernel]}" in said
    assert "skipped" not in said.lower(), said


@pytest.mark.timeout(600)
def test_functions_are_probed_by_every_means(prepared: Prepared, guest_kernel: str) -> None:
    """Calls, arguments, results, stacks, times and recursion, by each means that the kernel has."""
    _run(prepared.folder / "live_functions", guest_kernel)


@pytest.mark.timeout(600)
def test_functions_of_modules_have_types(prepared: Prepared, guest_kernel: str) -> None:
    """Arguments by name and type, returns, patterns; and what a module that isn't loaded is told by."""
    _run(prepared.folder / "live_modules", guest_kernel)


@pytest.mark.timeout(600)
def test_what_is_refused_or_missed_is_told(prepared: Prepared, guest_kernel: str) -> None:
    """Fallen back to another means, missed for want of room, kept from running within itself."""
    _run(prepared.folder / "live_attach", guest_kernel)
