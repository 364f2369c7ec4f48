"""Integers in a script, and Python's operators on them.

In: operands with their types. Out: text that computes the same as the embedded engine does. SystemTap knows one
integer, of 64 bits with a sign, so what is unsigned is known here alone, and operators that mind the sign are written
out or call one of `FUNCTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spile.systemtap import quoting
from spile.systemtap.needs import Needs

_ALL_SIGNS = {"==", "!="}


@dataclass(frozen=True, slots=True)
class Int:
    """An integer: its text, and its type as the embedded engine has it."""

    text: str
    size: int = 8
    signed: bool = True
    #: Known to lie within 0 … 2**63 - 1, where signed and unsigned are the same.
    small: bool = False
    #: The value, where it is known.
    value: int | None = None
    #: Whether an operator may stand beside the text.
    atomic: bool = True

    @property
    def is_u64(self) -> bool:
        """Whether its upper half would be taken for negative."""
        return self.size == 8 and not self.signed

    @property
    def inside(self) -> str:
        """The text, fit to stand beside an operator."""
        return self.text if self.atomic else f"({self.text})"


def literal(value: int) -> Int:
    """An integer that the script's author wrote."""
    return Int(quoting.number(value), signed=value < 1 << 63, small=0 <= value < 1 << 63, value=value)


def arithmetic(operator: str, left: Int, right: Int, needs: Needs) -> Int:
    """``left operator right``, 64 bits that wrap; ``//`` and ``%`` floor, and by zero give 0."""
    if operator in ("//", "%"):
        return _divided(operator, left, right, needs)
    if operator in ("<<", ">>"):
        return _shifted(operator, left, right, needs)
    signed = not left.is_u64 and not right.is_u64
    # A mask leaves what is within it.
    small = (operator == "&" and (left.small or right.small)) or (operator in "|^" and left.small and right.small)
    return Int(f"{left.inside} {operator} {right.inside}", signed=signed, small=small, atomic=False)


def negated(operand: Int) -> Int:
    """``-operand``."""
    return Int(f"0 - {operand.inside}", signed=not operand.is_u64, atomic=False)


def inverted(operand: Int) -> Int:
    """``~operand``, in the operand's own width."""
    if operand.signed or operand.size == 8:
        return Int(f"~{operand.inside}", operand.size, operand.signed)
    return Int(
        f"{operand.inside} ^ {(1 << 8 * operand.size) - 1}", operand.size, operand.signed, small=True, atomic=False
    )


def compared(operator: str, left: Int, right: Int, needs: Needs) -> str:
    """A comparison, mathematical where the signs are mixed."""
    if operator in (">", "<="):
        # One order is enough: a > b is b < a, and a <= b is its opposite.
        less = _less(right, left, needs)
        return less if operator == ">" else f"!({less})"
    if operator in ("<", ">="):
        less = _less(left, right, needs)
        return less if operator == "<" else f"!({less})"
    return _equality(operator, left, right, needs)


def _equality(operator: str, left: Int, right: Int, needs: Needs) -> str:
    if left.is_u64 == right.is_u64 or left.small or right.small:
        return f"{left.inside} {operator} {right.inside}"
    signed, unsigned = (right, left) if left.is_u64 else (left, right)
    same = f"{needs.function('spile_same')}({signed.text}, {unsigned.text})"
    return same if operator == "==" else f"!{same}"


def _less(left: Int, right: Int, needs: Needs) -> str:
    left_plain, right_plain = not left.is_u64 or left.small, not right.is_u64 or right.small
    if left_plain and right_plain:
        return f"{left.inside} < {right.inside}"
    # Of what remains at least one side is unsigned; the other is signed, small, or unsigned too.
    if left.is_u64 or left.small:
        name = "spile_below" if right.is_u64 or right.small else "spile_below_signed"
    else:
        name = "spile_signed_below"
    return f"{needs.function(name)}({left.text}, {right.text})"


def _divided(operator: str, left: Int, right: Int, needs: Needs) -> Int:
    signed = not left.is_u64 and not right.is_u64
    if right.value == 0:
        return Int("0", signed=signed, small=True, value=0)
    small = left.small and right.small
    if small and right.value is not None:
        sign = "/" if operator == "//" else "%"
        return Int(f"{left.inside} {sign} {right.inside}", signed=signed, small=True, atomic=False)
    kind = "" if signed else "unsigned_"
    name = needs.function(f"spile_{kind}{'quotient' if operator == '//' else 'remainder'}")
    return Int(f"{name}({left.text}, {right.text})", signed=signed, small=small)


def _shifted(operator: str, left: Int, right: Int, needs: Needs) -> Int:
    signed = not left.is_u64
    is_left = operator == "<<"
    is_logical = not is_left and left.is_u64 and not left.small
    if right.value is not None and 0 <= right.value < 64 and not is_logical:
        small = not is_left and left.small
        return Int(f"{left.inside} {operator} {right.inside}", signed=signed, small=small, atomic=False)
    name = "spile_shift_left" if is_left else "spile_logical_shift_right" if is_logical else "spile_shift_right"
    return Int(f"{needs.function(name)}({left.text}, {right.text})", signed=signed, small=not is_left and left.small)
