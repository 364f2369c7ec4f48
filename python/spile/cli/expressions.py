"""Lists of expressions as the command line spells them.

In: text such as ``pid,path=string(arg.filename)``. Out: names and their text, in the order given; `spile.expr` reads
the text. Commas within brackets and quotes belong to their expression.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import spile

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


def captures(text: str) -> dict[str, spile.Expr[Any]] | Literal["*"]:
    """What `capture=` takes."""
    return "*" if text.strip() == "*" else {name: operand(body) for name, body in named(text)}


def operand(text: str) -> spile.Expr[Any]:
    """An expression that has a value; a condition has none."""
    node: spile.Expr[Any] | spile.Condition = spile.expr(text)
    if isinstance(node, spile.Condition):
        raise spile.SpecError(f"{text!r} is a condition, and a value is wanted here; conditions go into --where")
    return node


def condition(text: str | None) -> spile.Condition | None:
    """An expression that holds or doesn't."""
    if text is None:
        return None
    node = spile.expr(text)
    if not isinstance(node, spile.Condition):
        raise spile.SpecError(f"{text!r} is a value, and --where wants a condition, such as {text} != 0")
    return node
