"""Functions, returns and spans as they are declared: what a declaration keeps, and what it refuses, with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import spile
from spile import _native, arg, at_start, comm, elapsed, error, expr, isin, kstack, pid, ret, startswith, string, task
from spile.errors import ProbeNotFound, SpecError, StateError
from spile.expr.operand import node_of
from spile.spec import Function, FunctionReturn, SessionSpec, SpanSide, SpanSpec
from streams import feed

SWITCH = "sched:sched_switch"


def _line_of(function: Any) -> int:
    return int(function.__code__.co_firstlineno)


# Functions


def test_functions() -> None:
    session = spile.Session()
    reads = session.function("vfs_read", capture=[arg.count], attach="kprobe")
    returns = session.function_return(["vfs_read", "foo.isra.0"], capture=[ret, error, elapsed, arg.count])
    assert reads.targets == (Function("vfs_read"),) and reads.name == "vfs_read"
    assert returns.targets == (FunctionReturn("vfs_read"), FunctionReturn("foo.isra.0"))
    assert returns.name == "vfs_read_return" and session["vfs_read_return"] is returns
    assert session.probe("function:vfs_write", capture=[pid]).name == "vfs_write"
    assert session.probe("function_return:foo.isra.0", capture=[ret]).name == "foo_isra_0_return"
    assert session.function("function:vfs_open", capture=[pid]).targets == (Function("vfs_open"),)
    spec = session.spec
    assert [probe.attach for probe in spec.probes] == ["kprobe", "auto", "auto", "auto", "auto"]
    _native.verify_spec(spec.to_json())


def test_patterns_of_functions_are_names_when_the_session_starts() -> None:
    asked: list[tuple[str, str]] = []

    def resolve(kind: str, pattern: str) -> list[str]:
        asked.append((kind, pattern))
        return ["vfs_read", "vfs_write"]

    session = spile.Session()
    both = session.function_return("vfs_*", capture=[ret])
    assert both.name == "vfs_return"
    assert both._spec(resolve).targets == (FunctionReturn("vfs_read"), FunctionReturn("vfs_write"))
    # A function's return is listed as the function is.
    assert asked == [("function", "vfs_*")]
    with pytest.raises(ProbeNotFound, match="no function_return matches 'vfs_"):
        both._spec(lambda kind, pattern: [])


@pytest.mark.parametrize(
    ("declare", "path", "message"),
    [
        (lambda s: s.function("vfs-read"), None, "is no function's name"),
        (lambda s: s.function("vfs_read()"), None, "say 'vfs_read'"),
        (lambda s: s.function("ext4::ext4_sync_file"), None, "is no function's name"),
        (lambda s: s.function([]), "target", "the list is empty"),
        (lambda s: s.function(5), None, "not 5"),
        (lambda s: s.function("vfs_read", attach="kprob"), "attach", "did you mean kprobe"),
        (lambda s: s.function("vfs_read", attach=5), "attach", "there is auto, fentry, kprobe_multi, kprobe"),
        (lambda s: s.function("vfs_read", capture=[ret]), "capture['ret']", 'take session.function_return("vfs_read")'),
        (lambda s: s.function("vfs_read", capture={"x": error + 1}), "capture['x']", "which has ret, error, elapsed"),
        (lambda s: s.function("vfs_read", where=elapsed > 5), "where", "is not known when vfs_read is entered"),
        (lambda s: s.function("vfs_read", where=[pid == 1, at_start(pid) == 2]), "where", "has no start"),
        (lambda s: s.function("vfs_read").count(by=(comm, ret)), "by[1]", "session.function_return"),
        (lambda s: s.tracepoint(SWITCH, capture=[ret]), "capture['ret']", "as arg.ret"),
        (lambda s: s.tracepoint(SWITCH, capture=[error]), "capture['error']", "as arg.ret"),
        (lambda s: s.tracepoint(SWITCH, where=elapsed > 5), "where", "session.span(start, end)"),
        (lambda s: s.raw_tracepoint("sched_switch", where=ret != 0), "where", "raw_tracepoint:sched_switch has no ret"),
        (lambda s: s.profile(99, capture=[ret]), "capture['ret']", "a timer returns nothing"),
        (lambda s: s.profile(99, capture=[elapsed]), "capture['elapsed']", "the time between two"),
        (lambda s: s.tracepoint(SWITCH, capture=[at_start(comm)]), "capture['comm_at_start']", "has no start; spans"),
        (
            lambda s: s.function_return("vfs_read", capture={"x": at_start(ret)}),
            "capture['x']",
            "take it without at_start()",
        ),
        (lambda s: s.function_return("vfs_read").count(by=at_start(elapsed + pid)), "by", "not known yet"),
    ],
)
def test_what_is_known_nowhere_but_at_a_return(declare: Callable[[Any], Any], path: str | None, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        declare(spile.Session())
    assert message in raised.value.message
    assert raised.value.path == path
    assert raised.value.declared_at == f"{__file__}:{_line_of(declare)}" or not path


# at_start


def test_at_start_is_what_it_holds() -> None:
    node = node_of(at_start(string(arg.p)))
    assert node is not None and node.spell() == "at_start(string(arg.p))"
    for text, made in [
        ("at_start(comm)", at_start(comm)),
        ("at_start(arg.count) + 1", at_start(arg.count) + 1),
        ("at_start(comm) == 'x'", at_start(comm) == "x"),
        ("at_start(kstack[:8])", at_start(kstack[:8])),
        ("ret < 0 and error == 2 and elapsed > 5 * ms", (ret < 0) & (error == 2) & (elapsed > 5 * spile.ms)),
        ("isin(at_start(comm), 'a', 'b')", isin(at_start(comm), "a", "b")),
        ("startswith(at_start(comm), 'a')", startswith(at_start(comm), "a")),
    ]:
        assert node_of(expr(text)) == node_of(made)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: at_start(at_start(pid)), "once is enough: say at_start(pid)"),
        (lambda: at_start(at_start(pid) + 1), "once is enough"),
        (lambda: at_start(5), "takes a capture"),  # type: ignore[arg-type]
        (lambda: at_start(pid == 1), "is a condition"),  # type: ignore[arg-type]
        (lambda: at_start(arg), "arg alone is no value"),
        (lambda: at_start(kstack) == 1, "is a stack"),  # type: ignore[comparison-overlap]
        (lambda: at_start(comm) + 1, "is a string"),  # type: ignore[operator]
        (lambda: at_start(comm) == "a name of more than 15", "cuts a comm to 15"),
        (lambda: at_start(spile.probe_name) == "x", "decides nothing"),
        (lambda: expr("at_start(at_start(pid))"), "once is enough"),
    ],
)
def test_what_at_start_refuses(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        make()
    assert message in raised.value.message


# Spans


def test_the_spec_of_a_span() -> None:
    session = spile.Session()
    woken = session.tracepoint(["sched:sched_wakeup", "sched:sched_wakeup_new"])
    preempted = session.tracepoint(SWITCH, where=[isin(arg.prev_state, 0, 256), arg.prev_pid != 0])
    switched = session.tracepoint(SWITCH)
    wait = session.span(
        start=[(woken, arg.pid), (preempted, arg.prev_pid)],
        end=(switched, arg.next_pid),
        restart=False,
        max_open=1024,
        where=elapsed > 5,
        capture={"ns": elapsed, "who": at_start(comm), "next": arg.next_comm},
    )
    wait.count(by=(spile.cpu, at_start(kstack)))
    spec = session.spec
    assert [probe.deliver for probe in spec.probes] == [False, False, False, True]
    span = spec.probes[3]
    assert (span.name, span.targets, session["span"]) == ("span", (), wait)
    key = {name: node_of(arg[name]) for name in ("pid", "prev_pid", "next_pid")}
    assert span.span == SpanSpec(
        start=(SpanSide(0, key["pid"]), SpanSide(1, key["prev_pid"])),  # type: ignore[arg-type]
        end=(SpanSide(2, key["next_pid"]),),  # type: ignore[arg-type]
        restart=False,
        max_open=1024,
    )
    assert repr(wait) == "<Probe span: from sched_wakeup, sched_switch to sched_switch_2>"
    _native.verify_spec(spec.to_json())
    assert SessionSpec.from_json(spec.to_json()) == spec
    # Told apart by its own side's key, by default the task.
    again = session.span(switched, [switched], name="again", capture=[elapsed])
    assert again._spec(indexes={id(switched): 2}).span == SpanSpec((SpanSide(2, _task()),), (SpanSide(2, _task()),))


def _task() -> Any:
    return node_of(task)


def test_a_span_between_functions() -> None:
    session = spile.Session()
    made = session.function_return("kmalloc")
    freed = session.function("kfree")
    life = session.span((made, ret), (freed, arg[0]), capture={"size": at_start(arg.size), "at": at_start(kstack)})
    assert json.loads(session.spec.to_json())["probes"][2]["span"]["start"][0]["key"] == {
        "op": "context",
        "name": "ret",
    }
    _native.verify_spec(session.spec.to_json())
    # The start is a return, which knows what it returned.
    life.capture_also("pointer", at_start(ret))
    _native.verify_spec(session.spec.to_json())


def test_an_event_class_types_a_span() -> None:
    class Wait(spile.Event):
        ns, who = elapsed, at_start(comm)

    session = spile.Session()
    switched = session.tracepoint(SWITCH)
    wait = session.span(switched, switched, capture=Wait)
    assert wait.event_class is Wait
    assert [named.name for named in wait._spec(indexes={id(switched): 0}).capture or ()] == ["ns", "who"]


def _two(session: spile.Session) -> tuple[spile.Probe[Any], spile.Probe[Any]]:
    return session.tracepoint(SWITCH), session.tracepoint("sched:sched_wakeup")


_OTHER = spile.Session().tracepoint(SWITCH, capture=[pid])


@pytest.mark.parametrize(
    ("declare", "path", "message"),
    [
        (lambda s, a, b: s.span([], b), "start", "the list is empty"),
        (lambda s, a, b: s.span(a, ()), "end", "the list is empty"),
        (lambda s, a, b: s.span(SWITCH, b), "start", "a span pairs probes"),
        (lambda s, a, b: s.span(a, [b, None]), "end[1]", "a span pairs probes"),
        (lambda s, a, b: s.span(a, _OTHER), "end", "belongs to another session"),
        (lambda s, a, b: s.span(s.span(a, b), b), "start", "is a span itself"),
        (lambda s, a, b: s.span([a, a], b), "start[1]", "sched_switch stands twice"),
        (lambda s, a, b: s.span((a, comm), b), "start", "comm is a string"),
        (lambda s, a, b: s.span(a, (b, kstack)), "end", "is a stack"),
        (lambda s, a, b: s.span(a, (b, 5)), "end", "a key is a capture"),
        (lambda s, a, b: s.span(a, b, key=(pid, arg.x)), "key", "several at once can't be a key"),
        (lambda s, a, b: s.span(a, b, key=pid == 1), "key", "is a condition"),
        (lambda s, a, b: s.span(a, b, key=arg), "key", "arg alone is no value"),
        (lambda s, a, b: s.span(a, b, key=at_start(pid)), "start", "without at_start()"),
        (lambda s, a, b: s.span(a, b, key=elapsed), "start", "the time between two"),
        (lambda s, a, b: s.span(s.profile(99), b, key=arg.x), "start", "a timer has no fields"),
        (lambda s, a, b: s.span(a, b, restart=1), "restart", "True or False, not 1"),
        (lambda s, a, b: s.span(a, b, max_open=0), "max_open", "1 … 1048576, not 0"),
        (lambda s, a, b: s.span(a, b, max_open=(1 << 20) + 1), "max_open", "1 … 1048576"),
        (lambda s, a, b: s.span(a, b, max_open=True), "max_open", "not True"),
        (lambda s, a, b: s.span(a, b, max_open=1.5), "max_open", "not 1.5"),
        (lambda s, a, b: s.span(a, b, capture=[ret]), "capture['ret']", "a span has elapsed, and no ret"),
        (lambda s, a, b: s.span(a, b, where=error != 0), "where", "a span has elapsed, and no error"),
        (lambda s, a, b: s.span(a, b, capture={"x": at_start(elapsed)}), "capture['x']", "the time between two"),
        (lambda s, a, b: s.span(a, b).count(by=at_start(ret)), "by", "has no ret"),
        (lambda s, a, b: s.span(a, s.profile(99), capture="*"), "capture", "a timer has no fields"),
        (lambda s, a, b: s.span(s.profile(9), b, capture=[at_start(arg.x)]), "capture['x_at_start']", "a timer has no"),
        (lambda s, a, b: s.span(a, b, name="a b"), "name", "is an identifier"),
    ],
)
def test_what_a_span_refuses(declare: Callable[[Any, Any, Any], Any], path: str, message: str) -> None:
    session = spile.Session()
    with pytest.raises(SpecError) as raised:
        declare(session, *_two(session))
    assert message in raised.value.message
    assert raised.value.path == path
    assert raised.value.declared_at == f"{__file__}:{_line_of(declare)}"


def test_what_feeds_nothing_must_do_something() -> None:
    session = spile.Session()
    a, b = _two(session)
    with pytest.raises(SpecError, match="does nothing: give it capture=, a handler, something to count"):
        _ = session.spec
    span = session.span(a, b)
    with pytest.raises(SpecError, match="the probe span does nothing"):
        _ = session.spec
    span.count()
    assert [probe.deliver for probe in session.spec.probes] == [False] * 3
    # With run(), which gives events to handlers alone, it is the same.
    session._wiring.must_have_readers()
    assert [probe.deliver for probe in session.spec.probes] == [False] * 3
    c = session.tracepoint("sched:sched_wakeup_new", capture=[pid])
    session.span(c, b, name="other").count()
    with pytest.raises(SpecError, match="nothing handles the events of probe 'sched_wakeup_new'"):
        session._wiring.must_have_readers()


def test_a_span_is_handled_like_any_probe() -> None:
    session = spile.Session()
    a, b = _two(session)
    span = session.span(a, b, capture={"ns": elapsed}, name="wait")

    @span.on_event
    def on_wait(event: spile.Event, ns: int) -> None: ...

    assert span.handlers == [("event", on_wait)]
    assert session._wiring.discover({"on_wait": on_wait}).indexes == {2}
    assert span.condition is None


def test_nothing_is_paired_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, [(), (), ("ns",)])
    session = spile.Session()
    a, b = _two(session)
    session.span(a, b, capture={"ns": elapsed})
    with session, pytest.raises(StateError, match="declare probes"):
        session.span(a, b)
