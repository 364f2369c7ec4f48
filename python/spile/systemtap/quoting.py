"""What a caller chose, written so that SystemTap reads it as what it is: strings, names, numbers, remarks.

In: bytes, names and integers from a spec, which may be hostile. Out: text for a script, or an Unsupported that says
what can't be written. Nothing from a caller gets into a script by any other way.
"""

from __future__ import annotations

import re

from spile.errors import SpecError, Unsupported

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: Bytes that mean themselves in a string, for SystemTap's reader and for the C compiler behind it.
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-./:,;=+")
_REMARK = re.compile(r"[^A-Za-z0-9 _.,:;=<>+\-*/&|^~\[\]]")
_MOST_OF_A_REMARK = 100


def text(words: bytes) -> str:
    """A string literal. Bytes that could mean something else are written in octal."""
    if b"\0" in words:
        raise SpecError("a string with a NUL can't be written: a string in the kernel ends there")
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in words) + '"'


def number(value: int) -> str:
    """An integer literal: 64 bits, whose sign is all that SystemTap knows."""
    signed = value - (1 << 64) if value >= 1 << 63 else value
    if not -(1 << 63) <= signed < 1 << 63:
        raise SpecError(f"{value} does not fit 64 bits: a literal lies within -2**63 … 2**64 - 1")
    # -2**63 as a literal would be the negation of what is no literal.
    if signed == -(1 << 63):
        return "(1 << 63)"
    return str(signed) if signed >= 0 else f"({signed})"


def function(name: str) -> str:
    """A function's name. A pattern would probe more than was asked for."""
    _check(name, _FUNCTION, "function", "letters, digits, _ and . make one")
    return f'"{name}"'


def tracepoint(*parts: str) -> str:
    """A tracepoint's name, or its category and its name."""
    for part in parts:
        _check(part, _NAME, "tracepoint", "letters, digits and _ make one")
    return f'"{":".join(parts)}"'


def member(name: str) -> str:
    """An argument's name, or a member's."""
    if not _NAME.fullmatch(name):
        raise Unsupported(f"SystemTap can't name the field {name!a}: letters, digits and _ make a name in C")
    return name


def remark(words: str) -> str:
    """A line of a comment."""
    cleaned = _REMARK.sub("?", words)
    return cleaned if len(cleaned) <= _MOST_OF_A_REMARK else cleaned[:_MOST_OF_A_REMARK] + " …"


def _check(name: str, form: re.Pattern[str], what: str, rule: str) -> None:
    if not form.fullmatch(name):
        raise SpecError(f"{name!a} can't be a {what}'s name: {rule}")
