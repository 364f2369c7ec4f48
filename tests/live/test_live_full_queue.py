"""What a script that reads too slowly gets by `on_full`, and a ledger that balances, by a workload's number."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

import spile
from spile import timestamp
from workload import GETPPID, call

pytestmark = pytest.mark.live

#: In parts, so that the drain has many turns, and so many that a small queue takes but a part of them.
PARTS, CALLS = 60, 2_000
HITS = PARTS * CALLS
QUEUE = 1 << 20


def called(on_full: str, **options: Any) -> tuple[spile.Session, Any, Any]:
    """A session on this process, whose calls it has had while nobody read; its probe and its table."""
    session = spile.Session(pid=os.getpid(), queue=QUEUE, on_full=on_full, **options)
    probe = session.tracepoint(GETPPID, capture={"stamp": timestamp})
    table = probe.count()
    session.start()
    for _ in range(PARTS):
        call(CALLS)
        time.sleep(0.01)
    return session, probe, table


def rest(session: spile.Session) -> list[int]:
    """Ends the session; the times of what it still has, which are in order."""
    session.stop()
    times = [event.time for event in session]
    assert times == sorted(times)
    return times


def test_a_full_queue_drops_what_comes_last() -> None:
    session, probe, table = called("drop")
    times = rest(session)
    losses = session.losses[probe.name]
    assert (losses.hits, losses.balance, losses.delivered) == (HITS, 0, len(times))
    assert losses.dropped == HITS - len(times) > 0 and losses.sampled_out == 0
    assert table.total == HITS


def test_a_sample_goes_on_to_the_end_and_says_what_it_stands_for() -> None:
    session, probe, table = called("sample")
    times = rest(session)
    losses = session.losses[probe.name]
    assert (losses.hits, losses.balance, losses.delivered) == (HITS, 0, len(times))
    assert losses.sampled_out == HITS - len(times) > 0 and losses.lost == 0
    assert table.total == HITS
    assert "left out of the sample" in session.losses.explain()


def test_a_queue_that_blocks_leaves_the_rest_in_the_kernel_and_loses_nothing() -> None:
    session, probe, _ = called("block")
    assert session.losses[probe.name].dropped == 0
    times = []
    for event in session:
        times.append(event.time)
        if len(times) == HITS:
            break
    times += rest(session)
    losses = session.losses[probe.name]
    assert (losses.hits, losses.balance, losses.delivered, losses.lost) == (HITS, 0, HITS, 0)
    assert len(times) == HITS and times == sorted(times)


def test_where_the_kernel_has_no_room_either_its_ring_counts() -> None:
    session, probe, _ = called("block", buffer=1 << 16)
    times = rest(session)
    losses = session.losses[probe.name]
    assert (losses.hits, losses.balance, losses.delivered) == (HITS, 0, len(times))
    assert losses.ring_full > 0 and losses.hits == len(times) + losses.ring_full + losses.dropped
