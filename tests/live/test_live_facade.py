"""The text of 2008, on the running kernel."""

from __future__ import annotations

import os
import threading

import pytest

from spile import PrivilegeError, Systemtap, Unsupported
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
    probe = Systemtap.probeFunc("vfs_read")
    probe.captureUtime("utime")
    with pytest.raises((Unsupported, PrivilegeError), match=r"nearest tracepoints are .*read"):
        probe.trace()


def test_handlers_are_filled_as_in_2008() -> None:
    probe = Systemtap.probe(f"tracepoint:{GETPPID}")
    probe.session._pid = os.getpid()
    probe.captureUtime("utime")
    probe.captureBacktrace("trace")
    seen: list[object] = []

    class Tracer:
        def on_sys_enter_getppid(self, id: int, utime: int, stacktrace: object) -> None:
            seen.append((id, type(utime) is int, isinstance(stacktrace, Systemtap.trace)))
            probe.stop()

        def on_end_trace_session(self) -> None:
            seen.append("end")

    caller = threading.Timer(0.3, call, [1])
    caller.start()
    probe.trace(Tracer())
    caller.join()
    assert seen == [(1, True, True), "end"]
