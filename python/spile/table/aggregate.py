"""What tables and cells share: the declaration, and later the native table behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spile._native import NativeTable


class Aggregate:
    """What `Table` and `Cell` share: the declaration, and later the native table behind it."""

    def __init__(self, function: str, by: tuple[Any, ...] | None, *, scalar: bool = False, label: str = "") -> None:
        self.function = function
        """What is accumulated: ``"count"``."""
        self.by = by
        """The expressions of the key; None for a single cell."""
        self.scalar = scalar
        """Whether keys are bare values (``by=x``) instead of tuples (``by=(x,)``)."""
        self._label = label
        self._native: NativeTable | None = None
        self._refresh: Callable[[bool], None] = _nothing

    def _bind(self, native: NativeTable, refresh: Callable[[bool], None]) -> None:
        """Connects to a started engine; `refresh(now)` drains it, unless a drain within the interval is good enough."""
        self._native, self._refresh = native, refresh

    @property
    def total(self) -> int:
        """Events counted since the start, those taken included."""
        self._refresh(False)
        return self._native.total if self._native is not None else 0

    @property
    def faulted(self) -> int:
        """Events that were not counted because a part of their key could not be read."""
        return self._native.faulted if self._native is not None else 0


def _nothing(now: bool) -> None:
    """There is no engine to drain."""
