"""The binary form of a snapshot, which other machines read.

In: states by key. Out: bytes; and back. What can't be read is a RecordingError that says where, never anything else.

    offset  0  8 bytes  MAGIC
            8  u16      the version; a reader refuses those that it doesn't know
           10  u16      0
           12  u32      the length of the body
           16  u32      its CRC-32
           20           the body: JSON, deflated (zlib)

The body is an object: `function`, `unit`, `by` (names of the key's parts), `scalar` (whether a key is its only part),
`sample` (how many hits one stands for; 1 where it is missing), `stacks` (`space`, `pid` and `frames`: address, symbol,
offset, module) and `rows`, pairs of a key and a state. Text that is no UTF-8 has Python's surrogate escapes, as JSON's.
docs/adr/0021 says why it is JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from typing import Any

from spile.aggregates import Kind, kind_of
from spile.enums import NamedInt
from spile.errors import RecordingError, SpecError
from spile.reader import Reader
from spile.spec import AggregateFunction
from spile.strings import CutStr
from spile.table.keys import is_stack, parts_of
from spile.table.saved import SavedFrame, SavedStack, saved

MAGIC = b"\x93SPILE\r\n"
VERSION = 1
_HEADER = struct.Struct("<8sHHII")
_U64 = (1 << 64) - 1

Packed = tuple[dict[Any, Any], Kind, tuple[str, ...], int]


def packed(states: dict[Any, Any], kind: Kind, names: tuple[str, ...], sample: int) -> bytes:
    """Bytes for these states."""
    stacks: dict[SavedStack, int] = {}
    seen: dict[Any, SavedStack] = {}
    rows = [[_written(parts_of(key), stacks, seen), _written(state, stacks, seen)] for key, state in states.items()]
    body = {
        "function": kind.function.to_json(),
        "unit": kind.unit,
        "by": list(names),
        "scalar": not isinstance(next(iter(states), None), tuple),
        "sample": sample,
        "stacks": [{"space": each.space, "pid": each.pid, "frames": list(map(list, each))} for each in stacks],
        "rows": rows,
    }
    data = zlib.compress(json.dumps(body, separators=(",", ":")).encode("ascii"))
    return _HEADER.pack(MAGIC, VERSION, 0, len(data), zlib.crc32(data)) + data


def unpacked(data: bytes) -> Packed:
    """What `packed` was given, its stacks saved. Raises RecordingError."""
    body = _body(data)
    try:
        read = json.loads(zlib.decompress(body))
    except zlib.error as error:
        raise RecordingError(f"the body can't be inflated: {error}", _HEADER.size) from None
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"the body is no JSON: {error}", _HEADER.size) from None
    try:
        return _contents(Reader(read))
    except SpecError as error:
        raise RecordingError(f"the body holds no table: {error}", _HEADER.size) from None


def _body(data: bytes) -> bytes:
    if len(data) < _HEADER.size:
        raise RecordingError(f"cut short: {len(data)} bytes, and the header alone has {_HEADER.size}", len(data))
    magic, version, zero, length, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise RecordingError("this is no snapshot of spile's: it does not begin as one", 0)
    if version != VERSION:
        raise RecordingError(f"the snapshot's version is {version}, and this spile reads {VERSION}: update it", 8)
    if zero:
        raise RecordingError(f"expected 0, found {zero}", 10)
    body = data[_HEADER.size :]
    if len(body) != length:
        raise RecordingError(f"the body has {len(body)} bytes, and should have {length}", min(len(data), 20 + length))
    if zlib.crc32(body) != crc:
        raise RecordingError("the body's checksum is another: it is damaged", 16)
    return body


def _written(value: Any, stacks: dict[SavedStack, int], seen: dict[Any, SavedStack]) -> Any:
    """A part of a key, or a state, as JSON has it: what JSON lacks is an object with one member."""
    if isinstance(value, NamedInt):
        return {"named": [int(value), value.name]}
    if isinstance(value, CutStr):
        return {"cut": str(value)}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, tuple | list):
        return [_written(item, stacks, seen) for item in value]
    if isinstance(value, dict):
        return {"bins": [list(pair) for pair in value.items()]}
    if is_stack(value):
        if value not in seen:
            seen[value] = saved(value)
        return {"stack": stacks.setdefault(seen[value], len(stacks))}
    return value


def _contents(body: Reader) -> Packed:
    parts = body.members("function", "unit", "by", "scalar", "stacks", "rows", optional=("sample",))
    unit = None if parts["unit"].absent else parts["unit"].text()
    kind = kind_of(AggregateFunction.read(parts["function"]), unit)
    names = tuple(name.text() for name in parts["by"])
    stacks = [_stack(stack) for stack in parts["stacks"]]
    scalar = parts["scalar"].flag()
    states: dict[Any, Any] = {}
    width: int | None = None
    for row in parts["rows"]:
        pair = list(row)
        if len(pair) != 2:
            row.expect("a key and a state")
        key = tuple(_part(part, stacks) for part in pair[0])
        width = len(key) if width is None else width
        if len(key) != width or (scalar and width != 1):
            pair[0].expect(f"a key of {1 if scalar else width} parts")
        _add(states, key[0] if scalar else key, _state(pair[1], kind, stacks), kind, pair[0])
    return states, kind, names, 1 if parts["sample"].absent else parts["sample"].integer(1, _U64)


def _add(states: dict[Any, Any], key: Any, state: Any, kind: Kind, place: Reader) -> None:
    try:
        # Stacks that were two by their addresses may be one by their symbols.
        states[key] = kind.merged(states[key], state) if key in states else state
    except TypeError as error:
        place.refuse(str(error))


def _state(place: Reader, kind: Kind, stacks: list[SavedStack]) -> Any:
    state = kind.restored(_read(place, stacks))
    wrong = kind.check(state)
    return state if wrong is None else place.refuse(wrong)


def _stack(place: Reader) -> SavedStack:
    parts = place.members("space", "pid", "frames")
    frames = []
    for frame in parts["frames"]:
        each = list(frame)
        if len(each) != 4:
            frame.expect("an address, a symbol, an offset and a module")
        symbol, module = (None if part.absent else part.text() for part in (each[1], each[3]))
        offset = None if each[2].absent else each[2].integer(0, _U64)
        frames.append(SavedFrame(each[0].integer(0, _U64), symbol, offset, module))
    return SavedStack(parts["space"].choice("kernel", "user"), parts["pid"].integer(0, _U64), frames)


def _part(place: Reader, stacks: list[SavedStack]) -> Any:
    part = _read(place, stacks)
    return part if isinstance(part, int | str | SavedStack) else place.expect("a number, a text or a stack")


def _read(place: Reader, stacks: list[SavedStack]) -> Any:
    value = place.value
    if value is None or isinstance(value, int | str):
        return place.expect("a number or a text") if isinstance(value, bool) else value
    if isinstance(value, list):
        return tuple(_read(item, stacks) for item in place)
    if not isinstance(value, dict) or len(value) != 1:
        place.expect("a value")
    name = next(iter(value))
    inner = place.member(name)
    if name == "stack":
        return stacks[inner.integer(0, len(stacks) - 1)]
    if name == "cut":
        return CutStr(inner.text())
    if name == "bytes":
        return _bytes(inner)
    if name in ("named", "bins"):
        return _named(inner) if name == "named" else _bins(inner)
    return place.expect("a value")


def _named(place: Reader) -> NamedInt:
    pair = list(place)
    if len(pair) != 2:
        place.expect("a number and its name")
    return NamedInt(pair[0].integer(-_U64, _U64), None if pair[1].absent else pair[1].text())


def _bins(place: Reader) -> dict[int, int]:
    bins = {}
    for pair in place:
        both = list(pair)
        if len(both) != 2:
            pair.expect("a bin and its count")
        bins[both[0].integer(-_U64, _U64)] = both[1].integer(-_U64, _U64)
    return bins


def _bytes(place: Reader) -> bytes:
    try:
        return base64.b64decode(place.text(), validate=True)
    except (binascii.Error, ValueError) as error:
        place.refuse(f"no base64: {error}")
