"""The whole of stap in a guest, as a session runs it: the script by standard input, one command that compiles and runs.

stap finds the module compiled; that, and parsing, still takes it half a minute there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lab.prepared import Preparation, Prepared
from spile.command import has_ended
from spile.systemtap.command import Needs
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess
from spile.systemtap.supervise import loaded

pytestmark = [pytest.mark.guest(kernels=("6.1",)), pytest.mark.slow]

SCRIPT = """
global tracer
probe begin { printf("ready %d\\n", tracer) }
probe timer.ms(100) { if (tracer == 0) println("who?") }
probe end { println("end") }
"""
LIMITS = {"MAXSTRINGLEN": 256}


def prepare(lab: Preparation) -> None:
    """On the host: what the guest's stap finds compiled."""
    lab.stap(SCRIPT, "-DMAXSTRINGLEN=256", "--suppress-handler-errors")


def modules() -> list[str]:
    return [name for name in loaded() if name.startswith("stap_")]


def test_started_told_and_stopped(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in prepared.stap_variables.items():
        monkeypatch.setenv(name, value)
    with StapProcess.start(SCRIPT, StapOptions(), Needs(LIMITS, values={"tracer": 7})) as process:
        descriptor = process.take_stdout()
        assert os.read(descriptor, 100) == b"ready 7\n", process.log
        assert process.passed == 4
        assert len(modules()) == 1
        process.ready()
        time.sleep(1)
        ended = process.stop()
        assert (ended.returncode, ended.asked, ended.killed, ended.module) == (0, True, False, ()), process.log
        with os.fdopen(descriptor, "rb") as stream:
            assert stream.read() == b"end\n"
        assert process.error() is None
    assert modules() == []


def test_a_staprun_that_is_killed_at_once_leaves_no_module(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in prepared.stap_variables.items():
        monkeypatch.setenv(name, value)
    with StapProcess.start(SCRIPT, StapOptions(), Needs(LIMITS, values={"tracer": 7})) as process:
        while not (found := modules()) and process.poll() is None:
            pass
        os.kill(int(found[0].rpartition("_")[2]), signal.SIGKILL)
        os.close(process.take_stdout())
        ended = process.wait(150)
        assert ended is not None and ended.returncode != 0, process.log
        assert (ended.unloaded, ended.module) == (tuple(found), ()), process.log
    assert modules() == []


PARENT = """
import os, sys, time
sys.path[:0] = {path!r}
from spile.systemtap.command import Needs
from spile.systemtap.options import StapOptions
from spile.systemtap.process import StapProcess
process = StapProcess.start({script!r}, StapOptions(), Needs({limits!r}, values={{"tracer": 7}}))
descriptor = process.take_stdout()
assert os.read(descriptor, 6) == b"ready "
print("ready", flush=True)
time.sleep(1000)
"""


def test_a_killed_parent_leaves_neither_stap_nor_module(prepared: Prepared) -> None:
    text = PARENT.format(path=sys.path, script=SCRIPT, limits=LIMITS)
    environment = {**os.environ, **prepared.stap_variables}
    parent = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
    staprun = int(modules()[0].rpartition("_")[2])
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while (modules() or not has_ended(staprun)) and time.monotonic() < until:
        time.sleep(0.1)
    assert modules() == []
    assert has_ended(staprun)
