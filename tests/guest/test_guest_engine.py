"""The embedded engine on the lab's kernels, counted against workloads that know their own numbers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

import spile
from spile import arg, pid
from workload import GETPPID, call, calls

pytestmark = pytest.mark.guest

GETPPID_NUMBER = 110  # getppid(2) on x86-64


def test_the_kernel_is_the_one_that_was_asked_for(guest_kernel: str) -> None:
    assert platform.release().startswith(f"{guest_kernel}.")
    assert Path("/sys/kernel/btf/vmlinux").exists()


def test_a_tracepoint_counts_a_command_exactly() -> None:
    session = spile.Session(command=calls(1234, children=2))
    by = session.tracepoint(GETPPID).count(by=pid)
    session.run()
    assert sorted(by.values()) == [1234] * 3
    assert session.losses.balance == 0 and session.losses.lost == 0


def test_a_raw_tracepoint_counts_what_its_filter_lets_through() -> None:
    session = spile.Session(pid=os.getpid())
    count = session.raw_tracepoint("sys_enter", where=arg.id == GETPPID_NUMBER).count()
    with session:
        call(777)
    call(10)
    assert count.value == 777


def test_every_event_arrives() -> None:
    session = spile.Session(pid=os.getpid())
    probe = session.tracepoint(GETPPID, capture={"pid": pid})
    with session:
        call(2000)
        session.stop()
        events = list(probe)
    assert len(events) == 2000 and {event.pid for event in events} == {os.getpid()}
