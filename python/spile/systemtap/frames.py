"""How records are printed: one frame each, which a reader can prove to be whole.

In: pieces of a record. Out: lines that print it. The frame is u16 magic, u16 length, the record, u32 check, padding.
The check is the low half of the sum of all that the record holds. SystemTap 4.8 drops and damages prints where 8 bytes
or fewer remain of a page of its buffer; with a header of its own of 8 bytes, prints whose lengths are 8 more than a
multiple of 16 never leave such a rest. docs/adr/0011-systemtap-frames.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from spile.systemtap.columns import Column
from spile.systemtap.needs import Needs
from spile.systemtap.refusal import refuse

MAGIC = 0x5053
CHECK = 0x5350494C
#: SystemTap's own header of a print, and what each print is a multiple of together with it.
_HEADER, _ALIGNMENT = 8, 16
#: Magic, length and check.
_AROUND = 8
#: Bytes of a frame: a print takes 8,184, of which 88 are kept to fill it up.
MOST = 8184 - 88


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a record."""

    #: How it is printed, and from which arguments.
    format: str
    arguments: tuple[str, ...]
    #: Bytes that are always printed.
    size: int
    #: What it adds to the check; constants are numbers.
    terms: tuple[str | int, ...]
    #: A string, or a stack, of which this variable holds the length, or the number of frames.
    variable: str | None = None
    #: Of a stack: the function that counts what is printed of it.
    counted_by: str | None = None
    #: The most bytes that it can take.
    most: int = 0


def constant(size: int, value: int) -> Piece:
    """A number that the script's text holds."""
    return Piece(f"%{size}b", (str(value),), size, (value,), most=size)


def number(size: int, variable: str) -> Piece:
    """A number."""
    # Of what is shorter than the check, only what is printed counts.
    term = variable if size >= 4 or variable == "cpu()" else f"({variable} & {(1 << 8 * size) - 1})"
    return Piece(f"%{size}b", (variable,), size, (term,), most=size)


def piece(column: Column) -> Piece:
    """A column's."""
    name = column.variable
    if column.kind == "int":
        return number(column.type["size"], name)
    if column.kind == "name":
        return number(2, name)
    if column.kind == "stack":
        counted_by = "spile_user_frames" if column.type["space"] == "user" else "spile_frames"
        return Piece("%1b", (f"n_{name}",), 1, (f"n_{name}",), name, counted_by, 1 + 8 * column.frames)
    most = column.type.get("limit", column.type.get("size", 0)) + 1
    return Piece("%s%1b", (name, "0"), 1, (f"n_{name}",), name, most=most)


def padded(payload: int) -> int:
    """Bytes of the frame of so long a record."""
    length = _AROUND + payload
    return length + -(_HEADER + length) % _ALIGNMENT


def check_size(pieces: list[Piece]) -> None:
    """Refuses records that a print can't hold."""
    most = padded(sum(part.most for part in pieces))
    if most > MOST:
        refuse(
            f"a record that could take {most} bytes, where a print has room for {MOST}",
            "lower limit= of its strings or the depth of its stacks; engine='bpf' can",
        )


def measured(pieces: list[Piece], needs: Needs) -> list[str]:
    """Lines that find out how long strings, stacks and so the record are."""
    lines, grown = [], []
    for part in pieces:
        if part.counted_by:
            frames = (part.most - 1) // 8
            lines.append(f"n_{part.variable} = {needs.function(part.counted_by)}({part.variable}, {frames})")
            grown.append(f"8 * n_{part.variable}")
        elif part.variable:
            lines.append(f"n_{part.variable} = strlen({part.variable})")
            grown.append(f"n_{part.variable}")
    if grown:
        lines.append("length = " + " + ".join([str(sum(part.size for part in pieces)), *grown]))
    return lines


def size(pieces: list[Piece]) -> str:
    """The length of a frame, once it was measured."""
    if any(part.variable for part in pieces):
        return "8 + (length + 15) / 16 * 16"
    return str(padded(sum(part.size for part in pieces)))


def printed(pieces: list[Piece], needs: Needs) -> list[str]:
    """Lines that print a frame, once it was measured."""
    if not any(part.variable for part in pieces):
        return [_whole(pieces)]
    lines = ["check = " + _sum(pieces, "length")]
    formats, arguments = ["%2b%2b"], [f"0x{MAGIC:x}", "length"]
    for part in pieces:
        formats.append(part.format)
        arguments += part.arguments
        if part.counted_by:
            lines.append(_printf(formats, arguments))
            lines.append(f"check += {needs.function('spile_print_frames')}({part.variable}, n_{part.variable})")
            formats, arguments = [], []
    formats.append("%4b%.*s")
    # Magic, length, check and SystemTap's own header have 16 bytes together.
    arguments += ["check", "-length & 15", '"..............."']
    return [*lines, _printf(formats, arguments)]


def _whole(pieces: list[Piece]) -> str:
    length = sum(part.size for part in pieces)
    formats, arguments = ["%2b%2b"], [f"0x{MAGIC:x}", str(length)]
    for part in pieces:
        formats.append(part.format)
        arguments += part.arguments
    formats.append("%4b")
    arguments.append(_sum(pieces, length))
    padding = padded(length) - _AROUND - length
    for width in (8, 4, 2, 1):
        while padding >= width:
            formats.append(f"%{width}b")
            arguments.append("0")
            padding -= width
    return _printf(formats, arguments)


def _sum(pieces: list[Piece], length: int | str) -> str:
    terms = [CHECK, length, *(term for part in pieces for term in part.terms)]
    known = sum(term for term in terms if isinstance(term, int)) & 0xFFFFFFFF
    return " + ".join([str(known), *(term for term in terms if isinstance(term, str))])


def _printf(formats: list[str], arguments: list[str]) -> str:
    return f'printf("{"".join(formats)}", {", ".join(arguments)})'
