"""Names like the one that isn't there, worded for an error message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spile.errors import Error


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


def tracepoints_like(functions: Sequence[str]) -> str:
    """``"; the nearest tracepoints are x, y"``: those that share words with functions; nothing where there are none."""
    from spile import _native

    try:
        known = [spelling for kind, spelling in _native.list_probes("tracepoint:*") if kind == "tracepoint"]
    except (Error, OSError):
        return ""
    scored = sorted((-max(_likeness(name, spelling) for name in functions), spelling) for spelling in known)
    listed = [spelling for score, spelling in scored if score < 0][:3]
    return f"; the nearest tracepoints are {', '.join(listed)}" if listed else ""


def _likeness(function: str, tracepoint: str) -> float:
    """The share of words that two names have in common; system calls are what most look for."""
    category, _, name = tracepoint.partition(":")
    is_call = category == "syscalls"
    ours = set(function.split("_"))
    theirs = set(name.split("_")) - ({"sys", "enter", "exit"} if is_call else set())
    shared = len(ours & theirs) / len(ours | theirs)
    return shared * 1.1 if is_call else shared
