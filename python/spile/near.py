"""Names like the one that isn't there, worded for an error message."""

from __future__ import annotations

from collections.abc import Iterable


def proposal(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean x or y?"`` with the choices most like `word`, or nothing where none is near."""
    from spile import _native

    near = _native.nearest(word, list(choices))
    return f"; did you mean {' or '.join(near)}?" if near else ""
