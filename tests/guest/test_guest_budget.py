"""``max_overhead=`` at a function, by each means that the kernel has: steps in order, and every hit in the ledger."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings

import pytest

import spile
from spile import kstack

pytestmark = pytest.mark.guest

#: It reads for ever, from a file that is always there, and then says how often.
_READER = """
import os, signal, sys
class Over(Exception): pass
def end(*_): raise Over
signal.signal(signal.SIGTERM, end)
zero, read, n = os.open("/dev/zero", os.O_RDONLY), os.read, 0
print("ready", flush=True)
try:
    while True:
        n += 1
        read(zero, 1)
except Over:
    pass
print(n, flush=True)
"""
_MEANS = {"6.1": ("fentry", "kprobe"), "6.12": ("fentry", "kprobe_multi", "kprobe")}


@pytest.mark.timeout(400)
def test_a_function_s_probe_sheds_in_order_and_loses_count_of_nothing(guest_kernel: str) -> None:
    for means in _MEANS[guest_kernel]:
        with subprocess.Popen([sys.executable, "-S", "-c", _READER], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
            reader.send_signal(signal.SIGSTOP)
            session = spile.Session(pid=reader.pid, max_overhead=0.0001, queue=64 << 20)
            probe = session.function("vfs_read", capture={"stack": kstack}, attach=means)
            stacks = probe.count(by=kstack)
            with warnings.catch_warnings(record=True) as warned, session:
                warnings.simplefilter("always")
                reader.send_signal(signal.SIGCONT)
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and len(session.losses.steps) < 3:
                    session.wait(0.2)
                reader.send_signal(signal.SIGTERM)
                calls = int(reader.stdout.readline())
                reader.wait()
                session.wait(0.2)
        shed = [(step.every, step.stackless) for step in session.losses.steps if step.outcome == "shed"]
        assert shed[:3] == [(1, True), (2, True), (4, True)], means
        told = [str(warning.message) for warning in warned if warning.category is spile.OverheadWarning]
        assert "stacks are empty" in told[0] and "one event of 2" in told[1], means
        losses = session.losses[probe.name]
        # The reader counts a call before it makes it; what it read before, to begin, isn't its own count's.
        assert 0 < losses.hits <= calls and losses.balance == 0, means
        assert min(losses.budget_stacks, losses.budget_sampled) > 0, means
        assert stacks.total + losses.unkeyed + losses.table_lost == losses.hits, means
        assert sum(count for stack, count in stacks.items() if not len(stack)) == losses.budget_stacks, means
