"""The lab's folder on this machine, and who may use what alone.

In: XDG_CACHE_HOME. Out: paths, locks. What is made in the folder appears there complete or not at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def folder() -> Path:
    """Where the lab keeps kernels, modules and the runs' files."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spile-lab"


@contextmanager
def lock(name: str) -> Iterator[int]:
    """Holds a lock of the whole machine's, by its descriptor: a child that inherits it holds it too."""
    path = folder() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "somebody"
            print(f"lab: waiting for the {name} that {holder} uses", file=sys.stderr, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A folder to fill; it gets its name when it is filled, and is gone where that fails."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        yield half
        shutil.rmtree(path, ignore_errors=True)
        half.rename(path)
    finally:
        shutil.rmtree(half, ignore_errors=True)
