"""What scripts hold: `Expr[T]`, a value that a probe computes, and `Condition`, what decides whether it fires.

In: Python's operators. Out: nodes, checked as far as they can be without a kernel. Nothing is computed here, so
whatever wants an answer from Python at once (`if`, `and`, `in`, a loop, a dict) fails loudly and names the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, overload

from spile.enums import NamedInt
from spile.errors import SpecError
from spile.expr import operand
from spile.expr.binary import Binary
from spile.expr.logic import And, Not, Or
from spile.expr.node import ConditionNode, ValueNode
from spile.expr.unary import Unary

T_co = TypeVar("T_co", covariant=True)


class _Frozen:
    """A wrapper around a node that never changes."""

    __slots__ = ("__spile_node__",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equality makes a condition, so there is nothing to hash by
    __iter__: ClassVar[None] = None

    def __init__(self, node: ValueNode | ConditionNode) -> None:
        object.__setattr__(self, "__spile_node__", node)

    def __repr__(self) -> str:
        node = operand.node_of(self)
        assert node is not None
        return node.spell()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (operand.node_of(self),))

    def __bool__(self) -> NoReturn:
        raise SpecError(
            f"`{self!r}` has no truth in Python: the kernel decides, at each event. For `and`, `or`, `not` write & | ~ "
            "with parentheses around each comparison; for a < b < c, between(b, a, c) or (a < b) & (b < c); for `in`, "
            "isin(x, …); an `if` belongs into where="
        )

    if not TYPE_CHECKING:  # a type checker that doesn't see these refuses the operators by itself

        def __setattr__(self, name, value):
            raise SpecError(f"{self!r} can't be assigned to (.{name}): spile reads the kernel and never writes")

        def __delattr__(self, name):
            raise SpecError(f"{self!r} can't be changed (.{name}): spile reads the kernel and never writes")

        def __contains__(self, item):
            raise SpecError(f"`in` can't look into `{self!r}`: say isin(x, …), or startswith(x, prefix)")

        def __len__(self):
            raise SpecError(f"`{self!r}` has no length in Python: the kernel computes it at each event")

        def _number_wanted(self, *_):
            raise SpecError(f"`{self!r}` is no number in Python: the kernel computes it at each event")

        __int__ = __float__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _number_wanted
        del _number_wanted


class Expr(_Frozen, Generic[T_co]):
    """A value of type `T_co` that a probe computes when it fires: ``pid``, ``arg.count``, ``utime // ms``, ``kstack``.

    Integers have 64 bits and wrap; comparisons are mathematical; ``//`` and ``%`` floor, and by zero give 0; ``~``
    keeps the type's width. Comparisons give a `Condition`. Each raises SpecError for operands that can't be: a string
    with a number, a stack in a condition, a float, a literal of more than 64 bits.

    As a class attribute of an `Event` subclass it is a typed field: of the class, the `Expr`; of an event, its value.
    """

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> T_co: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None, /) -> Any:
        if instance is None:
            return self
        # Two names of one expression have one value, so that the first that is found will do.
        for base in type(instance).__mro__:
            for name, value in vars(base).items():
                if value is self:
                    return instance[name]
        raise SpecError(f"{self!r} is no field of {type(instance).__name__}")

    @overload  # type: ignore[override]  # a comparison gives a Condition, never a bool
    def __eq__(self: Expr[int], other: int | Expr[int], /) -> Condition: ...
    @overload
    def __eq__(self: Expr[NamedInt], other: str, /) -> Condition: ...
    @overload
    def __eq__(self: Expr[str], other: str, /) -> Condition: ...
    def __eq__(self, other: object, /) -> Condition:
        return Condition(operand.compared(self, "==", other))

    @overload  # type: ignore[override]  # a comparison gives a Condition, never a bool
    def __ne__(self: Expr[int], other: int | Expr[int], /) -> Condition: ...
    @overload
    def __ne__(self: Expr[NamedInt], other: str, /) -> Condition: ...
    @overload
    def __ne__(self: Expr[str], other: str, /) -> Condition: ...
    def __ne__(self, other: object, /) -> Condition:
        return Condition(operand.compared(self, "!=", other))

    def __lt__(self: Expr[int], other: int | Expr[int], /) -> Condition:
        return Condition(operand.compared(self, "<", other))

    def __le__(self: Expr[int], other: int | Expr[int], /) -> Condition:
        return Condition(operand.compared(self, "<=", other))

    def __gt__(self: Expr[int], other: int | Expr[int], /) -> Condition:
        return Condition(operand.compared(self, ">", other))

    def __ge__(self: Expr[int], other: int | Expr[int], /) -> Condition:
        return Condition(operand.compared(self, ">=", other))

    def __add__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "+", other)

    def __radd__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "+", self)

    def __sub__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "-", other)

    def __rsub__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "-", self)

    def __mul__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "*", other)

    def __rmul__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "*", self)

    def __floordiv__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "//", other)

    def __rfloordiv__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "//", self)

    def __mod__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "%", other)

    def __rmod__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "%", self)

    def __lshift__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "<<", other)

    def __rlshift__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "<<", self)

    def __rshift__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, ">>", other)

    def __rrshift__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, ">>", self)

    def __and__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "&", other)

    def __rand__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "&", self)

    def __or__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "|", other)

    def __ror__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "|", self)

    def __xor__(self: Expr[int], other: int | Expr[int], /) -> Expr[int]:
        return _binary(self, "^", other)

    def __rxor__(self: Expr[int], other: int, /) -> Expr[int]:
        return _binary(other, "^", self)

    def __neg__(self: Expr[int]) -> Expr[int]:
        return Value(Unary("-", operand.number(self, "-")))

    def __invert__(self: Expr[int]) -> Expr[int]:
        return Value(Unary("~", operand.number(self, "~")))

    if not TYPE_CHECKING:  # a type checker that doesn't see these refuses the operators by itself

        def __getattr__(self, name):
            # An AttributeError, for whoever asks what there is: a debugger, a notebook, copy.
            remedy = f"; say {name}({self!r}, …)" if name in ("startswith", "isin", "between") else ""
            raise AttributeError(f"{self!r} has no field {name!r}: only arg has fields, such as arg.{name}{remedy}")

        def __call__(self, *_, **__):
            raise SpecError(f"{self!r} is a value, not a function: leave the parentheses out")

        def __truediv__(self, other):
            raise SpecError(f"`/` makes fractions, which the kernel doesn't have: say {self!r} // {other!r}")

        def __rtruediv__(self, other):
            raise SpecError(f"`/` makes fractions, which the kernel doesn't have: say {other!r} // {self!r}")

        def _power(self, *_):
            raise SpecError("`**` doesn't run in the kernel: for a power of two say 1 << x, for a square x * x")

        def _pair(self, *_):
            raise SpecError("divmod() makes two values: capture x // y and x % y")

        def _matrix(self, *_):
            raise SpecError("`@` means nothing here: for a product say x * y")

        def _sign(self, *_):
            raise SpecError("`+x` and abs(x) don't run in the kernel: leave the sign out, or subtract")

        __pow__ = __rpow__ = _power
        __divmod__ = __rdivmod__ = _pair
        __matmul__ = __rmatmul__ = _matrix
        __pos__ = __abs__ = _sign
        del _power, _pair, _matrix, _sign


class Value(Expr[T_co]):
    """Every `Expr` that is neither a path nor a stack.

    A sibling of theirs: Python asks a subclass's comparison first, and ``pid < arg.x`` would become ``arg.x > pid``.
    """

    __slots__ = ()


class Condition(_Frozen):
    """What decides whether a probe fires, at each event, in the kernel. Combine by ``&``, ``|`` and ``~``.

    Where a read faults, the condition doesn't hold, and neither does its opposite. No value: it can't be captured,
    compared or calculated with, which catches ``arg.count > 4096 & (comm == "x")``.
    """

    __slots__ = ()

    def __and__(self, other: Condition, /) -> Condition:
        return Condition(And.of((operand.condition(self, "&"), operand.condition(other, "&"))))

    def __or__(self, other: Condition, /) -> Condition:
        return Condition(Or.of((operand.condition(self, "|"), operand.condition(other, "|"))))

    def __invert__(self) -> Condition:
        return Condition(Not(operand.condition(self, "~")))

    if not TYPE_CHECKING:  # a type checker that doesn't see these refuses the operators by itself

        def __rand__(self, other):
            return Condition(And.of((operand.condition(other, "&"), operand.condition(self, "&"))))

        def __ror__(self, other):
            return Condition(Or.of((operand.condition(other, "|"), operand.condition(self, "|"))))

        def __call__(self, *_, **__):
            raise SpecError(f"`{self!r}` is a condition, not a function")

        def _no_value(self, *_):
            raise SpecError(
                f"`{self!r}` is a condition, not a value: it can't be compared or calculated with. & and | "
                "bind tighter than comparisons: put each comparison in parentheses; for `not` write ~, for a < b < c &"
            )

        __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _no_value
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = _no_value
        __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __divmod__ = __rdivmod__ = _no_value
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __xor__ = __rxor__ = __matmul__ = __rmatmul__ = _no_value
        __neg__ = __pos__ = __abs__ = __getitem__ = _no_value
        # Defining __eq__ takes it away as well; said once more so that nobody gives it back.
        __hash__ = None
        del _no_value


def _binary(left: object, operator: str, right: object) -> Expr[int]:
    return Value(Binary(operator, operand.number(left, operator), operand.number(right, operator)))
