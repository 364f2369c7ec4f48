"""Probes: what a declaration keeps, what it refuses and where, handlers, counts, and the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import _native
from spile.errors import ProbeNotFound, SpecError, StateError, Unsupported
from spile.expr import arg, comm, cpu, elapsed, isin, kstack, pid, utime
from spile.expr.logic import And
from spile.expr.operand import node_of
from spile.probe import Probe, caller
from spile.spec import COUNT, AggregateSpec, NamedExpr, ProbeSpec, RawTracepoint, SessionSpec, Tracepoint
from spile.table import Cell, Table

SWITCH = "sched:sched_switch"


class _Session:
    """A session's side of the bargain."""

    def __init__(self) -> None:
        self.is_started = False

    def _must_be_declaring(self) -> None:
        if self.is_started:
            raise StateError("this session is running")

    def _events_of(self, probe: Probe[Any]) -> Iterator[Any]:
        return iter([probe.name])


def _probe(target: Any = SWITCH, kind: str = "tracepoint", **options: Any) -> Probe[Any]:
    return Probe(_Session(), kind, target, **options)


def _none(kind: str, pattern: str) -> list[str]:
    return []


def test_the_spec_of_a_whole_declaration() -> None:
    probe = _probe(
        [SWITCH, "sched:sched_wakeup"],
        capture={"ns": utime, "next": arg.next_pid},
        where=[arg.prev_pid != 0, isin(arg.prev_state, 0, 256)],
        name="switches",
        declared_at="script.py:7",
    )
    probe.count()
    probe.count(by=comm)
    probe.count(by=(comm, kstack))
    assert probe._spec() == ProbeSpec(
        name="switches",
        targets=(Tracepoint("sched", "sched_switch"), Tracepoint("sched", "sched_wakeup")),
        capture=(NamedExpr("ns", node_of(utime)), NamedExpr("next", node_of(arg.next_pid))),  # type: ignore[arg-type]
        condition=node_of((arg.prev_pid != 0) & isin(arg.prev_state, 0, 256)),  # type: ignore[arg-type]
        aggregates=(
            AggregateSpec(COUNT, ()),
            AggregateSpec(COUNT, (node_of(comm),)),  # type: ignore[arg-type]
            AggregateSpec(COUNT, (node_of(comm), node_of(kstack))),  # type: ignore[arg-type]
        ),
        deliver=True,
        declared_at="script.py:7",
    )
    assert repr(probe) == "<Probe switches: tracepoint:sched:sched_switch, tracepoint:sched:sched_wakeup>"


def test_names() -> None:
    assert _probe().name == "sched_switch"
    assert _probe(99, "profile").name == "profile"
    assert _probe("sched:sched_wak*").name == "sched_wak"
    assert _probe(name="mine").name == "mine"
    for name in ("", "a b", "1st", 5):
        with pytest.raises(SpecError, match="is an identifier") as raised:
            _probe(name=name)
        assert raised.value.path == "name"


def test_conditions() -> None:
    assert _probe().condition is None
    assert _probe(where=pid == 1).condition == node_of(pid == 1)
    assert _probe(where=[pid == 1]).condition == node_of(pid == 1)
    assert _probe(where=(pid == 1, comm == "x")).condition == node_of((pid == 1) & (comm == "x"))
    assert _probe(where=[]).condition is None
    assert isinstance(_probe(where=[(pid == 1) & (pid != 2), comm == "x"]).condition, And)
    assert _probe(where=spile.expr("pid == 1")).condition == node_of(pid == 1)


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"where": True}, "where", "Python has compared two values of its own"),
        ({"where": "pid == 1"}, "where", "say expr('pid == 1')"),
        ({"where": arg.flags & 4}, "where", "say arg.flags & 4 != 0"),
        ({"where": [pid == 1, 5]}, "where[1]", "not 5"),
        ({"where": arg}, "where", "is a value"),
        ({"capture": "all"}, "capture", "only '*'"),
        ({"capture": {"time": utime}}, "capture['time']", "every event has its time"),
        ({"target": "sched_switch"}, None, "has no category"),
        ({"target": []}, "target", "the list is empty"),
        ({"kind": "profile", "target": 99, "capture": "*"}, "capture", "a timer has no fields"),
        ({"kind": "profile", "target": 99, "capture": [arg.x]}, "capture['x']", "arg.x asks for one"),
        ({"kind": "profile", "target": 99, "where": (arg.x + 1) % 2 == 0}, "where", "arg.x asks for one"),
        ({"kind": "trace", "target": "x"}, None, "no kind of probe"),
    ],
)
def test_what_is_refused_names_path_and_place(options: dict[str, Any], path: str | None, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        _probe(**options, declared_at="script.py:7")
    assert message in raised.value.message
    assert raised.value.path == path
    assert raised.value.declared_at == "script.py:7"
    assert str(raised.value).endswith("declared at script.py:7)")


def test_kinds_that_come_later() -> None:
    with pytest.raises(Unsupported, match="what can be probed now"):
        _probe("openat", "syscall")


def test_the_place_of_a_declaration_is_the_scripts() -> None:
    here = Path(__file__)
    probe = _probe()
    line = _probe.__code__.co_firstlineno + 1
    assert probe.declared_at == f"{here}:{line}"
    session = spile.Session()
    declared = session.tracepoint(SWITCH, capture=[utime])
    assert declared.declared_at == f"{here}:{caller_line() - 1}"
    with pytest.raises(SpecError) as raised:
        session.tracepoint(SWITCH, where=5)
    assert raised.value.declared_at == f"{here}:{caller_line() - 1}"


def caller_line() -> int:
    """The line that calls it."""
    import sys

    return sys._getframe(1).f_lineno


def test_caller_is_outside_of_the_package() -> None:
    assert caller() == f"{Path(__file__)}:{caller_line()}"


def test_decorators_give_the_function_back() -> None:
    probe = _probe()

    @probe.on_event
    def first(event: Any) -> None: ...

    @probe.on_batch
    def second(batch: Any) -> None: ...

    probe.on_event(print)
    assert callable(first) and callable(second)
    assert probe.handlers == [("event", first), ("batch", second), ("event", print)]


def test_what_can_not_handle() -> None:
    async def later(event: Any) -> None: ...

    async def much_later(event: Any) -> Any:
        yield

    for function in (5, None, pid, arg.x, pid == 1):
        with pytest.raises(SpecError, match="on_event takes a function"):
            _probe().on_event(function)  # type: ignore[type-var]
    for coroutine in (later, much_later):
        with pytest.raises(SpecError, match="is async"):
            _probe().on_batch(coroutine)


def test_counts() -> None:
    probe = _probe()
    cell, table, pairs = probe.count(), probe.count(by=comm), probe.count(by=(comm,))
    assert isinstance(cell, Cell)
    assert isinstance(table, Table) and table.scalar
    assert isinstance(pairs, Table) and not pairs.scalar
    assert probe.aggregates == [cell, table, pairs]


def test_aggregates_of_values() -> None:
    probe = _probe()
    probe.sum(arg.size, by=comm)
    probe.min(arg.size)
    probe.max(cpu + 1)
    probe.avg(arg.size)
    probe.stats(arg.size, by=(comm, kstack))
    probe.hist(arg.size // 1024)
    probe.lhist(arg.size, 0, 4096, 256, by=comm)
    probe.quantiles(arg.size)
    probe.top(comm, size=3)
    probe.top(kstack)
    probe.distinct(comm, by=cpu)
    specs = probe._spec().aggregates
    assert [spec.function.to_json() for spec in specs] == [
        *({"kind": kind} for kind in ("sum", "min", "max", "avg", "stats", "hist")),
        {"kind": "lhist", "low": 0, "high": 4096, "step": 256},
        {"kind": "quantiles"},
        {"kind": "top", "size": 3},
        {"kind": "top", "size": 10},
        {"kind": "distinct"},
    ]
    assert [spec.value.spell() for spec in specs if spec.value] == [
        *("arg.size", "arg.size", "cpu + 1", "arg.size", "arg.size", "arg.size // 1024", "arg.size", "arg.size"),
        *("comm", "kstack", "comm"),
    ]
    assert [len(spec.by) for spec in specs] == [1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 1]
    assert [aggregate.function for aggregate in probe.aggregates] == [spec.function for spec in specs]
    _native.verify_spec(SessionSpec((probe._spec(),)).to_json())


@pytest.mark.parametrize(
    ("declare", "path", "message"),
    [
        (lambda probe: probe.sum(comm), "value", "sum() takes a number, and comm is a string: top(), distinct()"),
        (lambda probe: probe.hist(kstack), "value", "hist() takes a number, and kstack is a stack"),
        (lambda probe: probe.avg(5), "value", "avg() takes a capture, such as pid or arg.count, not 5"),
        (lambda probe: probe.max(pid == 1), "value", "max() takes a value, and pid == 1 is a condition"),
        (lambda probe: probe.min(arg), "value", "arg alone"),
        (lambda probe: probe.stats(elapsed), "value", "elapsed is the time between two"),
        (lambda probe: probe.sum(pid, by=[comm]), "by", "by=(comm,)"),
        (lambda probe: probe.lhist(pid, 0, 100, 7), "step", "from 0 to 100 there is no whole number of steps of 7"),
        (lambda probe: probe.lhist(pid, 0, 100, 0), "step", "no whole number of steps"),
        (lambda probe: probe.lhist(pid, 9, 0, 3), "step", "no whole number of steps"),
        (lambda probe: probe.lhist(pid, 0, 65_537, 1), "step", "at most 65,536"),
        (lambda probe: probe.lhist(pid, 0.5, 1, 1), "low", "low=0.5: lhist() takes a whole number"),
        (lambda probe: probe.lhist(pid, 0, 1 << 63, 1 << 62), "high", "at most 2**63 - 1"),
        (lambda probe: probe.lhist(pid, 0, 1 << 70, 1), "high", "does not fit 64 bits"),
        (lambda probe: probe.top(comm, size=0), "size", "size=0: 1 to 65,536"),
        (lambda probe: probe.top(comm, size="3"), "size", "size='3': top() takes a whole number"),
        (lambda probe: probe.distinct(pid == 1), "value", "is a condition"),
    ],
)
def test_aggregates_that_are_none(declare: Callable[[Probe[Any]], Any], path: str, message: str) -> None:
    probe = _probe(declared_at="script.py:7")
    with pytest.raises(SpecError) as raised:
        declare(probe)
    assert message in raised.value.message
    assert (raised.value.path, raised.value.declared_at) == (path, "script.py:7")
    assert probe.aggregates == [] and probe._spec(deliver=True).aggregates == ()


@pytest.mark.parametrize(
    ("by", "path", "message"),
    [
        ((), "by", "by=() is no key"),
        ([comm, pid], "by", "by=(comm, pid,)"),
        (5, "by", "not 5"),
        ("comm", "by", "not the string 'comm'"),
        (pid == 1, "by", "is a condition"),
        ((comm, 5), "by[1]", "not 5"),
        (arg, "by", "arg alone"),
    ],
)
def test_keys_that_are_none(by: Any, path: str, message: str) -> None:
    probe = _probe(declared_at="script.py:7")
    with pytest.raises(SpecError) as raised:
        probe.count(by=by)
    assert message in raised.value.message
    assert (raised.value.path, raised.value.declared_at) == (path, "script.py:7")
    assert probe.aggregates == []


def test_a_timer_counts_by_context_only() -> None:
    probe = _probe(99, "profile")
    probe.count(by=(comm, kstack))
    with pytest.raises(SpecError, match="a timer has no fields"):
        probe.count(by=arg.x)


def test_nothing_is_declared_after_the_start() -> None:
    probe = _probe()
    probe.session.is_started = True  # type: ignore[union-attr]
    for declare in (
        lambda: probe.count(),
        lambda: probe.sum(pid),
        lambda: probe.on_event(print),
        lambda: probe.on_batch(print),
        lambda: probe.capture_also("x", pid),
    ):
        with pytest.raises(StateError):
            declare()
    assert probe.aggregates == [] and probe.handlers == []


def test_captures_can_be_added() -> None:
    probe = _probe()
    probe.capture_also("ns", utime)
    probe.capture_also("trace", kstack)
    assert [named.name for named in probe._spec().capture or ()] == ["ns", "trace"]
    for name, expr, message in [("ns", pid, "captured already"), ("a b", pid, "identifier"), ("x", 5, "not 5")]:
        with pytest.raises(SpecError, match=message):
            probe.capture_also(name, expr)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="every field already"):
        _probe(capture="*").capture_also("x", pid)
    with pytest.raises(SpecError, match="a timer has no fields"):
        _probe(99, "profile").capture_also("x", arg.x)


def test_when_events_are_sent() -> None:
    counted = _probe()
    counted.count()
    assert counted._spec().deliver is False
    assert counted._spec(deliver=True).deliver is True
    handled = _probe()
    handled.on_event(print)
    assert handled._spec().deliver is True
    assert _probe(capture=[])._spec().deliver is True
    assert _probe(capture="*")._spec().capture is None
    with pytest.raises(SpecError, match="does nothing: give it capture=, a handler, something to count"):
        _probe()._spec()


def test_patterns_are_resolved_for_the_spec() -> None:
    probe = _probe("sched_w*", "raw_tracepoint", capture=[])
    assert probe._spec(lambda kind, pattern: ["sched_wakeup"]).targets == (RawTracepoint("sched_wakeup"),)
    with pytest.raises(ProbeNotFound, match="no raw_tracepoint matches"):
        probe._spec(_none)


def test_iteration_is_the_sessions() -> None:
    assert list(_probe()) == ["sched_switch"]
    with pytest.raises(SpecError, match="no session"):
        iter(Probe(None, "tracepoint", SWITCH))


def test_an_event_class_is_kept() -> None:
    class Switch(spile.Event):
        prev, next_ = arg.prev_pid, arg.next_pid

    probe = _probe(capture=Switch)
    assert probe.event_class is Switch
    assert [named.name for named in probe._spec().capture or ()] == ["prev", "next_"]
