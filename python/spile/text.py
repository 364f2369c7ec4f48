"""Expressions as text: ``expr("arg.count > 4096 and comm in ('cc1', 'as')")``.

In: a string in Python's grammar. Out: the wrappers that the operators make, with equal nodes, or a SpecError with the
column, a caret and the nearest name. `ast` parses; only the nodes of `_Builder` and the names of `NAMES` are taken.
No Python is evaluated: names are looked up in that one dict, and operators are applied to what it holds and literals.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from spile.errors import SpecError
from spile.expr import captures, context, literal, operand, units
from spile.expr.functions import at_start, between, isin, startswith, string
from spile.expr.path import Path
from spile.expr.shown import disk, inet, symbol
from spile.expr.wrapper import Condition, Expr
from spile.near import proposal

#: Longer texts are refused: whoever writes one wants isin(), or operators in Python.
MAX_LENGTH = 4096

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "at_start": at_start,
    "between": between,
    "disk": disk,
    "inet": inet,
    "isin": isin,
    "startswith": startswith,
    "string": string,
    "symbol": symbol,
}
NAMES: dict[str, Any] = {
    "arg": captures.arg,
    **{
        name: getattr(captures, name)
        for name in (*context.NUMBERS, *context.STRINGS, *context.OUTCOMES, "kstack", "ustack")
    },
    **{name: getattr(units, name) for name in ("us", "ms", "s")},
    **_FUNCTIONS,
}

_BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.Invert: operator.invert}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def expr(text: str, /) -> Any:
    """Reads an expression or a condition: an `Expr` for a value, a `Condition` for what decides.

    Python's grammar, with the names of captures (``pid``, ``comm``, ``arg.count``, ``kstack[:8]`` …), literal integers
    and strings, the operators of `Expr` and `Condition`, ``and or not in``, chained comparisons, the units ``us ms s``
    and the functions ``at_start between disk inet isin startswith string symbol``. No Python is evaluated.
    ``where=expr("pid == 42")`` means the same as ``where=pid == 42``.

    Raises SpecError, which shows the column, for everything else.
    """
    return read(text)


def read(text: str, fields: Callable[[], Collection[str]] = tuple) -> Any:
    """What `expr` does. `fields` gives the names of the probe's own fields, and is asked only for an error's sake."""
    if not isinstance(text, str):
        raise SpecError(f"expr() takes a string, not {operand.described(text)}")
    return _Builder(text, fields).build()


class _Builder:
    """One text on its way to a wrapper."""

    def __init__(self, text: str, fields: Callable[[], Collection[str]]) -> None:
        self.text = text.strip()
        self.fields = fields
        # As `ast` counts lines, which `splitlines` does not.
        self.lines = re.split("\r\n|\r|\n", self.text)

    def build(self) -> Any:
        try:
            tree = self.parsed()
            result = self.value(tree)
            if isinstance(result, Path):
                self.checked(tree, operand.value, result, "an expression")
        except RecursionError:
            raise SpecError(f"the expression is nested too deeply: {_short(self.text)}") from None
        if not isinstance(result, Expr | Condition):
            self.refuse(tree, "a literal alone is no expression: name a capture, such as pid or arg.count")
        return result

    def parsed(self) -> ast.expr:
        if not self.text:
            raise SpecError("the expression is empty: name a capture, such as pid or arg.count")
        if len(self.text) > MAX_LENGTH:
            raise SpecError(f"the expression has {len(self.text)} characters, and at most {MAX_LENGTH} are read")
        try:
            with warnings.catch_warnings():
                # An escape that Python only warns about (as either, by version) is a slip here.
                warnings.simplefilter("error", DeprecationWarning)
                warnings.simplefilter("error", SyntaxWarning)
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            # Offset 0 is the end of the text, where the parser wanted more.
            column = (error.offset or len(self.text) + 1) - 1
            self.refuse_at(f"this is not Python's grammar: {error.msg}", error.lineno or 1, column, 1)
        except (ValueError, MemoryError) as error:
            raise SpecError(f"this is not Python's grammar: {error}: {_short(self.text)}") from None

    def value(self, node: ast.expr) -> Any:
        """The wrapper, the literal or the function that `node` stands for."""
        build = getattr(self, f"_{type(node).__name__}", None)
        if build is None:
            self.refuse(node, f"{_KINDS.get(type(node), 'this')} can't be part of an expression")
        return build(node)

    def operand(self, node: ast.expr) -> Any:
        """A value, as against a function's name."""
        value = self.value(node)
        if callable(value) and not isinstance(value, Expr | Condition):
            name = ast.unparse(node)
            self.refuse(node, f"{name} is a function: call it, as in {name}(…)")
        return value

    def checked(self, node: ast.expr, make: Callable[..., Any], *values: Any) -> Any:
        """What `make` gives, its errors shown at `node`."""
        try:
            result = make(*values)
            return literal.integer(result) if isinstance(result, int) else result
        except SpecError as error:
            self.refuse(node, error.message)
        except (TypeError, ValueError, ZeroDivisionError, OverflowError, MemoryError) as error:
            self.refuse(node, str(error))

    # Leaves.

    def _Name(self, node: ast.Name) -> Any:  # noqa: N802 - named as the node of `ast`
        if node.id not in NAMES:
            self.refuse(node, f"nothing is called {node.id!r}{self.meant(node.id)}")
        return NAMES[node.id]

    def meant(self, name: str) -> str:
        """What an unknown name may stand for: a field of that name before anything that is only like it."""
        fields = [f"arg.{field}" for field in self.fields()]
        if f"arg.{name}" in fields:
            return f"; did you mean arg.{name}? The probe's own fields are spelt with arg"
        return proposal(name, NAMES) or proposal(f"arg.{name}", fields)

    def _Constant(self, node: ast.Constant) -> Any:  # noqa: N802
        if isinstance(node.value, bool):
            return node.value
        if isinstance(node.value, int):
            return self.checked(node, literal.integer, node.value)
        if isinstance(node.value, str):
            if self.is_joined(node):
                self.refuse(node, "two strings side by side become one: put a comma or an operator between them")
            return node.value
        return self.refuse(node, f"{node.value!r} is no literal here: integers and strings are")

    def is_joined(self, node: ast.Constant) -> bool:
        """Whether it is written as several strings that Python would concatenate."""
        source = self.source(node)
        quote = source.lstrip("rRuU")[:3]
        quote = quote if quote in ('"""', "'''") else quote[:1]
        body = source.lstrip("rRuU")[len(quote) :]
        end = 0
        while end < len(body) and not body.startswith(quote, end):
            end += 2 if body[end] == "\\" else 1
        return bool(body[end + len(quote) :].strip())

    # Paths, slices and calls.

    def _Attribute(self, node: ast.Attribute) -> Any:  # noqa: N802
        base = self.operand(node.value)
        if not isinstance(base, Path):
            self.refuse(node, f"{ast.unparse(node.value)} has no fields: only arg has, as in arg.{node.attr}")
        # By item, so that no name reaches Python's own attributes.
        return base[node.attr]

    def _Subscript(self, node: ast.Subscript) -> Any:  # noqa: N802
        base = self.operand(node.value)
        if isinstance(base, Expr) and isinstance(node.slice, ast.Slice):
            bounds = (node.slice.lower, node.slice.upper, node.slice.step)
            index: Any = slice(*(None if bound is None else self.operand(bound) for bound in bounds))
        else:
            index = self.operand(node.slice)
        if not isinstance(base, Expr) or not hasattr(type(base), "__getitem__"):
            self.refuse(
                node, f"{ast.unparse(node.value)} takes no [ ]: fields are arg[0] and arg['from'], depths kstack[:8]"
            )
        if isinstance(index, Expr | Condition):
            self.refuse(node.slice, "a position is a literal")
        return self.checked(node, operator.getitem, base, index)

    def _Call(self, node: ast.Call) -> Any:  # noqa: N802
        function = self.value(node.func)
        if isinstance(function, Expr | Condition):
            # Raises, and says what it is.
            self.checked(node, operator.call, function)
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            self.refuse(
                node.func, f"{ast.unparse(node.func)} is no function; the functions are {', '.join(sorted(_FUNCTIONS))}"
            )
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.refuse(argument, "arguments are given one by one, without *")
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                self.refuse(keyword.value, "arguments are given one by one, without **")
            named[keyword.arg] = self.operand(keyword.value)
        values = [self.operand(argument) for argument in node.args]
        return self.checked(node, lambda: function(*values, **named))

    # Operators.

    def _UnaryOp(self, node: ast.UnaryOp) -> Any:  # noqa: N802
        inner = self.operand(node.operand)
        if isinstance(node.op, ast.Not):
            return ~self.condition(node.operand, inner, "not")
        if type(node.op) not in _UNARY:
            self.refuse(node, "+x says nothing: leave the sign out")
        if isinstance(inner, str):
            self.refuse(node, "a string has no sign and no bits")
        return self.checked(node, _UNARY[type(node.op)], int(inner) if isinstance(inner, bool) else inner)

    def _BinOp(self, node: ast.BinOp) -> Any:  # noqa: N802
        left, right = self.operand(node.left), self.operand(node.right)
        sign, apply = _BINARY.get(type(node.op), ("", operator.add))
        if not sign:
            hint = "; say //" if isinstance(node.op, ast.Div) else ""
            self.refuse(node, f"the operator can't be part of an expression{hint}; the operators are {_SIGNS}")
        if isinstance(left, str) or isinstance(right, str):
            self.refuse(node, f"{sign} wants integers, and one of these is a string")
        if isinstance(left, int) and isinstance(right, int) and sign == "<<" and right > 64:
            self.refuse(node, "a literal has at most 64 bits")
        return self.checked(node, apply, left, right)

    def _BoolOp(self, node: ast.BoolOp) -> Any:  # noqa: N802
        word = "and" if isinstance(node.op, ast.And) else "or"
        terms = [self.condition(term, self.operand(term), word) for term in node.values]
        joined = terms[0]
        for term in terms[1:]:
            joined = self.checked(node, operator.and_ if word == "and" else operator.or_, joined, term)
        return joined

    def _Compare(self, node: ast.Compare) -> Any:  # noqa: N802
        if any(isinstance(op, ast.In | ast.NotIn) for op in node.ops):
            return self.membership(node)
        values = [self.operand(side) for side in (node.left, *node.comparators)]
        conditions = []
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            if type(op) not in _COMPARE:
                self.refuse(node, "`is` compares Python's objects: say == or !=")
            if not isinstance(left, Expr | Condition) and not isinstance(right, Expr | Condition):
                self.refuse(node, "this compares two literals: one side is a capture, such as pid or arg.count")
            conditions.append(self.checked(node, _COMPARE[type(op)], left, right))
        joined = conditions[0]
        for condition in conditions[1:]:
            joined = self.checked(node, operator.and_, joined, condition)
        return joined

    def membership(self, node: ast.Compare) -> Any:
        if len(node.ops) != 1:
            self.refuse(node, "`in` can't be chained with another comparison: use `and`, with parentheses")
        choices = node.comparators[0]
        if not isinstance(choices, ast.Tuple | ast.List | ast.Set):
            self.refuse(choices, "`in` takes literals in parentheses, as in comm in ('cc1', 'as')")
        value = self.operand(node.left)
        if not isinstance(value, Expr | Condition):
            self.refuse(node.left, "the left side of `in` is a capture, as in comm in ('cc1', 'as')")
        held = self.checked(node, isin, value, *(self.operand(choice) for choice in choices.elts))
        return ~held if isinstance(node.ops[0], ast.NotIn) else held

    def condition(self, node: ast.expr, value: Any, word: str) -> Condition:
        self.checked(node, operand.condition, value, f"`{word}`")
        return value  # type: ignore[no-any-return]

    # Errors.

    def source(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def refuse(self, node: ast.expr, message: str) -> NoReturn:
        """Raises a SpecError that points at `node`."""
        # `ast` counts bytes of UTF-8, people count characters.
        before = self.lines[node.lineno - 1].encode()[: node.col_offset]
        width = len(self.source(node)) if node.end_lineno == node.lineno else 1
        self.refuse_at(message, node.lineno, len(before.decode(errors="ignore")), width)

    def refuse_at(self, message: str, line: int, column: int, width: int) -> NoReturn:
        """Raises a SpecError that points at `width` characters; `line` counts from 1, `column` from 0."""
        if line > len(self.lines):  # the parser wanted more
            line, column = len(self.lines), len(self.lines[-1])
        shown = self.lines[line - 1]
        column = max(0, min(column, len(shown)))
        place = f"column {column + 1}" if len(self.lines) == 1 else f"line {line}, column {column + 1}"
        begin = max(0, column - _SHOWN // 2)
        caret = " " * (column - begin) + "^" * max(1, min(width, len(shown) - column, _SHOWN // 2))
        shown = shown[begin : begin + _SHOWN].translate(_VISIBLE)
        raise SpecError(f"{message} ({place})\n    {shown}\n    {caret}") from None


#: So many characters of a long line are shown around what is wrong.
_SHOWN = 100
_VISIBLE = dict.fromkeys((*range(32), 127), " ")
_SIGNS = " ".join(sign for sign, _ in _BINARY.values())
_KINDS: dict[type[ast.expr], str] = {
    ast.IfExp: "`if … else`",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "`:=`",
    ast.JoinedStr: "an f-string",
    ast.Tuple: "a tuple",
    ast.List: "a list",
    ast.Dict: "a dict",
    ast.Set: "a set",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Await: "`await`",
    ast.Yield: "`yield`",
    ast.Starred: "`*`",
    ast.Slice: "a slice",
}


def _short(text: str) -> str:
    return f"{text!a}" if len(text) <= 60 else f"{text[:57]!a}…"
