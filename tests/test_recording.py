"""Replays of recordings that were written by their documentation alone: no kernel, no privilege, any damage."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recordings
import spile
from recordings import CLOCK, EVENTS, SYMBOLS, Event, Recording, mark, record, records
from spile import arg, comm, kstack, pid

TURNS: list[list[Event]] = [
    [(10, 0, -1, "cc1"), (12, 0, 5, "ld"), (11, 1, 7, "cc1")],
    [(20, 1, 8, "as"), (21, 0, 9, "cc1")],
]

a_turn = st.lists(
    st.tuples(
        st.integers(0, 1000), st.integers(0, 3), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from(["cc1", "ld"])
    ),
    max_size=5,
)
in_a_folder = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ordered(turns: list[list[Event]]) -> list[Event]:
    """By time within a turn, and those of a turn behind those of the one before."""
    return [event for turn in turns for event in sorted(turn, key=lambda event: event[0])]


def replayed(path: Path) -> tuple[list[Event], spile.RecordingError | None]:
    """The events up to the end or the error."""
    got: list[Event] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", spile.LossWarning)
        try:
            session = spile.replay(path)
            session.run(handlers={"on_switch": lambda time, cpu, x, comm: got.append((time, cpu, x, comm))})
        except spile.RecordingError as error:
            return got, error
    return got, None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.spile"


@pytest.mark.parametrize("major", [1, 2])
def test_a_recording_by_the_book_is_replayed(path: Path, major: int) -> None:
    path.write_bytes(recordings.recording(TURNS, major=major).bytes)
    session = spile.replay(path)
    assert repr(session) == "<Session, declared: switch>"
    by_comm = session["switch"].count(by=comm)
    by_both = session["switch"].count(by=(arg.prev_prio, comm))
    with session:
        events = list(session)
    assert [(event.time, event.cpu, event["x"], event["comm"]) for event in events] == ordered(TURNS)
    assert dict(by_comm) == {"cc1": 3, "ld": 1, "as": 1} and by_both[-1, "cc1"] == 1 and by_both.total == 5
    assert session.losses["switch"].hits == 5 and session.losses.balance == 0 and session.losses.explain() == ""
    moment = CLOCK["wall"] + events[0].time - CLOCK["monotonic"]
    assert abs(events[0].datetime - datetime.fromtimestamp(moment / 1e9, UTC)).total_seconds() < 1e-3
    facts = spile._native.Recording(str(path)).facts()
    assert (facts["events"], facts["length"], facts["warnings"]) == (5, path.stat().st_size, [])


def test_every_way_to_read_a_session_reads_a_replay(path: Path) -> None:
    path.write_bytes(recordings.recording(TURNS).bytes)
    with spile.replay(path) as session:
        assert [event["x"] for batch in session.batches() for event in batch] == [-1, 7, 5, 8, 9]
    with spile.replay(path) as session:
        assert sum(1 for _ in session["switch"]) == 5
    session = spile.replay(path)
    got: list[int] = []
    session["switch"].on_event(lambda x: got.append(x))
    session.run(limit=3)
    assert got == [-1, 7, 5] and session.ended_by == "limit"
    session = spile.replay(path)
    with pytest.raises(spile.SpecError, match="nothing handles the events"):
        session.run()
    count = session["switch"].count()
    session.run()
    assert count.value == 5 and session.ended_by == "end"


def test_what_was_not_recorded_can_t_be_counted_by(path: Path) -> None:
    path.write_bytes(recordings.recording(TURNS).bytes)
    session = spile.replay(path)
    with pytest.raises(
        spile.FieldNotFound, match=r"pid was not recorded by probe 'switch'; what was: arg.prev_prio, comm"
    ):
        session["switch"].count(by=pid)
    with pytest.raises(spile.FieldNotFound, match="kstack was not recorded"):
        session["switch"].count(by=(comm, kstack))


def test_a_time_is_the_one_near_the_last_whole_time(path: Path) -> None:
    """Of the piece, or of a record within it; before it or behind it, and over the end of what 32 bits hold."""
    first, second = (7 << 32) - 5, (9 << 32) + (1 << 31) - 1
    times = [first + 3, first + 9, first - (1 << 31), second, second - (1 << 31), second + (1 << 31) - 1]
    parts = [recordings.compact_record(time, number, "ld") for number, time in enumerate(times)]
    made = Recording(major=2)
    made.add(recordings.HEAD, recordings.head())
    pieces = recordings.compact(1, first, *parts[:3], recordings.whole_time(second), *parts[3:])
    made.add(EVENTS, pieces + mark((1 << 64) - 1), len(times))
    path.write_bytes(made.bytes)
    assert replayed(path) == (sorted((time, 1, number, "ld") for number, time in enumerate(times)), None)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"\1\0\0\0\7\0\0\0" + bytes(32), id="an event that is not there"),
        pytest.param(bytes(40), id="nothing"),
        pytest.param(recordings.compact_record(3, 3, "ld")[:-8], id="a record that is cut"),
        pytest.param(recordings.whole_time(3)[:-8], id="a whole time that is cut"),
        pytest.param(b"\1\2\3", id="three bytes"),
    ],
)
def test_what_is_behind_a_damaged_compact_record_is_lost_with_it(path: Path, wrong: bytes) -> None:
    sound = [recordings.compact_record(time, time, "ld") for time in range(4)]
    made = Recording(major=2)
    made.add(recordings.HEAD, recordings.head())
    made.add(EVENTS, recordings.compact(0, 0, *sound[:2], wrong) + recordings.compact(1, 0, sound[3]) + mark(9), 4)
    path.write_bytes(made.bytes)
    got, error = replayed(path)
    assert got == [(0, 0, 0, "ld"), (1, 0, 1, "ld"), (3, 1, 3, "ld")]
    assert error is not None and "1 records can't be read: 3 events were read all the same, and of 1" in str(error)


def test_a_small_file_can_t_ask_for_gigabytes(path: Path) -> None:
    """A description by which each compact record would become one of 60,000 bytes: it has none."""
    made, head = Recording(major=2), recordings.head()
    head["events"][0]["fixed_size"] = head["events"][0]["max_size"] = 60_000
    made.add(recordings.HEAD, head)
    made.add(EVENTS, recordings.compact(0, 0, *[recordings.compact_record(1, 1, "ld")] * 100_000) + mark(9), 100_000)
    path.write_bytes(made.bytes)
    got, error = replayed(path)
    assert got == [] and error is not None and "1 records can't be read: 0 events were read" in str(error)


def test_names_come_from_the_recording_alone(path: Path) -> None:
    made = Recording()
    head = recordings.head()
    schema = head["events"][0]["schema"]
    schema["fields"][0] = {"name": "x", "type": {"kind": "stack", "space": "kernel"}}
    head["spec"]["probes"][0]["capture"]["fields"][0]["expr"] = {"op": "stack", "space": "kernel", "depth": None}
    made.add(recordings.HEAD, head)
    definition = (
        (77).to_bytes(8, "little")
        + b"\0\0\2\0\0\0\0\0"
        + (0x1000).to_bytes(8, "little")
        + (0x2005).to_bytes(8, "little")
    )
    made.add(EVENTS, records(0, definition, record(5, 77, "ld")) + mark(9), 1)
    made.add(
        SYMBOLS,
        [
            {"pid": 0, "address": 0x1000, "name": "inner", "offset": 3},
            {"pid": 0, "address": 0x2004, "name": "outer", "offset": 4, "module": "m"},
        ],
    )
    path.write_bytes(made.bytes)
    with pytest.warns(spile.LossWarning, match="not closed"), spile.replay(path) as session:
        (event,) = session
    assert str(event["x"]) == "    inner+0x3\n    outer+0x5 [m]" and event["x"].folded() == "outer;inner"
    assert [(frame.symbol, frame.offset) for frame in event["x"]] == [("inner", 3), ("outer", 5)]


def test_a_file_that_is_none_says_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spile.replay(path)
    path.write_bytes(b"PERFILE2")
    with pytest.raises(spile.RecordingError, match="at byte 0: this is no recording") as caught:
        spile.replay(path)
    assert caught.value.offset == 0
    path.write_bytes(recordings.file_header(major=7, minor=3))
    with pytest.raises(spile.RecordingError, match=r"version 7\.3, and this release of spile reads up to 2\.0"):
        spile.replay(path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("spec", "version"), 99, "description can't be read"),
        (("events", 0, "slots", 0), [4000, 8], "outside of its record"),
        (("events", 0, "slots"), [[16, 8]], "1 places for 2 columns"),
        (("events", 0, "schema", "probe"), 5, "event 1 has"),
        (("events", 0, "schema", "keys"), [[9]], "a key of event 1 names a column"),
        (("events", 0, "encoding"), "packed", "encoding that is not known"),
    ],
)
def test_a_description_that_can_t_be_is_refused(path: Path, place: tuple[Any, ...], value: Any, message: str) -> None:
    made, head = Recording(), recordings.head()
    inner: Any = head
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    made.add(recordings.HEAD, head)
    path.write_bytes(made.bytes)
    with pytest.raises(spile.RecordingError, match=message) as caught:
        spile.replay(path)
    assert caught.value.offset == 16


@in_a_folder
@given(turns=st.lists(a_turn, max_size=4), major=st.integers(1, 2), data=st.data())
def test_a_flipped_bit_is_told_and_the_rest_is_of_the_original(
    path: Path, turns: list[list[Event]], major: int, data: st.DataObject
) -> None:
    whole = recordings.recording(turns, major=major).bytes
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    got, error = replayed(path)
    assert error is not None and error.offset <= place
    rest = iter(ordered(turns))
    assert all(event in rest for event in got)


@in_a_folder
@given(turns=st.lists(a_turn, max_size=4), major=st.integers(1, 2), data=st.data())
def test_a_beginning_gives_the_beginning(path: Path, turns: list[list[Event]], major: int, data: st.DataObject) -> None:
    made = recordings.recording(turns, major=major)
    whole = made.bytes
    length = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:length])
    got, error = replayed(path)
    if length < 16 + len(made.blocks[0]):
        assert error is not None and got == []
    else:
        assert error is None and got == ordered(turns)[: len(got)]


@in_a_folder
@given(pieces=st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=120)), max_size=5), junk=st.binary(max_size=50))
def test_any_bytes_give_events_or_an_error(path: Path, pieces: list[tuple[int, bytes]], junk: bytes) -> None:
    made = Recording()
    made.add(recordings.HEAD, recordings.head())
    for kind, payload in pieces:
        made.add(kind, payload)
    path.write_bytes(made.bytes + junk)
    got, error = replayed(path)
    assert got == [] or error is None or error.offset > 0
