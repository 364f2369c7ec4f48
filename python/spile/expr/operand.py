"""What may stand beside which operator.

In: wrappers and Python values. Out: checked nodes, or a SpecError with the remedy.

Rules: arithmetic and order want integers, or fields, whose type only the kernel knows; strings compare with literals
for equality; stacks compare with nothing; a condition is no value, and a value no condition.
"""

from __future__ import annotations

from spile.errors import SpecError
from spile.expr import literal
from spile.expr.at_start import AtStart
from spile.expr.compare import Compare
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.integer import Integer
from spile.expr.logic import Not
from spile.expr.node import ConditionNode, Kind, Node, ValueNode
from spile.expr.string_in import StringIn

_PARENTHESES = (
    "& | and ~ bind tighter than comparisons: put each comparison in parentheses, "
    "as in (arg.count > 4096) & (comm == 'x')"
)


def node_of(wrapper: object) -> Node | None:
    """The node inside an `Expr` or a `Condition`; None for anything else."""
    # Read from the type: on `arg` every other attribute is a field of the kernel's.
    slot = getattr(type(wrapper), "__spile_node__", None)
    return None if slot is None else slot.__get__(wrapper)


def value(operand: object, what: str) -> ValueNode:
    """The node of an `Expr`; `what` begins the message where it isn't one."""
    node = node_of(operand)
    if isinstance(node, ConditionNode):
        raise SpecError(f"{what} takes a value, and {node.spell()} is a condition. {_PARENTHESES}")
    if not isinstance(node, ValueNode):
        raise SpecError(f"{what} takes a capture, such as pid or arg.count, not {described(operand)}")
    if isinstance(node, Field) and not node.path:
        raise SpecError(f"{what}: arg alone is no value; name a field or an argument, such as arg.count or arg[0]")
    return node


def number(operand: object, operator: str) -> ValueNode:
    """An integer operand: an `Expr` with a number or a field, or a literal."""
    if node_of(operand) is None:
        if isinstance(operand, str):
            raise SpecError(f"{operator} wants integers, and {operand!a} is a string")
        if not literal.is_integer(operand):
            raise SpecError(f"{operator} wants integers, not {described(operand)}{_integer_remedy(operand)}")
        return Integer(literal.integer(operand))
    node = value(operand, operator)
    if node.kind is Kind.STACK:
        raise SpecError(f"{operator} wants integers, and {node.spell()} is a stack: capture it, or count by it")
    if node.kind is Kind.STRING:
        raise SpecError(
            f"{operator} wants integers, and {node.spell()} is a string: compare it by ==, !=, isin() or startswith()"
        )
    return node


def string(node: ValueNode, what: str) -> ValueNode:
    """A node whose value may be a string."""
    if node.kind is Kind.INT:
        is_address = not isinstance(node, Context | Integer)
        remedy = f"; to read a string behind a pointer say string({node.spell()})" if is_address else ""
        raise SpecError(f"{what} wants a string, and {node.spell()} is an integer{remedy}")
    if node.kind is Kind.STACK:
        raise SpecError(f"{what} wants a string, and {node.spell()} is a stack: capture it, or count by it")
    if _there(node) == Context("probe_name"):
        raise SpecError(
            "probe_name is the same for every event of a target, so it decides nothing: use separate probes"
        )
    return node


def _there(node: ValueNode) -> ValueNode:
    """What is computed, wherever that is."""
    return node.value if isinstance(node, AtStart) else node


def string_literal(node: ValueNode, text: object, what: str) -> bytes:
    """A literal to compare `node` with."""
    if isinstance(text, bytes):
        raise SpecError(f"{what} wants a str, not bytes: say {literal.decoded(text)!a}")
    if not isinstance(text, str):
        raise SpecError(f"{what} wants a string literal, not {described(text)}")
    words = literal.string(text)
    if _there(node) == Context("comm") and len(words) > literal.COMM_BYTES:
        raise SpecError(
            f"{text!a} has {len(words)} bytes, and the kernel cuts a comm to {literal.COMM_BYTES}: "
            f"it can never be equal; say {literal.decoded(words[: literal.COMM_BYTES])!a}"
        )
    return words


def compared(left: object, operator: str, right: object) -> ConditionNode:
    """The condition ``left operator right``, where `left` is an `Expr`."""
    node = value(left, operator)
    other = node_of(right)
    is_equality = operator in ("==", "!=")
    if is_equality and (isinstance(right, str | bytes) or (node.kind is Kind.STRING and other is None)):
        what = f"{node.spell()} {operator} {right!a}"
        string(node, what)
        equal = StringIn(node, (string_literal(node, right, what),))
        return equal if operator == "==" else Not(equal)
    if is_equality and isinstance(other, ValueNode) and Kind.STRING in (node.kind, other.kind):
        raise SpecError(
            f"{node.spell()} {operator} {other.spell()}: a string compares with a literal, not with another capture"
        )
    return Compare(operator, number(left, operator), number(right, operator))


def condition(operand: object, what: str) -> ConditionNode:
    """The node of a `Condition`; `what` begins the message where it isn't one."""
    node = node_of(operand)
    if isinstance(node, ConditionNode):
        return node
    if isinstance(node, ValueNode):
        raise SpecError(
            f"{what} takes a condition, and {node.spell()} is a value: say {node.spell()} != 0{_parentheses(what)}"
        )
    if isinstance(operand, bool):
        raise SpecError(f"{what} takes a condition, not {operand}: Python has compared two values of its own already")
    if isinstance(operand, str):
        raise SpecError(f"{what} takes a condition, not a string: say expr({operand!a})")
    raise SpecError(f"{what} takes a condition, such as arg.count > 4096, not {described(operand)}{_parentheses(what)}")


def described(operand: object) -> str:
    """An operand that was refused, in a few words."""
    if operand is None or isinstance(operand, bool | int | float):
        return f"{operand!r}"
    if isinstance(operand, str):
        return f"the string {operand!a}"
    return f"a {type(operand).__name__}"


def _parentheses(what: str) -> str:
    return f". {_PARENTHESES}" if what in ("&", "|", "~") else ""


def _integer_remedy(operand: object) -> str:
    if isinstance(operand, float):
        return ": durations are nanoseconds as an int, such as 5 * ms // 2"
    return ""
