"""Keys: the names of their parts, and their parts as text and as JSON. In: parts of keys. Out: plain values.

Whoever asks for a stack's text has it symbolized; nobody else does.
"""

from __future__ import annotations

from typing import Any

from spile.enums import NamedInt
from spile.strings import printable

#: A key that is longer is cut where it is listed.
_WIDEST = 160


def is_stack(part: object) -> bool:
    """Whether it is a stack, live or saved."""
    return hasattr(part, "folded")


def parts_of(key: Any) -> tuple[Any, ...]:
    """A key's parts; a scalar is one."""
    return key if isinstance(key, tuple) else (key,)


def names_of(by: tuple[Any, ...]) -> tuple[str, ...]:
    """The names of a key's parts: their expressions, each of them once."""
    names: list[str] = []
    for part in by:
        name, again = str(part), 2
        while name in names:
            name, again = f"{part} ({again})", again + 1
        names.append(name)
    return tuple(names)


def frames(stack: Any) -> list[str]:
    """A line for each frame, innermost first; named all at once, which is quicker than one by one."""
    return [line.strip() for line in str(stack).splitlines()]


def plain(part: Any) -> Any:
    """A part as JSON has it: a stack is the list of its frames, a number with a name that name."""
    if is_stack(part):
        return frames(part)
    if isinstance(part, bytes):
        return part.hex()
    if isinstance(part, tuple | list):
        return [plain(item) for item in part]
    if isinstance(part, str):
        return readable(part)
    if isinstance(part, NamedInt) and part.name is not None:
        return part.name
    return int(part) if isinstance(part, int) and not isinstance(part, bool) else part


def readable(text: str) -> str:
    """Text that UTF-8 can have; bytes that were none stand as ``\\xff``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(part: Any) -> str:
    """A part that is no stack, on one line that does a terminal no harm."""
    text = printable(part) if isinstance(part, str) else str(part)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def short(key: Any) -> str:
    """A key on one line, without symbolizing anything."""
    if isinstance(key, tuple):
        inside = ", ".join(short(part) for part in key)
        return f"({inside},)" if len(key) == 1 else f"({inside})"
    return f"<stack of {len(key)}>" if is_stack(key) else repr(key)
