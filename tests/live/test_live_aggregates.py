"""Aggregates of values, held against a workload that knows its values: lseek with offsets that Python counts too."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spile
from spile import _native, arg, comm, pid
from workload import GETPPID, call

pytestmark = pytest.mark.live

LSEEK = "syscalls:sys_enter_lseek"
#: Pairs of an offset and a whence (0 is SEEK_SET, 3 SEEK_DATA): some often, some once.
SEEKS = (
    [(value * value, 0) for value in range(300)] + [(7, 0)] * 50 + [(1 << 40, 3), (5, 3), (5, 3), ((1 << 63) - 1, 3)]
)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    made = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    yield made
    os.close(made)


def seek(descriptor: int, seeks: list[tuple[int, int]]) -> None:
    """Calls lseek with these; whether it finds anything there is nothing to the probe."""
    for offset, whence in seeks:
        try:
            os.lseek(descriptor, offset, whence)
        except OSError:
            continue


def states(aggregate: Any) -> dict[Any, Any]:
    """What the native table has, in its plain forms."""
    return {key[0]: state for key, state in aggregate._native.items()}


def test_every_aggregate_has_what_the_calls_were_given(descriptor: int) -> None:
    session = spile.Session(pid=os.getpid())
    seeks = session.tracepoint(LSEEK, where=arg.fd == descriptor)
    made = {
        "count": seeks.count(by=arg.whence),
        "sum": seeks.sum(arg.offset, by=arg.whence),
        "min": seeks.min(arg.offset, by=arg.whence),
        "max": seeks.max(arg.offset, by=arg.whence),
        "avg": seeks.avg(arg.offset, by=arg.whence),
        "stats": seeks.stats(arg.offset, by=arg.whence),
        "hist": seeks.hist(arg.offset, by=arg.whence),
        "lhist": seeks.lhist(arg.offset, 0, 1000, 100, by=arg.whence),
        "quantiles": seeks.quantiles(arg.offset, by=arg.whence),
        "top": seeks.top(arg.offset, size=3, by=arg.whence),
        "distinct": seeks.distinct(arg.offset, by=arg.whence),
    }
    with session:
        seek(descriptor, SEEKS)
        session.stop()
    by_whence = defaultdict(list)
    for offset, whence in SEEKS:
        by_whence[whence].append(offset)
    assert all(aggregate.hits == len(SEEKS) and aggregate.faulted == 0 for aggregate in made.values())
    found = {name: states(aggregate) for name, aggregate in made.items()}
    for whence, offsets in by_whence.items():
        hits, least, most = len(offsets), min(offsets), max(offsets)
        total = sum(offsets)
        assert [found[name][whence] for name in ("count", "sum", "min", "max")] == [hits, total, least, most]
        assert found["avg"][whence] == (hits, total)
        assert found["stats"][whence] == (hits, total, least, most)
        assert found["hist"][whence] == Counter(offset.bit_length() for offset in offsets)
        assert found["lhist"][whence] == Counter(min(1 + offset // 100, 11) for offset in offsets)
        frequent = Counter(offsets).most_common()
        assert found["top"][whence][0] == hits
        assert found["top"][whence][1][0] == (frequent[0][0], frequent[0][1], 0)
        different = len(set(offsets))
        assert abs(_native.estimate_distinct(found["distinct"][whence]) - different) <= max(1, 0.05 * different)
    for whence, bins in found["quantiles"].items():
        for number, hits in bins.items():
            low, high = _native.bin_bounds("quantiles", number)
            assert hits == sum(low <= offset <= high for offset in by_whence[whence])
            assert (high - low) * 64 <= max(low, 1)


def test_strings_are_counted_without_a_key_too(descriptor: int) -> None:
    session = spile.Session(pid=os.getpid())
    seeks = session.tracepoint(LSEEK, where=arg.fd == descriptor)
    frequent, different, nothing = seeks.top(comm), seeks.distinct(comm), seeks.max(arg.offset)
    with session:
        seek(descriptor, [])
        assert nothing._native is not None and nothing._native.get(()) is None
        seek(descriptor, SEEKS)
        session.stop()
    name = Path("/proc/self/comm").read_text().strip()
    ((_, listed),) = frequent._native.items()  # type: ignore[union-attr]
    assert listed == (len(SEEKS), [(name, len(SEEKS), 0)])
    ((_, registers),) = different._native.items()  # type: ignore[union-attr]
    assert round(_native.estimate_distinct(registers)) == 1


def test_counts_by_process_and_comm_are_exact_without_tables_in_the_kernel() -> None:
    own = Path("/proc/self/comm")
    before = own.read_text().strip()
    # The longest that a process may have, one that fills a word, one that another one begins with.
    made = [("fifteen-letters", 3000), ("eight-ch", 1), ("eight", 1), ("fifteen-letters", 500), ("é x", 2000)]
    session = spile.Session(pid=os.getpid(), tables=0)
    calls = session.tracepoint(GETPPID)
    counts, total = calls.count(by=(pid, comm)), calls.count()
    try:
        with session:
            for name, count in made:
                own.write_text(name)
                call(count)
            session.stop()
    finally:
        own.write_text(before)
    expected: Counter[Any] = Counter()
    for name, count in made:
        expected[os.getpid(), name] += count
    assert dict(counts.items()) == dict(expected)
    assert (total.value, session.losses.lost) == (sum(expected.values()), 0)


def test_what_is_taken_adds_up(descriptor: int) -> None:
    session = spile.Session(pid=os.getpid())
    sums = session.tracepoint(LSEEK, where=arg.fd == descriptor).sum(arg.offset, by=arg.whence)
    taken: Counter[int] = Counter()
    with session:
        for _ in range(20):
            seek(descriptor, SEEKS[:100])
            taken.update(dict(sums.take()))
        session.stop()
    taken.update(dict(sums.take()))
    assert dict(taken) == {0: 20 * sum(offset for offset, _ in SEEKS[:100])}
    assert sums.hits == 2000


def test_sums_past_64_bits_are_whole_wherever_they_are_kept(descriptor: int) -> None:
    seeks = [((1 << 62) + each, 3) for each in range(40)] + [(-(1 << 62) - each, 3) for each in range(9)]
    for tables in (32 << 20, 0):
        session = spile.Session(pid=os.getpid(), tables=tables)
        calls = session.tracepoint(LSEEK, where=arg.fd == descriptor)
        total, mean = calls.sum(arg.offset), calls.avg(arg.offset)
        with session:
            seek(descriptor, seeks)
            session.stop()
        offsets = [offset for offset, _ in seeks]
        assert total.value == sum(offsets) and mean.value == pytest.approx(sum(offsets) / len(offsets))
        assert session.losses.balance == 0
