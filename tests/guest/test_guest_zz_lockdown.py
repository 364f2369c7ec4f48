"""A kernel that is locked down. It stays so until its guest ends, so this file's name puts it behind all others.

In: `rust/bpf/tests/live_attach.rs`. Out: that the refusal of a function probe names the lockdown.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from guest_binaries import build
from lab.prepared import Preparation, Prepared

pytestmark = pytest.mark.guest


def prepare(lab: Preparation) -> None:
    """Builds the test; a guest compiles nothing."""
    build(lab, "live_attach")


def test_a_locked_down_kernel_says_so(prepared: Prepared) -> None:
    """Kprobes are not permitted, though no capability is missing."""
    command = [str(prepared.folder / "live_attach"), "--nocapture", "--exact", "a_locked_down_kernel_says_so"]
    environment = {**os.environ, "SPILE_LOCK_DOWN": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "the kernel is locked down (confidentiality)" in said, said
