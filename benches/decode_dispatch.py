"""The price of a recorded event in user space: decoded and counted by stack, and decoded and given to a handler.

Costs are CPU time of the whole process, the thread that drains included: running in parallel makes nothing look cheap.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator

import recording
from price import Price, Row, Target, alternate, typical

from spile import _native

EVENTS, TINY_EVENTS = 300_000, 2_000


def rows(*, tiny: bool = False) -> Iterator[Row]:
    """The prices of counting and of calling."""
    events = TINY_EVENTS if tiny else EVENTS
    data = recording.packed(events)
    _check(data, events)
    yield from _counting(data, events, rounds=1 if tiny else 7)
    yield from _calling(data, events, rounds=1 if tiny else 7)
    yield from _columns(data, events, rounds=1 if tiny else 7)


def _counting(data: bytes, events: int, rounds: int) -> Iterator[Row]:
    def spile() -> float:
        engine = recording.engine(data, count=True)
        return _cost(lambda: _count(engine), events)

    def python() -> float:
        return _cost(lambda: recording.count_in_python(data), events)

    ours, peers = alternate(rounds, spile, python)
    yield Price(
        "decode, count by stack", "struct loop", typical(ours), typical(peers), "ns/event", Target("at least", 30)
    )


def _calling(data: bytes, events: int, rounds: int) -> Iterator[Row]:
    def spile() -> float:
        engine = recording.engine(data, count=False)
        return _cost(lambda: _dispatch(engine, handler), events)

    def python() -> float:
        return _cost(lambda: recording.call_in_python(data, handler), events)

    def python_without_stacks() -> float:
        return _cost(lambda: recording.call_in_python_without_stacks(data, handler), events)

    pairs = [(number % 4000, number) for number in range(events)]

    def bare() -> float:
        return _cost(lambda: _call(handler, pairs), events)

    def dispatch_alone() -> float:
        engine = recording.engine(data, count=False)
        engine.start()
        batches = list(_batches(engine))
        dispatcher = _dispatcher(handler)
        return _cost(lambda: _dispatch_all(dispatcher, batches), events)

    def python_counting() -> float:
        return _cost(lambda: recording.count_in_python(data), events)

    ours, counting, peers, lesser, calls, alone = alternate(
        rounds, spile, python_counting, python, python_without_stacks, bare, dispatch_alone
    )
    cost, call = typical(ours), typical(calls)
    what = "decode, call a handler"
    yield Price(what, "struct loop that counts", cost, typical(counting), "ns/event", Target("at least", 4))
    yield Price(what, "struct loop, same handler", cost, typical(peers), "ns/event", Target("at least", 4))
    yield Price(what, "struct loop that skips stacks", cost, typical(lesser), "ns/event", remark=LESSER)
    yield Price("call a handler", "bare Python call", typical(alone), call, "ns/event", Target("at most", 1.5), BARE)


def _columns(data: bytes, events: int, rounds: int) -> Iterator[Row]:
    def alone() -> float:
        engine = recording.engine(data, count=False)
        engine.start()
        batches = list(_batches(engine))
        return _cost(lambda: _look(batches), events)

    def spile() -> float:
        engine = recording.engine(data, count=False)

        def work() -> None:
            engine.start()
            _look(_batches(engine))

        return _cost(work, events)

    def arrow() -> float:
        engine = recording.engine(data, count=False)
        engine.start()
        batches = list(_batches(engine))
        return _cost(lambda: [batch.columns().__arrow_c_array__() for batch in batches], events)

    def python() -> float:
        return _cost(lambda: recording.columns_in_python(data), events)

    only, capsules, ours, peers = alternate(rounds, alone, arrow, spile, python)
    limit = Target("at most", 1)
    yield Price("two columns of a batch", "20 million a second", typical(only), FLOOR, "ns/event", limit)
    yield Price("a batch by Arrow", "20 million a second", typical(capsules), FLOOR, "ns/event", limit, FOUR)
    yield Price("decode, two columns", "20 million a second", typical(ours), FLOOR, "ns/event", remark=WHOLE)
    yield Price("decode, two columns", "struct loop into arrays", typical(ours), typical(peers), "ns/event")


#: Nanoseconds of 20 million events a second.
FLOOR = 50.0
FOUR = "four columns: the time and the CPU too"
WHOLE = "from the bytes of the stream on, its stacks included, in both threads together"


def _look(batches: Iterable[_native.Batch]) -> None:
    """What a batch handler that computes by column asks for."""
    for batch in batches:
        columns = batch.columns()
        columns.buffer("pid")
        columns.buffer("amount")


LESSER = "that loop does less: it passes over the stack, which spile decodes and interns"
BARE = "a batch's events to Python's integers and the call, against a Python loop over integers that are there already"


def handler(pid: int, amount: int) -> None:
    """Two parameters, bound by name; the least that a handler can do."""


def _cost(work: Callable[[], object], events: int) -> float:
    """Nanoseconds of CPU time for each event.

    Of a thread that still runs, the kernel may tell the time as it was at its last tick: work ends its threads.
    """
    gc.collect()
    gc.disable()
    try:
        before = time.process_time_ns()
        work()
        return (time.process_time_ns() - before) / events
    finally:
        gc.enable()


def _count(engine: _native.Engine) -> None:
    engine.start()
    while engine.next_batch() is not None or not engine.ended:
        pass
    engine.stop()


def _batches(engine: _native.Engine) -> Iterator[_native.Batch]:
    while (batch := engine.next_batch()) is not None or not engine.ended:
        if batch is not None:
            yield batch
    engine.stop()


def _dispatcher(function: Callable[[int, int], None]) -> _native.Dispatcher:
    return _native.Dispatcher({1: [(function, [0, 1])]})


def _dispatch(engine: _native.Engine, function: Callable[[int, int], None]) -> None:
    engine.start()
    dispatcher = _dispatcher(function)
    for batch in _batches(engine):
        dispatcher.dispatch(batch)


def _dispatch_all(dispatcher: _native.Dispatcher, batches: list[_native.Batch]) -> None:
    for batch in batches:
        dispatcher.dispatch(batch)


def _call(function: Callable[[int, int], None], pairs: list[tuple[int, int]]) -> None:
    for pid, amount in pairs:
        function(pid, amount)


def _check(data: bytes, events: int) -> None:
    """Both sides must have counted the same, or the comparison says nothing."""
    engine = recording.engine(data, count=True)
    _count(engine)
    ours = {stack.addresses: count for (stack,), count in engine.table(0, 0).items()}
    theirs = dict(recording.count_in_python(data))
    if ours != theirs or sum(ours.values()) != events:
        raise SystemExit("decode_dispatch: the two sides count differently; their prices can't be compared")
    called: list[int] = []
    _dispatch(recording.engine(data, count=False), lambda pid, amount: called.append(pid))
    if len(called) != events:
        raise SystemExit(f"decode_dispatch: {len(called):,} of {events:,} events reached the handler")
