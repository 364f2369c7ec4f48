"""What a session warns of. In: a text and its category. Out: a warning at the line of the script that asked."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __file__.rpartition(os.sep)[0] + os.sep


def warn(text: str, category: type[Warning]) -> None:
    """Warns at the nearest line that isn't this package's."""
    warnings.warn(text, category, _stack_level())


def _stack_level() -> int:
    """How far up from the caller of this the nearest frame is that isn't this package's."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    return level
