"""How an integer of a key is shown.

In: an expression. Out: the same one, which the kernel computes as it is, and beside it what makes a readable integer of
its values.
"""

from __future__ import annotations

from typing import Any, TypeVar

from spile.expr import operand
from spile.expr.context import Context
from spile.expr.node import ValueNode
from spile.expr.wrapper import Expr, Value
from spile.shown import Address, ControlGroup, Disk, Form, Inet

T_co = TypeVar("T_co", covariant=True)


class ShownValue(Value[T_co]):
    """A value with a form of its own. Whatever is calculated with it has none."""

    __slots__ = ("__spile_form__",)

    def __init__(self, node: ValueNode, form: Form) -> None:
        super().__init__(node)
        object.__setattr__(self, "__spile_form__", form)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (operand.node_of(self), form_of(self)))


def form_of(wrapper: object) -> Form | None:
    """What shows the values of an expression; None where they are shown as they are."""
    slot = getattr(type(wrapper), "__spile_form__", None)
    if slot is not None:
        form: Form = slot.__get__(wrapper)
        return form
    return ControlGroup if operand.node_of(wrapper) == Context("cgroup") else None


def symbol(x: Expr[int], /) -> Expr[Address]:
    """A kernel address as a symbol: ``count(by=symbol(arg.call_site))``; looked up when it is read.

    For keys, and values of `top`: the kernel counts by the number. Raises SpecError for what is no integer.
    """
    return _shown(x, "symbol()", Address)


def disk(x: Expr[int], /) -> Expr[Disk]:
    """A block device's number as its name: ``count(by=disk(arg.dev))``; see `symbol`."""
    return _shown(x, "disk()", Disk)


def inet(x: Expr[int], /) -> Expr[Inet]:
    """An IPv4 address, of 32 bits in the order of the network: ``127.0.0.1``; see `symbol`."""
    return _shown(x, "inet()", Inet)


def _shown(x: Expr[int], what: str, form: Form) -> ShownValue[Any]:
    operand.value(x, what)
    return ShownValue(operand.number(x, what), form)
