"""The sets of events. In: the machine's list of tracepoints. Out: those of a set, as ``category:name``.

*core* is what LTT traced in 2004: system calls, scheduler, interrupts, page faults, file system, block, network. *all*
is every tracepoint, `session.tracepoint("*")`: without the category `syscalls`, which tells of raw_syscalls' events
again.
"""

from __future__ import annotations

from pathlib import Path

CORE = (
    "raw_syscalls",
    *("sched", "task", "signal"),
    *("irq", "irq_vectors", "exceptions"),
    *("filemap", "filelock", "writeback", "ext4", "jbd2"),
    "block",
    *("net", "napi", "skb", "sock", "tcp", "udp"),
)
#: Two events of each call, and nothing else.
STORM = ("raw_syscalls",)
AGAIN = "syscalls"


def named(name: str, tracefs: Path) -> list[str]:
    """The events of a set: ``core``, ``all`` or ``storm``."""
    listed = (tracefs / "available_events").read_text().split()
    categories = {"core": CORE, "storm": STORM}.get(name)
    once = [event for event in listed if _category(event) != AGAIN]
    return [event for event in once if categories is None or _category(event) in categories]


def by_category(events: list[str]) -> dict[str, list[str]]:
    """Names by category."""
    found: dict[str, list[str]] = {}
    for event in events:
        category, _, name = event.partition(":")
        found.setdefault(category, []).append(name)
    return found


def _category(event: str) -> str:
    return event.partition(":")[0]
