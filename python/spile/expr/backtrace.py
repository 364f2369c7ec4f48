"""``kstack`` and ``ustack``: stacks whose depth a slice limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.literal import is_integer
from spile.expr.stack import MAX_STACK_DEPTH, StackTrace
from spile.expr.wrapper import Expr

if TYPE_CHECKING:
    from spile._native import Stack


class Backtrace(Expr["Stack"]):
    """A stack; ``kstack[:8]`` keeps the 8 innermost frames."""

    __slots__ = ()

    def __getitem__(self, frames: slice, /) -> Backtrace:
        node = operand.node_of(self)
        assert isinstance(node, StackTrace)
        if not isinstance(frames, slice) or frames.start not in (None, 0) or frames.step not in (None, 1):
            raise SpecError(f"a stack is cut from its outer end alone: {self!r}[:8] keeps the 8 innermost frames")
        if frames.stop is None:
            return self
        if not is_integer(frames.stop) or not 1 <= int(frames.stop) <= MAX_STACK_DEPTH:
            raise SpecError(
                f"{self!r}[:n] keeps n frames, an integer within 1 … {MAX_STACK_DEPTH}, not {frames.stop!r}"
            )
        kept = int(frames.stop) if node.frames is None else min(node.frames, int(frames.stop))
        return Backtrace(StackTrace(node.space, kept))
