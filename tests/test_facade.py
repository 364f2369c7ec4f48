"""The text of 2008."""

from __future__ import annotations

from typing import Any

import pytest

import spile
from spile import SpecError, StateError, Systemtap, arg
from spile.spec import Function
from streams import feed


def test_functions_are_probed_at_their_entry() -> None:
    probe = Systemtap.probeFunc("vfs_read")
    assert probe.session["vfs_read"].targets == (Function("vfs_read"),)
    assert Systemtap.trace is spile.Stack


def test_handlers_are_filled_as_in_2008(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("utime", "size")])
    probe = Systemtap.probe("tracepoint:sched:sched_switch")
    probe.captureUtime("utime")
    probe.capture("size", arg.prev_pid)
    seen: list[Any] = []

    def on_sched_switch(id: int, user_time: int, amount: int) -> None:
        seen.append((id, user_time, amount))
        probe.stop()

    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 10, 7, 8)))
    probe.trace({"on_sched_switch": on_sched_switch, "on_end_trace_session": lambda: seen.append("end")})
    assert seen == [(1, 7, 8), "end"]


def test_events(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("utime",)])
    probe = Systemtap.probe("sched:sched_switch")
    probe.captureUtime("utime")
    with pytest.raises(StateError, match="not been started"):
        probe.getEvent()
    probe.trace()
    engine.write((1, 10, 7), (1, 20, 8))
    probe.stop()
    assert [event["utime"] for event in probe.getEvent()] == [7, 8]
    with pytest.raises(StateError):
        probe.trace()
    with pytest.raises(StateError):
        probe.captureUtime("again")


def test_a_probe_without_captures_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [()])
    probe = Systemtap.probe("sched:sched_switch")
    probe.trace()
    engine.write((1, 10))
    probe.stop()
    assert [(event.id, len(event)) for event in probe.getEvent()] == [(1, 0)]


def test_two_captures_of_one_name() -> None:
    probe = Systemtap.probe("sched:sched_switch")
    probe.captureUtime("x")
    with pytest.raises(SpecError, match="'x'"):
        probe.captureBacktrace("x")
