"""A session's life, loops and ends, without a kernel: the events come from streams that the tests write."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from typing import Any

import pytest

import spile
from spile import SpecError, StateError, Unsupported, arg, utime
from spile.systemtap import StapOptions
from streams import Feed, feed

SWITCH = "sched:sched_switch"


def one(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[spile.Session, spile.Probe[Any], Feed]:
    """A session of one probe that captures x."""
    engine = feed(monkeypatch, [("x",)])
    session = spile.Session(**options)
    return session, session.tracepoint(SWITCH, capture={"x": arg.prev_pid}), engine


def later(seconds: float, function: Any) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.start()
    return timer


# Life


def test_a_session_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    assert repr(session) == "<Session, declared: sched_switch>" and not session.running()
    with session:
        assert session.running() and session.ended_by is None
        with pytest.raises(StateError, match="running; a session runs once"), session:
            pass
        with pytest.raises(StateError, match="running; a session runs once"):
            session.start()
    assert engine.calls == ["start", "stop"]
    assert not session.running() and session.ended_by == "stop"
    with pytest.raises(StateError, match="stopped; a session runs once"), session:
        pass
    with pytest.raises(StateError, match="stopped; a session runs once"):
        session.start()


def test_nothing_is_declared_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, _ = one(monkeypatch)
    with session:
        for declare in (
            lambda: session.tracepoint(SWITCH),
            lambda: session.profile(99),
            lambda: probe.count(),
            lambda: probe.on_event(print),
            lambda: probe.on_batch(print),
        ):
            with pytest.raises(StateError, match=r"declare .* before it starts"):
                declare()


def test_a_failed_start_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    engine.fails = spile.PrivilegeError("CAP_BPF is missing")
    with pytest.raises(PermissionError):
        session.start()
    engine.fails = None
    with session:
        assert session.running()


def test_stopping_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    session.stop()
    session.start()
    session.stop()
    session.stop()
    assert engine.calls == ["start", "stop"] and session.ended_by == "stop"


def test_an_empty_session_is_refused() -> None:
    with pytest.raises(SpecError, match="a session needs a probe"):
        spile.Session().start()


def test_a_probe_that_does_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, [()])
    session = spile.Session()
    session.tracepoint(SWITCH)
    with pytest.raises(SpecError, match=r"sched_switch does nothing.*test_session.py"):
        session.start()


def test_a_dropped_session_warns_and_detaches(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    session.start()
    with pytest.warns(ResourceWarning, match="dropped while it ran"):
        del session, probe
        gc.collect()
    assert engine.calls == ["start", "stop"]


def test_a_forked_child_s_session_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with session:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                next(iter(session))
            except StateError:
                session.stop()
                code = 0 if "stop" not in engine.calls else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert session.running()


# Iteration


def test_events_in_order_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with session:
        engine.write((1, 10, 5), (1, 20, 6))
        seen = []
        for event in session:
            seen.append((event.time, event["x"], event.probe))
            if len(seen) == 2:
                engine.write((1, 30, 7))  # queued before the stop: still delivered
                session.stop()
    assert seen == [(10, 5, "sched_switch"), (20, 6, "sched_switch"), (30, 7, "sched_switch")]
    assert session.ended_by == "stop"


def test_break_leaves_it_running_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with session:
        engine.write(*[(1, n, n) for n in range(10)])
        first = []
        for event in session:
            first.append(event["x"])
            if len(first) == 4:
                break
        assert session.running()
        later(0.05, session.stop)
        assert first + [event["x"] for event in session] == list(range(10))


def test_what_is_queued_can_be_read_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    session.start()
    engine.write((1, 1, 1), (1, 2, 2))
    session.stop()
    assert [event["x"] for event in probe] == [1, 2]
    assert list(session) == []


def test_iterating_before_the_start_says_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, _ = one(monkeypatch)
    for read in (lambda: iter(session), lambda: iter(probe), session.batches, lambda: session.every(1), session.wait):
        with pytest.raises(StateError, match="with session:"):
            read()


def test_one_consumer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with session:
        engine.write((1, 1, 1), (1, 2, 2))
        loop = iter(session)
        next(loop)
        for other in (lambda: next(iter(session)), session.run, session.wait, lambda: next(iter(session.every(1)))):
            with pytest.raises(StateError, match="being read already"):
                other()
        del loop
        assert next(iter(session))["x"] == 2


def test_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with session:
        engine.write((1, 1, 1), (1, 2, 2))
        session.stop()
        assert [[event["x"] for event in batch] for batch in session.batches()] == [[1, 2]]


def test_iteration_yields_what_has_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("x",), ("x",)])
    session = spile.Session()
    first = session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    second = session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    handled: list[int] = []
    first.on_event(lambda x: handled.append(x))
    with session:
        engine.write((1, 1, 1), (2, 2, 2), (1, 3, 3), (2, 4, 4))
        later(0.05, session.stop)
        assert [event["x"] for event in session] == [2, 4] and handled == [1, 3]
        with pytest.raises(StateError, match="has a handler"):
            iter(first)
        assert list(second) == []
        with pytest.raises(StateError, match="on_batch"):
            session.batches()


def test_a_probe_s_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("x",), ("x",)])
    session = spile.Session()
    session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    second = session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    with session:
        engine.write((1, 1, 1), (2, 2, 2), (1, 3, 3))
        session.stop()
        assert [event["x"] for event in second] == [2]


def test_a_probe_that_only_counts_has_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, [()])
    session = spile.Session()
    probe = session.tracepoint(SWITCH)
    monkeypatch.setattr(spile.Session, "_bind_tables", lambda self, running: None)
    probe.count()
    with session, pytest.raises(StateError, match="sends no events: it only counts"):
        iter(probe)


# Running


def test_run_calls_handlers_in_order_and_ends_by_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    calls: list[Any] = []

    @probe.on_event
    def first(x: int, event: spile.Event, cpu: int) -> None:
        calls.append(("first", x, event["x"], cpu))

    @probe.on_event
    def second(x: int) -> None:
        calls.append(("second", x))

    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 7), (1, 2, 8), (1, 3, 9)))
    session.run(limit=2)
    assert calls == [("first", 7, 7, 0), ("second", 7), ("first", 8, 8, 0), ("second", 8)]
    assert session.ended_by == "limit"


def test_limit_counts_handled_events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("x",), ("x",)])
    session = spile.Session()
    session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    seen: list[int] = []
    session.tracepoint(SWITCH, capture={"x": arg.prev_pid}, name="b").on_event(lambda x: seen.append(x))
    with session:
        engine.write((1, 1, 1), (2, 2, 2), (1, 3, 3), (2, 4, 4), (2, 5, 5))
        session.run(limit=2)
    assert seen == [2, 4]


def test_run_refuses_events_that_nobody_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, _ = one(monkeypatch)
    with pytest.raises(SpecError, match=r"nothing handles the events of probe 'sched_switch': write on_sched_switch"):
        session.run(duration=1)


def test_run_finds_handlers_and_calls_the_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    calls: list[Any] = []
    handlers = {
        "on_sched_switch": lambda x: calls.append(x),
        "on_end_trace_session": lambda session: calls.append((session.ended_by, session.running())),
    }
    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 1), (1, 2, 2)))
    session.run(handlers=handlers, duration=0.05)
    assert calls == [1, 2, ("duration", False)]


def test_a_handler_s_exception_ends_the_session_and_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    calls: list[Any] = []

    def on_sched_switch(x: int) -> None:
        calls.append(x)
        raise ZeroDivisionError(x)

    def on_end_trace_session() -> None:
        calls.append(engine.calls[-1])
        raise ValueError("the end, too")

    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 1), (1, 2, 2)))
    with pytest.raises(ZeroDivisionError) as caught:
        session.run(handlers={"on_sched_switch": on_sched_switch, "on_end_trace_session": on_end_trace_session})
    assert calls == [1, "stop"] and session.ended_by == "error"
    assert caught.traceback[-1].name == "on_sched_switch"
    assert "ValueError('the end, too')" in caught.value.__notes__[0]


def test_the_end_handler_s_own_exception_propagates(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, _ = one(monkeypatch)

    def on_end_trace_session() -> None:
        raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        session.run(handlers={"on_sched_switch": print, "on_end_trace_session": on_end_trace_session}, duration=0.01)


def test_a_wrong_handler_is_refused_before_anything_is_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with pytest.raises(SpecError, match=r"parameter 'y' .* is not captured"):
        session.run(handlers={"on_sched_switch": lambda y: None})
    with pytest.raises(SpecError, match=r"did you mean on_sched_switch\?"):
        session.run(handlers={"on_sched_swich": print})
    assert engine.calls == []


def test_stop_from_a_handler_and_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    seen: list[int] = []

    @probe.on_event
    def handler(x: int, session: spile.Session) -> None:
        seen.append(x)
        if x == 2:
            session.stop()

    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 1), (1, 2, 2), (1, 3, 3)))
    session.run()
    assert seen == [1, 2, 3] and session.ended_by == "stop"  # what was queued is delivered
    other, probe, _ = one(monkeypatch)
    probe.on_event(print)
    later(0.05, other.stop)
    other.run()
    assert other.ended_by == "stop"


def test_batch_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = feed(monkeypatch, [("x",), ("x",)])
    session = spile.Session()
    seen: list[Any] = []
    first = session.tracepoint(SWITCH, capture={"x": arg.prev_pid})
    first.on_batch(lambda batch: seen.append([event["x"] for event in batch]))
    session.tracepoint(SWITCH, capture={"x": arg.prev_pid}, name="b").on_event(lambda x: seen.append(x))
    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 1), (2, 2, 2), (1, 3, 3)))
    session.run(duration=0.05)
    assert seen == [2, [1, 3]]


def test_a_whole_batch_goes_to_its_handler_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    seen: list[Any] = []
    probe.on_batch(seen.append)
    monkeypatch.setattr(engine, "start", lambda: engine.write((1, 1, 1), (1, 2, 2)))
    session.run(duration=0.05)
    assert [len(batch) for batch in seen] == [2]


def test_run_inside_with(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    seen: list[int] = []
    probe.on_event(lambda x: seen.append(x))
    with session:
        engine.write((1, 1, 1))
        session.run(duration=0.05)
    assert seen == [1] and session.ended_by == "duration" and engine.calls == ["start", "stop"]


@pytest.mark.parametrize(("option", "value"), [("duration", 0), ("duration", -1), ("limit", 0)])
def test_absurd_ends(monkeypatch: pytest.MonkeyPatch, option: str, value: int) -> None:
    session, _, _ = one(monkeypatch)
    with pytest.raises(SpecError, match=option):
        session.run(**{option: value})


# Waiting and ticking


def test_every_ticks_and_the_last_tick_comes_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    begin, states = time.monotonic(), []
    with session:
        for tick in session.every(0.05, duration=0.15):
            states.append((tick, "stop" in engine.calls))
    assert states == [(1, False), (2, False), (3, True)]
    assert 0.14 < time.monotonic() - begin < 1
    assert session.ended_by == "duration"


def test_every_with_handlers_ticks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    seen: list[int] = []
    probe.on_event(lambda x: seen.append(x))
    with session:
        ticks = []
        for tick in session.every(0.05, duration=0.15):
            ticks.append(tick)
            engine.write((1, tick, tick)) if tick < 3 else None
    assert ticks == [1, 2, 3] and seen == [1, 2]


def test_a_slow_body_skips_ticks_and_stop_gives_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, _ = one(monkeypatch)
    ticks = []
    with session:
        for tick in session.every(0.02):
            ticks.append(tick)
            time.sleep(0.05)
            if len(ticks) == 2:
                session.stop()
    assert len(ticks) == 2 and ticks[1] >= 3


def test_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch)
    seen: list[int] = []
    probe.on_event(lambda x: seen.append(x))
    with session:
        engine.write((1, 1, 1))
        assert session.wait(0.03) is False and seen == [1]
        later(0.03, session.stop)
        assert session.wait() is True


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    session, _, engine = one(monkeypatch)
    ends: list[Any] = []
    handlers = {"on_sched_switch": print, "on_end_trace_session": lambda: ends.append(session.ended_by)}
    later(0.05, lambda: os.kill(os.getpid(), number))
    session.run(handlers=handlers)
    assert ends == ["interrupt"] and engine.calls == ["start", "stop"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_ends_a_loop_after_what_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    seen = []
    with session:
        engine.write(*[(1, n, n) for n in range(5)])
        for event in session:
            seen.append(event["x"])
            if event["x"] == 1:
                os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert seen == list(range(5)) and session.ended_by == "interrupt"


def test_a_second_ctrl_c_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with pytest.raises(KeyboardInterrupt), session:
        engine.write(*[(1, n, n) for n in range(5)])
        for _ in session:
            os.kill(os.getpid(), signal.SIGINT)
    assert session.ended_by == "interrupt" and engine.calls == ["start", "stop"]


def test_outside_a_loop_ctrl_c_is_python_s(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    with pytest.raises(KeyboardInterrupt), session:
        os.kill(os.getpid(), signal.SIGINT)
    assert session.ended_by == "interrupt" and engine.calls == ["start", "stop"]


def test_outside_a_loop_sigterm_ends_with(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch, command=["sleep", "60"])
    with pytest.raises(SystemExit), session:
        os.kill(os.getpid(), signal.SIGTERM)
    assert session.ended_by == "interrupt" and engine.calls == ["start", "stop"]
    assert session.returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_in_another_thread_no_signal_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, _ = one(monkeypatch)
    probe.on_event(print)
    thread = threading.Thread(target=lambda: session.run(duration=0.1))
    thread.start()
    time.sleep(0.03)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    thread.join()
    assert session.ended_by == "duration"


# asyncio


def test_async_for(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)

    async def main() -> list[int]:
        seen = []
        async with session:
            engine.write((1, 1, 1), (1, 2, 2))
            async for event in session:
                seen.append(event["x"])
                if len(seen) == 1:
                    break
            async for event in session:
                seen.append(event["x"])
                session.stop()
            return seen

    assert asyncio.run(main()) == [1, 2]
    assert session.ended_by == "stop"


def test_async_cancellation_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    threads = threading.active_count()

    async def main() -> None:
        async def read() -> None:
            async for _ in session:
                pass

        async with session:
            task = asyncio.create_task(read())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert threading.active_count() == threads
            assert session.running()
            engine.write((1, 1, 1))
            async for event in session:  # the next one may read
                assert event["x"] == 1
                break

    asyncio.run(main())
    assert engine.calls == ["start", "stop"]


def test_async_ticks_and_batches_let_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch)
    others = 0

    async def main() -> tuple[list[int], list[int]]:
        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0.001)

        task = asyncio.create_task(other())
        async with session:
            engine.write((1, 1, 1), (1, 2, 2))
            ticks = [tick async for tick in session.every(0.02, duration=0.06)]
            sizes = [len(batch) async for batch in session.batches()]
        task.cancel()
        return ticks, sizes

    assert asyncio.run(main()) == ([1, 2, 3], [2])
    assert others > 5


# Losses and looking


def test_losses_are_reported_once_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch, buffer=1 << 20)
    probe.on_event(print)
    engine.rows = [{"probe": 0, "target": 0, "hits": 5, "delivered": 2, "ring_full": 3}]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with session:
            session.run(duration=0.01)
        session.stop()
    (warning,) = caught
    assert warning.category is spile.LossWarning and warning.filename == __file__
    assert "3 found the ring buffer full: raise buffer=2 << 20 (now 1 << 20)" in str(warning.message)
    assert session.losses["sched_switch"].lost == 3 and session.losses.balance == 0


def test_explain_check_and_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, engine = one(monkeypatch, pid=os.getpid(), stack_depth=8)
    session.check()
    assert engine.calls == [] and session.explain() == "explained"
    spec = session.spec
    assert spec.target.pid == os.getpid() and not spec.target.exclude_self
    assert spec.limits.stack_depth == 8 and spec.probes[0].name == "sched_switch"
    assert session["sched_switch"] is probe
    with pytest.raises(KeyError, match="did you mean sched_switch"):
        session["sched_swich"]


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    session = spile.Session()
    probes = [session.tracepoint(SWITCH), session.raw_tracepoint("sched_switch"), session.profile(99)]
    assert [probe.name for probe in probes] == ["sched_switch", "sched_switch_2", "profile"]
    with pytest.raises(SpecError, match="two probes are called 'profile'"):
        session.profile(1, name="profile")
    assert session.probe("sched:sched_wakeup").name == "sched_wakeup"
    assert session.probe("profile:7", capture=[utime]).declared_at == f"{__file__}:{_line()}"


def _line() -> int:
    import sys

    return sys._getframe(1).f_lineno


def test_where_functions_cannot_be_probed_the_error_names_tracepoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "spile._native.list_probes",
        lambda pattern="*": [("tracepoint", "syscalls:sys_enter_read"), ("tracepoint", "x:y")],
    )

    def refuse(*_: Any) -> None:
        raise Unsupported("function:vfs_read can't be probed here")

    monkeypatch.setattr(spile._native.Engine, "bpf", refuse)
    for declare in ("function", "function_return"):
        session = spile.Session()
        getattr(session, declare)("vfs_read", capture=[utime])
        with pytest.raises(Unsupported, match=r"probed here; the nearest tracepoints are syscalls:sys_enter_read$"):
            session.start()
    session = spile.Session()
    session.tracepoint("x:y", capture=[utime])
    with pytest.raises(Unsupported, match=r"probed here$"):
        session.start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "perf"}, "no engine 'perf'"),
        ({"pid": 0}, "pid is a process id"),
        ({"pid": True}, "pid is a process id"),
        ({"pid": 1, "command": "true"}, "choose one"),
        ({"pid": 1, "system_wide": True}, "contradicts pid="),
        ({"cgroup": "x", "system_wide": True}, "contradicts cgroup="),
        ({"on_full": "blok"}, "did you mean block"),
        ({"interval": -1}, "interval"),
        ({"command": []}, "empty"),
    ],
)
def test_contradictions_and_absurdities(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spile.Session(**options)
    with pytest.raises(SpecError, match="engine='systemtap'"):
        spile.Session(systemtap=StapOptions())


def test_a_cgroup_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, _ = one(monkeypatch, cgroup="no/such/group")
    with pytest.raises(SpecError, match="no cgroup"):
        session.start()


# Commands


def test_a_command_s_end_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch, command=["sh", "-c", "exit 3"])
    with session:
        assert session.spec.target.pid == session._command.pid  # type: ignore[union-attr]
        assert list(session) == []
    assert session.ended_by == "command" and session.returncode == 3 and engine.calls == ["start", "stop"]


def test_the_session_s_end_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    session, probe, _ = one(monkeypatch, command=["sleep", "60"], system_wide=True)
    probe.on_event(print)
    session.run(duration=0.05)
    assert session.ended_by == "duration" and session.returncode == -signal.SIGTERM
    assert session.spec.target.pid is None


def test_a_failed_start_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    session, _, engine = one(monkeypatch, command=["sleep", "60"])
    engine.fails = spile.EngineError("no")
    with pytest.raises(spile.EngineError):
        session.start()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_s_end_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "0.1"])
    session, _, _ = one(monkeypatch, pid=child.pid)
    with session:
        assert list(session) == []
    assert session.ended_by == "end"
    child.wait()
    again, _, _ = one(monkeypatch, pid=child.pid)
    with pytest.raises(SpecError, match=f"no process {child.pid}"):
        again.start()
