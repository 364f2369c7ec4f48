"""The binary form: what goes in comes out, and what was damaged is refused, with the place."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregate_states import FUNCTIONS, LISTS, function, state
from spile import CutStr, NamedInt, RecordingError, Snapshot, Stack
from spile._native import restore_stack
from spile.aggregates import kind_of
from spile.table import SavedFrame, SavedStack
from spile.table.binary import MAGIC, VERSION
from test_table_functions import DATA, snapshot

NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["\udcff", "a\udc80b", "名"])
SYMBOLS = st.none() | st.sampled_from(["read", "schedule", "core::fmt<'a>"])
FRAMES = st.builds(
    lambda address, symbol, offset, module: SavedFrame(address, symbol, None if symbol is None else offset, module),
    st.integers(0, (1 << 64) - 1),
    SYMBOLS,
    st.integers(0, 4096),
    st.none() | st.just("ext4"),
)
STACKS = st.builds(SavedStack, st.sampled_from(["kernel", "user"]), st.integers(0, 9), st.lists(FRAMES, max_size=4))
PARTS = st.one_of(NUMBERS, TEXTS, STACKS, st.builds(NamedInt, NUMBERS, st.none() | TEXTS), st.builds(CutStr, TEXTS))


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
def test_what_goes_in_comes_out(name: str, data: st.DataObject) -> None:
    width = data.draw(st.integers(0, 3))
    keys = st.tuples(*[PARTS] * width) if width else PARTS
    lists = data.draw(st.dictionaries(keys, LISTS, max_size=4))
    kind = kind_of(function(name), data.draw(st.none() | st.just("µs")))
    by = tuple(f"key{part}" for part in range(max(width, 1)))
    made = Snapshot._of({key: state(name, values) for key, values in lists.items()}, kind, by)
    again = Snapshot.from_bytes(made.to_bytes())
    assert again == made and again.function == made.function and again.unit == made.unit
    assert list(again) == list(made) and again._names == by
    assert again.to_bytes() == made.to_bytes()
    for one, other in zip(again, made, strict=True):
        parts = zip(one, other, strict=True) if width else [(one, other)]
        assert all(type(a) is type(b) for a, b in parts)


@given(st.data())
def test_damage_is_refused(data: st.DataObject) -> None:
    whole = bytearray(snapshot("hist", DATA).to_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RecordingError) as error:
        Snapshot.from_bytes(bytes(whole))
    assert 0 <= error.value.offset <= len(whole) + 1


@given(st.integers(0, 200))
def test_a_cut_is_refused(length: int) -> None:
    whole = snapshot("hist", DATA).to_bytes()
    with pytest.raises(RecordingError, match=r"cut short|should have"):
        Snapshot.from_bytes(whole[: min(length, len(whole) - 1)])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    for given_bytes in (data, _framed(data), _framed(zlib.compress(data))):
        with pytest.raises(RecordingError):
            Snapshot.from_bytes(given_bytes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["stack", "bins", "named", "cut"]), inner)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
def test_a_body_that_holds_something_else_is_refused_or_read(name: str, data: st.DataObject) -> None:
    """Any member may be anything: an error with its path, or a table that is whole."""
    body = _body(snapshot(name, {"make": [5, 6]}))
    where = data.draw(st.sampled_from([*body, "key", "state"]))
    strange = data.draw(JSON)
    if where in ("key", "state"):
        body["rows"][0][("key", "state").index(where)] = strange
    else:
        body[where] = strange
    try:
        read = Snapshot.from_bytes(_packed(body))
    except RecordingError as error:
        assert "the body holds no table" in str(error) or "no JSON" in str(error)
    else:
        assert str(read) and read.to_columns() and read.to_bytes()


def test_the_place_is_told() -> None:
    body = _body(snapshot("stats", DATA))
    body["rows"][1][1] = [1, 2, "three", 4]
    with pytest.raises(RecordingError, match=r"expected a number of values, their sum.*rows\[1\]\[1\]"):
        Snapshot.from_bytes(_packed(body))
    body = _body(snapshot("lhist", DATA))
    body["rows"][0][1] = {"bins": [[99, 1]]}
    with pytest.raises(RecordingError, match=r"there is no bin 99: the bins are 0 … 13"):
        Snapshot.from_bytes(_packed(body))


def test_a_newer_version_is_refused() -> None:
    whole = bytearray(snapshot("count", DATA).to_bytes())
    struct.pack_into("<H", whole, 8, VERSION + 1)
    with pytest.raises(RecordingError, match="at byte 8: the snapshot's version is 2, and this spile reads 1"):
        Snapshot.from_bytes(bytes(whole))
    with pytest.raises(RecordingError, match="at byte 0: this is no snapshot"):
        Snapshot.from_bytes(b"PK" + bytes(100))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_machines_merge(name: str) -> None:
    here, there = snapshot(name, DATA), snapshot(name, {"make": [9], "ld": [4]})
    assert Snapshot.from_bytes(here.to_bytes()) + Snapshot.from_bytes(there.to_bytes()) == here + there


def test_stacks_go_by_their_symbols() -> None:
    frames = [SavedFrame(0x1000, "read", 4, None), SavedFrame(0x2000, "entry", 8, "ext4")]
    elsewhere = [frame._replace(address=frame.address + (1 << 40)) for frame in frames]
    one, two = SavedStack("kernel", 0, frames), SavedStack("kernel", 0, elsewhere)
    assert one == two and hash(one) == hash(two) and one.addresses != two.addresses
    assert Snapshot({one: 2}) + Snapshot({two: 3}) == {one: 5}
    assert one.folded() == "entry;read" and str(one) == "    read+0x4\n    entry+0x8 [ext4]"
    nameless = [SavedStack("user", 1, [SavedFrame(address, None, None, None)]) for address in (1, 2)]
    assert nameless[0] != nameless[1]


def test_a_live_stack_meets_itself() -> None:
    """A table that was read again adds to one whose stacks are live."""
    live = restore_stack("user", 0, 77, [0x1234, 0x5678])
    assert isinstance(live, Stack)
    made: Snapshot[Any, int] = Snapshot({("make", live): 2})
    again = Snapshot.from_bytes(made.to_bytes())
    assert again == made and made == again
    assert (made + again).total == 4 == sum((made + again).values()) and len(made + again) == 1
    assert made.folded() == again.folded()


def _framed(body: bytes) -> bytes:
    return struct.pack("<8sHHII", MAGIC, VERSION, 0, len(body), zlib.crc32(body)) + body


def _body(made: Snapshot[Any, Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(zlib.decompress(made.to_bytes()[20:]))
    return body


def _packed(body: dict[str, Any]) -> bytes:
    return _framed(zlib.compress(json.dumps(body).encode()))
