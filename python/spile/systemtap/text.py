"""Lines of a script, indented. In: lines, nested in lists. Out: text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

Lines: TypeAlias = "Sequence[str | Lines]"


def block(head: str, body: Lines) -> list[str | Lines]:
    """``head { body }``."""
    return [f"{head} {{", list(body), "}"]


def height(lines: Lines) -> int:
    """How many lines of text they are."""
    return sum(1 if isinstance(line, str) else height(line) for line in lines)


def joined(lines: Lines) -> str:
    """Text, two spaces for each level."""
    return "".join(f"{line}\n" if line else "\n" for line in _indented(lines, ""))


def _indented(lines: Lines, margin: str) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str):
            yield f"{margin}{line}" if line else ""
        else:
            yield from _indented(line, margin + "  ")
