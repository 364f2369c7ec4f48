"""``kstack`` and ``ustack``: stacks whose depth a slice limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.literal import is_integer
from spile.expr.stack import MAX_STACK_DEPTH, StackTrace
from spile.expr.wrapper import Expr

if TYPE_CHECKING:
    from spile._native import Stack  # noqa: F401 - named in the base class


class Backtrace(Expr["Stack"]):
    """A stack; ``kstack[:8]`` keeps the 8 innermost frames."""

    __slots__ = ()

    def __getitem__(self, frames: slice, /) -> Backtrace:
        node = operand.node_of(self)
        assert isinstance(node, StackTrace)
        stop = _stop(frames, node)
        if stop is None:
            return self
        return Backtrace(StackTrace(node.space, stop if node.frames is None else min(node.frames, stop)))


def _stop(frames: Any, node: StackTrace) -> int | None:
    stack = node.spell()
    if not isinstance(frames, slice) or frames.start not in (None, 0) or frames.step not in (None, 1):
        raise SpecError(f"a stack is cut from its outer end alone: {stack}[:8] keeps the 8 innermost frames")
    stop = frames.stop
    if stop is None:
        return None
    if not is_integer(stop) or not 1 <= int(stop) <= MAX_STACK_DEPTH:
        raise SpecError(f"{stack}[:n] keeps n frames, an integer within 1 … {MAX_STACK_DEPTH}, not {stop!r}")
    return int(stop)
