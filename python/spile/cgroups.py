"""Cgroups by their paths: where this machine has its one unified hierarchy, and what a path in it is called inside.

In: a path, as the file system or ``/proc/PID/cgroup`` spells it, or an id. Out: the id that the kernel compares; the
paths of ids.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from .errors import SpecError, Unsupported

_MOUNTS = "/proc/self/mountinfo"


def cgroup_id(cgroup: str | os.PathLike[str] | int) -> int:
    """A cgroup's id: its directory's inode number in the cgroup2 hierarchy.

    A path is that of the directory, or one inside the hierarchy: ``"system.slice/cron.service"``. Raises SpecError for
    one that isn't there, Unsupported where no cgroup2 hierarchy is mounted.
    """
    if isinstance(cgroup, int):
        return cgroup
    given = Path(cgroup)
    roots = mounts(Path(_MOUNTS).read_text(encoding="utf-8", errors="surrogateescape"))
    if not roots:
        raise Unsupported("cgroup= asks for the cgroup2 hierarchy, and none is mounted here; pid= and command= work")
    inside = roots[0] / os.fspath(given).lstrip("/")
    devices = {root.stat().st_dev for root in roots}
    for path in (inside, given) if given.is_absolute() else (inside,):
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_dev in devices and path.is_dir():
            return found.st_ino
    raise SpecError(f"there is no cgroup {os.fspath(given)!r} in the cgroup2 hierarchy at {roots[0]}", "target.cgroup")


def cgroup_paths() -> dict[int, str]:
    """The path of each cgroup in the hierarchy, by its id; none where there is no cgroup2."""
    roots = mounts(Path(_MOUNTS).read_text(encoding="utf-8", errors="surrogateescape"))
    if not roots:
        return {}
    found = {roots[0].stat().st_ino: "/"}
    # One that goes away meanwhile has no path any more.
    for folder, names, _ in os.walk(roots[0]):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                found[path.stat().st_ino] = f"/{path.relative_to(roots[0])}"
    return found


def mounts(table: str) -> list[Path]:
    """Where cgroup2 is mounted, by the text of a ``mountinfo``; a mount of the whole hierarchy goes first."""
    found = []
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            root, point = before.split(" ")[3:5]
            found.append((root != "/", re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)))
    return [Path(point) for _, point in sorted(found, key=lambda mount: mount[0])]
