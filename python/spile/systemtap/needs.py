"""What a script turns out to need besides its probes. In: what its parts ask for. Out: functions and macros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spile.systemtap.library import FUNCTIONS

#: SystemTap's own size of a string, the NUL included; less would cut what its tapsets do.
_STRING = 512
#: SystemTap's own number of frames.
_FRAMES = 20
#: Characters of an address in a backtrace: 0x, 16 digits, a space.
_ADDRESS = 19


@dataclass(slots=True)
class Needs:
    """Gathers."""

    #: Bytes of the longest string, its NUL included.
    string: int = _STRING
    #: Frames of the deepest stack.
    frames: int = 0
    _variables: int = 0
    _functions: set[str] = field(default_factory=set)

    def function(self, name: str) -> str:
        """One of the library's functions is called; gives its name."""
        if name not in self._functions:
            self._functions.add(name)
            for other in FUNCTIONS[name].calls:
                self.function(other)
        return name

    def variable(self) -> str:
        """A local variable that nothing else uses."""
        self._variables += 1
        return f"x{self._variables}"

    def room(self, size: int) -> None:
        """A string has up to so many bytes, its NUL included."""
        self.string = max(self.string, size)

    def stack(self, frames: int) -> None:
        """A stack is taken, so deep."""
        self.frames = max(self.frames, frames)
        # One more than is wanted: the last may be there twice.
        self.room(_ADDRESS * (frames + 1) + 1)

    @property
    def walks_users(self) -> bool:
        """Whether stacks of processes are taken."""
        return "spile_ubacktrace" in self._functions

    def functions(self) -> Iterator[str]:
        """The text of each that is called, in the library's order."""
        return (function.text for name, function in FUNCTIONS.items() if name in self._functions)

    def definitions(self) -> dict[str, int]:
        """Macros for `stap` (``-D``)."""
        macros = {"MAXSTRINGLEN": self.string}
        if self.frames:
            macros["MAXBACKTRACE"] = max(_FRAMES, self.frames + 1)
        return macros
