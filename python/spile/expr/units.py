"""Durations, as numbers of nanoseconds: ``elapsed > 5 * ms``, ``utime // us``."""

from __future__ import annotations

from typing import Final

us: Final = 1_000
ms: Final = 1_000_000
s: Final = 1_000_000_000
