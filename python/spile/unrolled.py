"""Functions that make many calls each, from Python, for the one call that `_native.Dispatcher` makes from Rust.

In: how many calls, and of how many arguments. Out: a function that takes the callables, each with its arguments behind
it, and calls them in turn. No loop and no tuple: what is left is what the interpreter takes for a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain
from types import CodeType, FunctionType
from typing import Any


def caller(arguments: int, calls: int) -> Callable[..., None]:
    """A new function for so many calls with so many arguments each; its code is its own, for the interpreter to fit."""
    return FunctionType(_code(arguments, calls).replace(), {})


@cache
def _code(arguments: int, calls: int) -> CodeType:
    names = [[f"f{call}", *(f"a{call}_{place}" for place in range(arguments))] for call in range(calls)]
    lines = [f"def call({', '.join(chain.from_iterable(names))}):"]
    lines += [f" {function}({', '.join(values)})" for function, *values in names]
    made: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<spile: calls of handlers>", "exec"), made)
    code = made["call"].__code__
    assert isinstance(code, CodeType)
    return code
