"""Names like the one that isn't there, worded for an error message."""

from __future__ import annotations

from collections.abc import Iterable


def proposal(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """``"; did you mean x or y?"`` with the choices most like `word`, or nothing where none is near.

    `prefix` is written before each of them.
    """
    from spile import _native

    near = _native.nearest(word, list(choices))
    return f"; did you mean {' or '.join(prefix + choice for choice in near)}?" if near else ""


def alternatives(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """As `proposal`; where none is near, the first choices there are."""
    unique = list(dict.fromkeys(choices))
    if near := proposal(word, unique, prefix):
        return near
    return f"; there is {', '.join(prefix + choice for choice in unique[:8])}" if unique else "; there is none"
