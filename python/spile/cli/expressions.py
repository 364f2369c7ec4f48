"""Lists of expressions as the command line spells them.

In: text such as ``pid,path=string(arg.filename)``. Out: names and their text, in the order given; `spile.expr` reads
the text. Commas within brackets and quotes belong to their expression. Where a name is unknown, the fields of the probe
are looked up, for the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Literal

import spile
from spile import _native
from spile.targets import parse_probe
from spile.text import read

Fields = Callable[[], Collection[str]]

_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.+)", re.DOTALL)
_LAST_NAME = re.compile(r"(?:[A-Za-z_][\w.]*\.)?([A-Za-z_]\w*)(?:\[:\d+\])?")
_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\""


def split(text: str) -> list[str]:
    """Splits at the commas that separate expressions."""
    parts, depth, quote, start = [], 0, "", 0
    skip = False
    for at, sign in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = sign == "\\"
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        else:
            depth += (sign in _OPEN) - (sign in _CLOSE)
    parts.append(text[start:])
    stripped = [part.strip() for part in parts]
    if "" in stripped:
        raise spile.SpecError(f"an expression is missing between the commas of {text!r}")
    return stripped


def named(text: str) -> list[tuple[str, str]]:
    """Name and text of each: ``name=text``, or a field alone, which is named after its last part."""
    pairs: list[tuple[str, str]] = []
    for part in split(text):
        if match := _NAMED.fullmatch(part):
            name, body = match[1], match[2]
        elif match := _LAST_NAME.fullmatch(part):
            name, body = match[1], part
        else:
            raise spile.SpecError(f"{part!r} needs a name of its own: write name={part}")
        if name in dict(pairs):
            raise spile.SpecError(f"two captures are named {name!r}: name one of them, as in other={body}")
        pairs.append((name, body))
    return pairs


def fields_of(probe: str) -> Fields:
    """Gives the names of the probe's own fields when it is called; none of a pattern, a timer or what isn't there."""

    def names() -> list[str]:
        try:
            kind, target = parse_probe(probe)
            return [name for name, _ in _native.probe_fields(kind, str(target))]
        except (spile.Error, OSError):
            return []

    return names


def captures(text: str, fields: Fields = tuple) -> dict[str, spile.Expr[Any]] | Literal["*"]:
    """What `capture=` takes."""
    return "*" if text.strip() == "*" else {name: operand(body, fields) for name, body in named(text)}


def operand(text: str, fields: Fields = tuple) -> spile.Expr[Any]:
    """An expression that has a value; a condition has none."""
    node: spile.Expr[Any] | spile.Condition = read(text, fields)
    if isinstance(node, spile.Condition):
        raise spile.SpecError(f"{text!r} is a condition, and a value is wanted here; conditions go into --where")
    return node


def condition(text: str | None, fields: Fields = tuple) -> spile.Condition | None:
    """An expression that holds or doesn't."""
    if text is None:
        return None
    node = read(text, fields)
    if not isinstance(node, spile.Condition):
        raise spile.SpecError(f"{text!r} is a value, and --where wants a condition, such as {text} != 0")
    return node
