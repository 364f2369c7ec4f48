"""Stacks that left their machine: frames by their symbols. In: a live stack, or what was read. Out: `SavedStack`.

Addresses differ from boot to boot, and mean nothing elsewhere: what makes two saved stacks the same is the symbol,
offset and module of each frame, and the address only of one that has no symbol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

from spile.table.keys import is_stack


class SavedFrame(NamedTuple):
    """One frame, as it was called where it was seen."""

    address: int
    symbol: str | None
    offset: int | None
    module: str | None

    def __str__(self) -> str:
        if self.symbol is None:
            return f"{self.address:#x}"
        module = f" [{self.module}]" if self.module else ""
        return f"{self.symbol}+{self.offset or 0:#x}{module}"

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from others on any machine."""
        return (self.address,) if self.symbol is None else (self.symbol, self.offset, self.module)


class SavedStack(Sequence[SavedFrame]):
    """A stack as `Stack` is one, innermost frame first, whose frames have the names that they had where it was seen."""

    __slots__ = ("_frames", "_hash", "_identity", "pid", "space")

    def __init__(self, space: str, pid: int, frames: Iterable[SavedFrame]) -> None:
        self.space = space
        """``"kernel"`` or ``"user"``."""
        self.pid = pid
        """The process that a user stack was of; 0 for a kernel stack."""
        self._frames = tuple(frames)
        self._identity = (space, *(frame.identity for frame in self._frames))
        self._hash = hash(self._identity)

    @property
    def addresses(self) -> tuple[int, ...]:
        """The frames' addresses, on the machine where it was seen."""
        return tuple(frame.address for frame in self._frames)

    @overload
    def __getitem__(self, index: int) -> SavedFrame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SavedFrame, ...]: ...
    def __getitem__(self, index: int | slice) -> SavedFrame | tuple[SavedFrame, ...]:
        return self._frames[index]

    def __len__(self) -> int:
        return len(self._frames)

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, SavedStack) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def folded(self) -> str:
        """Symbols from the outermost, joined by ``;``, as flame graphs want them."""
        names = [frame.symbol or f"{frame.address:#x}" for frame in reversed(self._frames)]
        return ";".join(names) or "[no frames]"

    def __str__(self) -> str:
        return "\n".join(f"    {frame}" for frame in self._frames) or "    [no frames]"

    def __repr__(self) -> str:
        return f"<{self.space} SavedStack of {len(self)} frames>"

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedStack, (self.space, self.pid, self._frames)


def saved(part: Any) -> Any:
    """A part of a key, which is no live stack any more."""
    if not is_stack(part) or isinstance(part, SavedStack):
        return part
    frames = (SavedFrame(frame.address, frame.symbol, frame.offset, frame.module) for frame in part)
    return SavedStack(part.space, part.pid, frames)
