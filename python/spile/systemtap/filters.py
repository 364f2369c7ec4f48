"""Whom a session sees. In: its target filter. Out: a condition for handlers, and the probes that keep it true.

Process ids are no part of the script: the followed process is `stap`'s target (``-x``), and the tracer's own is a
global that is set on the command line.
"""

from __future__ import annotations

from spile.spec import TargetFilter
from spile.systemtap.refusal import refuse
from spile.systemtap.text import Lines, block

_TRACER = "spile_tracer"
#: Processes that are followed at most.
_MOST = 65536


class Filter:
    """The conditions of a session's target filter."""

    def __init__(self, target: TargetFilter, debuginfo: bool) -> None:
        self._follows = target.pid is not None and target.follow
        self._is_one = target.pid is not None and not target.follow
        self._cgroup = target.cgroup
        self._debuginfo = debuginfo
        if target.cgroup is not None and not debuginfo:
            refuse("cgroup= without the kernel's debugging information")
        self.tracer = _TRACER if target.exclude_self else None

    @property
    def unseen(self) -> str:
        """The condition under which a hit is not for the session."""
        terms = []
        if self.tracer:
            # SystemTap's reader would see itself reading what it made see.
            terms += ["pid() == stp_pid()", f"pid() == {self.tracer}"]
        if self._is_one:
            terms.append("pid() != target()")
        if self._follows:
            terms.append("!([pid()] in followed)")
        if self._cgroup is not None:
            terms.append(
                f'@cast(task_current(), "task_struct", "kernel")->cgroups->dfl_cgrp->kn->id != {self._cgroup:d}'
            )
        return " || ".join(terms)

    def declared(self) -> list[str]:
        """Globals."""
        lines = [f"global {self.tracer} = -1"] if self.tracer else []
        return [*lines, f"global followed[{_MOST}]"] if self._follows else lines

    def probes(self) -> Lines:
        """What keeps them complete: children are born into it, and leave once nothing is left of them."""
        if not self._follows:
            return []
        child = "task_pid(pointer_arg(1))"
        provider, suffix = ("kernel", ".call") if self._debuginfo else ("kprobe", "")
        return [
            "",
            "# The followed processes: a child is one of them before it runs, and until nothing is left of it.",
            "probe begin { followed[target()] = 1 }",
            *block(
                f'probe {provider}.function("wake_up_new_task"){suffix}',
                [f"if ([pid()] in followed) followed[{child}] = 1"],
            ),
            *block(
                f'probe {provider}.function("__put_task_struct"){suffix} ?',
                [f"if (task_tid(pointer_arg(1)) == {child}) delete followed[{child}]"],
            ),
        ]
