"""The text of 2008, on the running kernel."""

from __future__ import annotations

import os

import pytest

from spile import Systemtap, Unsupported
from workload import GETPPID, call

pytestmark = pytest.mark.live


def test_as_written_then() -> None:
    probe = Systemtap.probe(f"tracepoint:{GETPPID}")
    probe.session._pid = os.getpid()  # so that the test knows its number
    probe.captureUtime("utime")
    probe.captureBacktrace("trace")
    probe.trace()
    call(3)
    probe.stop()
    events = list(probe.getEvent())
    assert len(events) == 3
    for event in events:
        assert event["utime"] > 0
        assert isinstance(event["trace"], Systemtap.trace) and "syscall" in str(event["trace"])


def test_functions_name_their_nearest_tracepoints() -> None:
    with pytest.raises(Unsupported, match=r"nearest tracepoints are .*read"):
        Systemtap.probeFunc("vfs_read")
