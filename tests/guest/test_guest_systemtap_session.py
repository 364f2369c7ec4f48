"""Sessions on the SystemTap engine: a script made from a spec, run by the real staprun, beside the embedded engine."""

from __future__ import annotations

import os
from collections import Counter

import pytest

import spile
from lab.prepared import Preparation, Prepared
from spile import arg, kstack, pid, utime
from spile.systemtap import StapOptions
from spile.systemtap.engine import made

pytestmark = [pytest.mark.guest(kernels=("6.1",))]

READS, SIZE = 300, 4321


def _declare(
    engine: str, options: StapOptions | None = None
) -> tuple[spile.Session, spile.Probe, spile.Table[int, int]]:
    session = spile.Session(engine=engine, systemtap=options, interval=0.2)
    mine = arg.count == SIZE
    reads = session.function("vfs_read", capture={"utime": utime, "size": arg.count, "trace": kstack}, where=mine)
    return session, reads, session.function("vfs_read", where=mine, name="counted").count(by=pid)


def prepare(lab: Preparation) -> None:
    """On the host: the module of the very script that the session in the guest makes."""
    session, _, _ = _declare("systemtap")
    script = made(session.spec, StapOptions(), 0.2)
    options = [f"-D{name}={value}" for name, value in script.definitions]
    lab.module(script.text, "spile_session", *options, "--suppress-handler-errors")


def _read() -> None:
    with open("/dev/zero", "rb", buffering=0) as zeros:  # noqa: PTH123 (unbuffered)
        for _ in range(READS):
            zeros.read(SIZE)


def _traced(session: spile.Session, reads: spile.Probe) -> list[spile.Event]:
    child = os.fork()
    if child == 0:
        import time

        time.sleep(20)
        _read()
        os._exit(0)
    with session:
        os.waitpid(child, 0)
        session.wait(1)
        session.stop()
        return list(reads)


def test_a_session_runs_on_systemtap_and_counts_what_the_embedded_engine_counts(prepared: Prepared) -> None:
    found = {}
    for engine, options in (
        ("systemtap", StapOptions(module=prepared.module("spile_session"))),
        ("bpf", None),
    ):
        session, reads, counted = _declare(engine, options)
        events = _traced(session, reads)
        assert [event["size"] for event in events] == [SIZE] * READS, session.losses
        assert all(event["utime"] >= 0 for event in events)
        assert "vfs_read" in str(events[0]["trace"])
        assert dict(counted) == dict.fromkeys(counted, READS) and len(counted) == 1
        assert session.losses.lost == 0
        found[engine] = Counter(event["size"] for event in events)
    assert found["systemtap"] == found["bpf"]
