"""Calls of handlers: in order, each with its own arguments, however many wait to be made together."""

from __future__ import annotations

import functools
import itertools
import queue
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spile import _native
from test_native import open_, read, started

Call = tuple[Any, ...]

#: Where an integer begins to have an object of its own, and where its digits become one more.
EDGES = [256, 257, (1 << 30) - 1, 1 << 30, (1 << 60) - 1, 1 << 60, (1 << 63) - 1]
VALUES = st.one_of(
    st.integers(-6, 300),
    st.sampled_from([5000, *EDGES, *(-edge for edge in EDGES)]),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
#: Events of the two kinds, in runs that are longer and shorter than what is called at once.
RUNS = st.lists(st.tuples(st.booleans(), VALUES, st.sampled_from([1, 2, 7, 8, 9, 40, 100])), max_size=8)


def batch_of(runs: list[tuple[bool, int, int]]) -> tuple[_native.Batch | None, list[Call]]:
    """A batch of such events, and what they hold: kind, time, value or path."""
    stream, events = b"", list[Call]()
    for is_read, value, count in runs:
        for number in range(count):
            at = 1000 + len(events)
            held = (value + number) % (1 << 63) if value >= 0 else value
            events.append((1, at, held) if is_read else (2, at, f"/{held}"))
            stream += read(at, held) if is_read else open_(at, f"/{held}".encode())
    return (started(stream).next_batch(5) if events else None), events


def handlers(note: Callable[[Call], None]) -> dict[int, Any]:
    """Two handlers for one kind of event, three for the other, of 0 to 3 arguments."""

    class Object:
        def method(self, value: int) -> None:
            note(("method", value))

    return {
        1: [(Object().method, [0]), (lambda at, value, name: note(("three", at, value, name)), ["time", 0, ("x",)])],
        2: [
            (lambda path: note(("path", path)), [0]),
            (lambda: note(("none",)), []),
            (lambda event: note(("event", event.path, event.time)), ["event"]),
        ],
    }


def calls_for(events: list[Call]) -> list[Call]:
    """The calls that those handlers get, in order."""
    calls: list[Call] = []
    for kind, at, held in events:
        if kind == 1:
            calls += [("method", held), ("three", at, held, "x")]
        else:
            calls += [("path", held), ("none",), ("event", held, at)]
    return calls


@given(runs=RUNS, start=st.integers(0, 50), limit=st.one_of(st.none(), st.integers(0, 120)))
def test_calls_come_in_order_each_with_its_own_arguments(
    runs: list[tuple[bool, int, int]], start: int, limit: int | None
) -> None:
    batch, events = batch_of(runs)
    if batch is None:
        return
    seen: list[Call] = []
    end = _native.Dispatcher(handlers(seen.append)).dispatch(batch, start, limit)
    stop = len(events) if limit is None else min(len(events), start + limit)
    assert seen == calls_for(events[start:stop])
    assert end == max(start, stop)


@given(runs=RUNS, fails_at=st.integers(0, 400))
def test_after_a_call_that_raises_there_is_no_other(runs: list[tuple[bool, int, int]], fails_at: int) -> None:
    batch, events = batch_of(runs)
    expected, seen = calls_for(events), list[Call]()
    if batch is None or fails_at >= len(expected):
        return

    def note(call: Call) -> None:
        seen.append(call)
        if len(seen) > fails_at:
            raise ZeroDivisionError

    dispatcher = _native.Dispatcher(handlers(note))
    with pytest.raises(ZeroDivisionError):
        dispatcher.dispatch(batch)
    assert seen == expected[: fails_at + 1]


@pytest.mark.parametrize("count", [1, 8, 40])
def test_a_traceback_leads_to_the_handler_and_tells_of_nothing_else(count: int) -> None:
    def handler(value: int) -> None:
        raise ZeroDivisionError(value)

    batch, _ = batch_of([(True, 7, count)])
    assert batch is not None
    with pytest.raises(ZeroDivisionError, match="7") as caught:
        _native.Dispatcher({1: [(handler, [0])]}).dispatch(batch)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == [test_a_traceback_leads_to_the_handler_and_tells_of_nothing_else.__name__, "handler"]


def test_a_function_that_takes_something_else_says_so() -> None:
    batch, _ = batch_of([(True, 7, 40)])
    assert batch is not None
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        _native.Dispatcher({1: [(lambda: None, [0])]}).dispatch(batch)


def test_functions_of_c_are_called_too_and_what_they_keep_stays() -> None:
    batch, events = batch_of([(True, 10**12, 100), (True, 5000, 100), (True, 5000, 100)])
    assert batch is not None
    kept: list[int] = []
    dispatcher = _native.Dispatcher({1: [(kept.append, [0])]})
    dispatcher.dispatch(batch)
    dispatcher.dispatch(batch)
    assert kept == [held for _, _, held in events] * 2


class Keeper:
    """Keeps some of a handler's arguments, each in one of the ways in which a script may."""

    def __init__(self, ways: list[int]) -> None:
        self.ways, self.kept, self.expected = itertools.cycle(ways), list[Callable[[], int]](), list[int]()
        self.by_number: dict[int, int] = {}

    def __call__(self, value: int, at: int) -> None:
        match next(self.ways):
            case 0:
                return
            case 1:
                self.kept.append(lambda: value)
            case 2:
                self.kept.append([value].pop)
            case 3:
                frame = sys._getframe()
                self.kept.append(lambda: frame.f_locals["value"])
            case 4:
                suspended = self.suspended(value)
                next(suspended)
                self.kept.append(lambda: next(suspended))
            case 5:
                raised = ValueError(value)
                self.kept.append(lambda: raised.args[0])
            case _:
                number = len(self.kept)
                self.by_number[number] = value
                self.kept.append(functools.partial(self.by_number.pop, number))
        # Python's own arithmetic makes an object that is nobody else's.
        self.expected.append(int(str(value)))

    @staticmethod
    def suspended(value: int) -> Iterator[int]:
        yield 0
        yield value


@given(runs=RUNS, ways=st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_what_a_handler_keeps_stays_what_it_was(runs: list[tuple[bool, int, int]], ways: list[int]) -> None:
    """The objects of other arguments are used again."""
    batch, events = batch_of(runs)
    if batch is None:
        return
    keeper, times = Keeper(ways), list[int]()
    dispatcher = _native.Dispatcher({1: [(keeper, [0, "time"])], 2: [(lambda at: times.append(at), ["time"])]})
    dispatcher.dispatch(batch)
    dispatcher.dispatch(batch)
    assert [value() for value in keeper.kept] == keeper.expected
    assert times == [at for kind, at, _ in events if kind == 2] * 2
    gets = itertools.cycle(ways)
    assert keeper.expected == [held for kind, _, held in events * 2 if kind == 1 and next(gets)]


@pytest.mark.skipif(sysconfig.get_config_var("Py_GIL_DISABLED") == 1, reason="no count of references is all threads'")
def test_integers_that_nobody_keeps_are_used_again() -> None:
    """Each call's place has its own: freed and made anew, they would come in the opposite order."""
    batch, _ = batch_of([(True, 5000, 64)])
    assert batch is not None
    objects = list[int]()
    _native.Dispatcher({1: [(lambda value: objects.append(id(value)), [0])]}).dispatch(batch)
    assert objects[:32] == objects[32:] and len(set(objects)) == 32


def test_an_integer_that_a_thread_still_has_is_not_used_again() -> None:
    values = [1 << 40, 5000, *EDGES] * 30
    batch = started(b"".join(read(at, value) for at, value in enumerate(values))).next_batch(5)
    assert batch is not None
    handed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    seen = list[int]()

    def look() -> None:
        while (value := handed.get()) is not None:
            time.sleep(0)
            seen.append(value)

    thread = threading.Thread(target=look)
    thread.start()
    _native.Dispatcher({1: [(handed.put, [0])]}).dispatch(batch)
    handed.put(None)
    thread.join()
    assert seen == values


def test_a_handler_may_dispatch_by_the_same_dispatcher() -> None:
    batch, _ = batch_of([(True, 5000, 40)])
    assert batch is not None
    depths: list[int] = []

    def handler(value: int) -> None:
        depths.append(value)
        if len(depths) == 3:
            dispatcher.dispatch(batch, 0, 2)

    dispatcher = _native.Dispatcher({1: [(handler, [0])]})
    dispatcher.dispatch(batch)
    assert depths == [5000, 5001, 5002, 5000, 5001, *range(5003, 5040)]


def test_threads_share_a_dispatcher_a_batch_and_an_engine() -> None:
    """With a lock of the interpreter's they take turns; without one (free-threaded CPython) they run at once."""
    stream = b"".join(read(at, at * 7919 % 6000) for at in range(20_000))
    engine = started(stream)
    first = engine.next_batch(5)
    assert first is not None
    by_thread = threading.local()
    sums = list[tuple[int, int]]()

    def handle(value: int, at: int) -> None:
        by_thread.values += value
        by_thread.times += at

    dispatcher = _native.Dispatcher({1: [(handle, [0, "time"])]})

    def work() -> None:
        by_thread.values = by_thread.times = 0
        # All of them see the first batch; of the others each is somebody's.
        dispatcher.dispatch(first)
        while (batch := engine.next_batch(5)) is not None:
            dispatcher.dispatch(batch)
        sums.append((by_thread.values, by_thread.times))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = range(20_000)
    repeated = len(threads) - 1
    assert sum(times for _, times in sums) == sum(everything) + repeated * sum(event.time for event in first)
    assert sum(values for values, _ in sums) == sum(at * 7919 % 6000 for at in everything) + repeated * sum(
        event.value for event in first
    )
