"""`spile hist`, `spile sum` and so on: what values a probe has, by any key. Accumulated below Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from spile.cli import accumulating, expressions

#: What is accumulated, what that is in a list of commands, and an example.
_ABOUT = {
    "sum": ("Add up a value.", "tracepoint:syscalls:sys_exit_read arg.ret --by comm --where 'arg.ret > 0'"),
    "min": ("Find the least of a value.", "function_return:vfs_read elapsed --by comm"),
    "max": ("Find the greatest of a value.", "function_return:vfs_read elapsed --by comm"),
    "avg": ("Take the mean of a value.", "function_return:vfs_read elapsed --by comm"),
    "stats": ("Number, total, mean, least and greatest of a value.", "function_return:vfs_read elapsed --by comm"),
    "hist": ("Draw a histogram of a value, by powers of two.", "function_return:vfs_read elapsed --by comm"),
    "lhist": ("Draw a histogram of a value, by equal steps.", "syscalls:sys_exit_read arg.ret 0 4096 256"),
    "quantiles": ("Tell p50, p90, p99 and p99.9 of a value.", "function_return:vfs_read 'elapsed // us' --by comm"),
    "top": ("List the most frequent of any values.", "raw_syscalls:sys_enter arg.id --size 5 --by comm"),
    "distinct": ("Estimate how many different values there are.", "raw_syscalls:sys_enter arg.id --by comm"),
}


def commands() -> list[click.Command]:
    """A command for each aggregate of values."""
    return [_command(kind) for kind in _ABOUT]


def _command(kind: str) -> click.Command:
    about, example = _ABOUT[kind]

    def function(probe: str, value: str, given: accumulating.Given, unit: str | None = None, **parameters: int) -> None:
        def declare(declared: Any, by: Any, fields: expressions.Fields) -> Any:
            method = getattr(declared, kind)
            made = method(expressions.operand(value, fields), **parameters, by=by)
            return made if unit is None else made.with_unit(unit)

        accumulating.run(probe, given, declare)

    decorated: Callable[..., None] = accumulating.shared(function)
    for parameter in reversed(_parameters(kind)):
        decorated = parameter(decorated)
    text = f"{about[:-1]}, VALUE, over the hits of PROBE.\n\n\b\nspile {kind} {example}"
    return click.command(kind, short_help=about, help=text)(decorated)


def _parameters(kind: str) -> list[Callable[..., Any]]:
    chosen = [click.argument("probe"), click.argument("value")]
    if kind == "lhist":
        chosen += [click.argument(name, type=int) for name in ("low", "high", "step")]
    if kind == "top":
        wanted = click.IntRange(1, 65_536)
        chosen.append(click.option("--size", type=wanted, default=10, show_default=True, help="List so many values."))
    if kind not in ("top", "distinct"):
        chosen.append(click.option("--unit", help="What VALUE is measured in: ns, us, ms, s, bytes, or another word."))
    return chosen
