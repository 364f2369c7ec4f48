"""Names of kernel addresses: looked up late, and explained where the kernel hides them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import pytest

import spile
from spile import arg, string

pytestmark = pytest.mark.live

COUNT = """
    import os, pickle, sys
    import spile
    session = spile.Session(pid=os.getpid())
    stacks = session.tracepoint("syscalls:sys_enter_getppid").count(by=spile.kstack)
    with session:
        for _ in range(100):
            os.getppid()
    assert stacks.total == 100
    if "look" in sys.argv:
        print(stacks.top(1)[0][0])
"""


@pytest.mark.parametrize("look", [False, True])
def test_no_symbols_are_read_before_somebody_looks(look: bool) -> None:
    command = [sys.executable, "-c", textwrap.dedent(COUNT), *(["look"] if look else [])]
    session = spile.Session(command=command)
    opened = session.tracepoint("syscalls:sys_enter_openat").count(by=string(arg.filename))
    session.run()
    assert session.returncode == 0
    assert ("/proc/kallsyms" in opened) is look


def test_hidden_addresses_are_explained() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv, of util-linux, isn't installed")
    script = """
        from spile._native import restore_stack
        print(restore_stack("kernel", 0, 1, [0xFFFFFFFF81000010, 0xFFFFFFFF81000020]))
    """
    command = ["setpriv", "--bounding-set=-syslog", sys.executable, "-c", textwrap.dedent(script)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The kernel hides addresses from whoever lacks CAP_SYSLOG, unless it is told to hide nothing from perf's users.
    assert shown.startswith("    0xffffffff81000010\n    0xffffffff81000020\n")
    assert "CAP_SYSLOG" in shown and "kptr_restrict" in shown
