"""Where an expression is computed: the entry of a function, its return, a tracepoint, a timer, the end of a span.

In: a probe's target. Out: the probe point, and what arguments, outcomes and times are called there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spile.expr.field import Field
from spile.expr.node import ValueNode
from spile.spec import Function, FunctionReturn, Profile, Target, Tracepoint
from spile.systemtap import quoting
from spile.systemtap.needs import Needs
from spile.systemtap.refusal import refuse

#: A local variable that holds the time of the hit.
TIME = "now"


@dataclass(slots=True)
class Place:
    """A probe point. What only spans have is refused here."""

    target: Target
    #: Whether functions are found by the kernel's debugging information, which names arguments and types.
    debuginfo: bool
    needs: Needs
    time: str = TIME
    #: Whether values are saved at the entry of a function that is probed at its return.
    is_return: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_return = isinstance(self.target, FunctionReturn)

    def point(self) -> str:
        """What stands behind ``probe``."""
        target = self.target
        if isinstance(target, Function):
            provider = "kernel.function" if self.debuginfo else "kprobe.function"
            # Without .call the places where the function was inlined would fire too.
            suffix = ".return" if self.is_return else ".call" if self.debuginfo else ""
            return f"{provider}({quoting.function(target.name)}){suffix}"
        if isinstance(target, Profile):
            # A clock of perf's on every CPU; timer.profile knows no rate, and timer.hz only one CPU.
            return f"perf.type(1).config(0).hz({target.hz:d})"
        if isinstance(target, Tracepoint):
            if target.category == "syscalls":
                refuse(f"{target.spelling}, which SystemTap knows only as raw_syscalls:sys_enter and sys_exit")
            return f"kernel.trace({quoting.tracepoint(target.category, target.name)})"
        return f"kernel.trace({quoting.tracepoint(target.name)})"

    def argument(self, node: Field) -> str:
        """A field of the probe's own."""
        first, *steps = node.path
        if isinstance(self.target, Profile):
            refuse(f"{node.spell()}: a timer has no fields")
        if isinstance(self.target, Tracepoint):
            refuse(
                f"{node.spell()} of {self.target.spelling}, for SystemTap sees what it is called with and not what it "
                "records",
                f"raw_tracepoint({self.target.name!a}) has that, and engine='bpf' can",
            )
        text = self._first(first, node) + "".join(map(_step, steps))
        return f"@entry({text})" if self.is_return else text

    def _first(self, first: str | int, node: Field) -> str:
        is_function = isinstance(self.target, Function)
        if isinstance(first, str):
            if is_function and not self.debuginfo:
                refuse(f"{node.spell()} without the kernel's debugging information, where arguments have no names")
            return "$" + quoting.member(first)
        if not is_function or self.debuginfo:
            refuse(f"{node.spell()}, for SystemTap names arguments here: say arg.name")
        if len(node.path) > 1:
            refuse(f"{node.spell()} without the kernel's debugging information, where nothing has members")
        return f"long_arg({first + 1})"

    def elapsed(self) -> str:
        """Nanoseconds since the function's entry."""
        if not self.is_return:
            refuse(f"elapsed at {self.target.spelling}: only returns and spans have it")
        return f"{self.time} - @entry(ktime_get_ns())"

    def returned(self) -> str:
        """What the function returns."""
        if not self.is_return:
            refuse(f"ret and error at {self.target.spelling}: only returns have them")
        return "$return" if self.debuginfo else "returnval()"

    def backtrace(self, space: str) -> str:
        """The stack, as text."""
        if space == "user":
            return f"{self.needs.function('spile_ubacktrace')}()"
        return "backtrace()" if self.debuginfo else f"{self.needs.function('spile_backtrace')}()"

    def start(self) -> Place:
        """The entry of the function that is probed at its return."""
        if not isinstance(self.target, FunctionReturn):
            refuse(f"at_start() at {self.target.spelling}: only returns and spans have a start")
        return Place(Function(self.target.name), self.debuginfo, self.needs, "ktime_get_ns()")

    def saved(self, node: ValueNode, text: str) -> str:
        """A value as it was at the start, where `text` computes it."""
        return f"@entry({text})"


def _step(step: str | int) -> str:
    return f"[{step:d}]" if isinstance(step, int) else f"->{quoting.member(step)}"
