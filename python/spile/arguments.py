"""What a session is given, looked over before anything else: contradictions, absurdities, refused with their path."""

from __future__ import annotations

from typing import Any

from .errors import SpecError


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
