"""The text of 2008, word for word, over a function that this kernel has."""

from __future__ import annotations

import subprocess
import threading

import pytest

from spile import Systemtap

pytestmark = pytest.mark.guest


def test_the_text_of_2008_runs_as_written() -> None:
    probe = Systemtap.probeFunc("vfs_read")
    probe.captureUtime("utime")
    probe.captureBacktrace("trace")
    probe.trace()
    # The tracer sees others only, and a guest has nobody else that is sure to read.
    subprocess.run(["cat", "/etc/passwd"], stdout=subprocess.DEVNULL, check=True)
    threading.Timer(20, probe.stop).start()
    for event in probe.getEvent():
        assert event["utime"] >= 0
        assert str(event["trace"]).split()[0].startswith("vfs_read")
        break
    else:
        pytest.fail("no read was seen")
    probe.stop()
