"""Programs whose user stacks SystemTap can walk: their unwind data goes into the module.

In: what the user named, the traced process, the traced command. Out: paths for ``-d``, as the process maps them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .options import StapOptions

_ELF, _SCRIPT = b"\x7fELF", b"#!"


def programs(options: StapOptions, pid: int | None, command: str | None) -> tuple[str, ...] | None:
    """Those named, and the one that is traced. None where there is none; a module has its own already."""
    traced = _of_file(command) if command is not None else _of_process(pid) if pid is not None else None
    named = tuple(dict.fromkeys([*options.unwind, *([] if traced is None else [traced])]))
    return named or (() if options.module is not None else None)


def _of_process(pid: int) -> str | None:
    try:
        found = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        # It has gone, or is somebody else's: who is told so at the start.
        return None
    return str(found) if found.is_file() else None


def _of_file(path: str) -> str | None:
    """The program that the kernel runs for a file: itself, or its interpreter."""
    try:
        with Path(path).open("rb") as file:
            head = file.readline(256)
    except OSError:
        return None
    if head.startswith(_ELF):
        return os.path.realpath(path)
    words = os.fsdecode(head.removeprefix(_SCRIPT)).split() if head.startswith(_SCRIPT) else []
    # ``#!/usr/bin/env python3`` becomes python3, which is the one that reads.
    if len(words) == 2 and Path(words[0]).name == "env":
        words = [shutil.which(words[1]) or ""]
    return os.path.realpath(words[0]) if words and Path(words[0]).is_file() else None
