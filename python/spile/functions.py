"""Functions, which no engine here can probe yet. In: their names. Out: an error that names what can be probed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from .errors import Error, Unsupported


def refuse(target: str | Sequence[str]) -> NoReturn:
    """Raises Unsupported, naming the tracepoints that are most like the functions."""
    names = [target] if isinstance(target, str) else list(target)
    raise Unsupported(
        f"this engine can't probe functions yet, so not {', '.join(map(repr, names))}; "
        f"it probes tracepoints, raw tracepoints and timers{_nearest_tracepoints(names)}"
    )


def _nearest_tracepoints(names: Sequence[str]) -> str:
    """Tracepoints that share words with functions, most first; nothing where they can't be read."""
    from . import _native

    try:
        known = [spelling for kind, spelling in _native.list_probes() if kind == "tracepoint"]
    except (Error, OSError):
        return ""
    scored = sorted((-max(_likeness(name, spelling) for name in names), spelling) for spelling in known)
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
