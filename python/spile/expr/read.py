"""Nodes from JSON. In: a `Reader`. Out: the node that its `op` names, or a SpecError with the path."""

from __future__ import annotations

from spile.expr.at_start import AtStart
from spile.expr.binary import Binary
from spile.expr.compare import Compare
from spile.expr.context import Context
from spile.expr.field import Field
from spile.expr.integer import Integer
from spile.expr.is_in import IsIn
from spile.expr.logic import And, Not, Or
from spile.expr.node import ConditionNode, ValueNode
from spile.expr.stack import StackTrace
from spile.expr.starts_with import StartsWith
from spile.expr.string import String
from spile.expr.string_in import StringIn
from spile.expr.unary import Unary
from spile.reader import Reader

_VALUES: dict[str, type[ValueNode]] = {
    node.op: node for node in (Field, Context, StackTrace, Integer, Binary, Unary, AtStart, String)
}
_CONDITIONS: dict[str, type[ConditionNode]] = {
    node.op: node for node in (Compare, StringIn, StartsWith, IsIn, And, Or, Not)
}


class _Nodes:
    """Both readers, as nodes want them for their children."""

    @staticmethod
    def value(reader: Reader, /) -> ValueNode:
        op = reader.member("op").choice(*_VALUES)
        return _VALUES[op].read(reader, _NODES)

    @staticmethod
    def condition(reader: Reader, /) -> ConditionNode:
        op = reader.member("op").choice(*_CONDITIONS)
        return _CONDITIONS[op].read(reader, _NODES)


_NODES = _Nodes()
read_value = _Nodes.value
read_condition = _Nodes.condition
