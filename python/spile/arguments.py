"""What a session is given, looked over before anything else: contradictions, absurdities, refused with their path."""

from __future__ import annotations

from typing import Any

from .errors import SpecError
from .expr.literal import is_integer
from .near import alternatives
from .spec import ON_FULL, TRANSPORTS

#: The most hits of which one may be taken.
MOST_SAMPLED = 1 << 30


def checked_sample(sample: Any) -> int:
    """The number of hits of which one is taken. Raises SpecError for what is none."""
    if isinstance(sample, bool) or not is_integer(sample) or not 1 <= int(sample) <= MOST_SAMPLED:
        meant = ""
        if isinstance(sample, float) and 0 < sample < 1 and 1 / sample <= MOST_SAMPLED:
            meant = f"; for that share of them, sample={round(1 / sample)}"
        raise SpecError(
            f"sample={sample!r}: one hit of 1 … {MOST_SAMPLED} is taken, and sample= is that whole number{meant}",
            "sample",
        )
    return int(sample)


def check_limits(on_full: Any, interval: float, transport: Any) -> None:
    """Refuses what a full queue can't mean, an interval before its beginning, rings that there aren't."""
    if on_full not in ON_FULL:
        raise SpecError(f"on_full={on_full!r} is not known{alternatives(str(on_full), ON_FULL)}")
    if not interval >= 0:
        raise SpecError(f"interval is a time in seconds, at least 0; not {interval!r}")
    if transport not in TRANSPORTS:
        raise SpecError(f"there is no transport {transport!r}{alternatives(transport, TRANSPORTS)}", "transport")


def check_target(command: Any, pid: int | None, cgroup: Any, system_wide: bool) -> None:
    """Refuses a pid that can be none, and targets that contradict each other."""
    if pid is not None and (type(pid) is not int or not 0 < pid < 1 << 31):
        raise SpecError(f"pid is a process id, more than 0; not {pid!r}", "target.pid")
    if pid is not None and command is not None:
        raise SpecError("pid= and command= are two targets: choose one", "target.pid")
    if system_wide and (pid is not None or cgroup is not None):
        other = "pid" if pid is not None else "cgroup"
        raise SpecError(
            f"system_wide=True contradicts {other}=: it is for a command that is not traced alone", "target"
        )
