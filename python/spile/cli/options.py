"""The options that several commands share, and the session that they describe.

In: parsed options. Out: a `Session` and how long it should run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import spile
from spile.arguments import MOST_SAMPLED

Function = TypeVar("Function", bound=Callable[..., Any])

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in click 8.5 and later
    """Seconds, or a number with a unit: 10, 0.5, 500ms, 10s, 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|)", value)
        if not match or float(match[1]) == 0:
            self.fail(f"{value!r} is no length of time; write 10, 500ms, 10s, 2m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class Share(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # as above
    """A part of a whole: 0.03 or 3%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Text to a number that is more than 0 and at most 1."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", value)
        share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not 0 < share <= 1:
            self.fail(f"{value!r} is no share of the CPUs' time; write 3% or 0.03, at most 100% or 1", param, ctx)
        return share


def duration(function: Function) -> Function:
    """`--duration`."""
    return click.option("-d", "--duration", type=Duration(), help="End after this time: 10, 500ms, 2m.")(function)


def as_json(function: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one object on each line.")(function)


def where(function: Function) -> Function:
    """`--where`."""
    return click.option("-w", "--where", metavar="CONDITION", help="Only hits for which this holds.")(function)


def sample(function: Function) -> Function:
    """`--sample`."""
    wanted = click.IntRange(min=1, max=MOST_SAMPLED)
    return click.option("--sample", type=wanted, default=1, metavar="N", help="Take one of N of these, on each CPU.")(
        function
    )


def max_overhead(function: Function) -> Function:
    """`--max-overhead`."""
    about = "Leave out more, step by step, rather than take more of all CPUs' time: 3%, 0.03."
    return click.option("--max-overhead", type=Share(), metavar="SHARE", help=about)(function)


def target(function: Function) -> Function:
    """`-c` and `-p`."""
    function = click.option(
        "-p", "--pid", type=click.IntRange(min=1), help="Only this process, and the children it makes from now on."
    )(function)
    return click.option(
        "-c", "--command", metavar="COMMAND", help="Start this command, trace it and its children, end when it ends."
    )(function)


def engine(function: Function) -> Function:
    """`--engine`, and what shows SystemTap's part without running it."""
    function = click.option(
        "--print-command", is_flag=True, help="Print how the SystemTap engine would run its script, and end."
    )(function)
    function = click.option("--print-script", is_flag=True, help="Print SystemTap's script for this, and end.")(
        function
    )
    choices = click.Choice(["auto", "bpf", "systemtap"])
    return click.option("--engine", type=choices, default="auto", help="What traces; auto is bpf.")(function)


@dataclass(frozen=True, slots=True)
class Explaining:
    """What `spile explain` gives to the command behind it: explain the session that you declare, and don't start it."""

    code: bool


@contextmanager
def explained_at_start() -> Iterator[None]:
    """A script that starts its session itself: where `spile explain` runs it, it ends there, explained."""
    if click.get_current_context().find_object(Explaining) is None:
        yield
        return
    # Imported here, for it takes its time.
    from unittest.mock import patch

    def start(session: spile.Session) -> None:
        printed(session)
        raise SystemExit(0)

    with patch.object(spile.Session, "start", start):
        yield


def printed(session: spile.Session, *, script: bool = False, command: bool = False) -> bool:
    """Prints what `--print-command`, `--print-script` and `spile explain` ask for. Says whether one of them did."""
    explaining = click.get_current_context().find_object(Explaining)
    if explaining is not None:
        click.echo(session.explain(code=explaining.code).rstrip("\n"))
    if command:
        click.echo(shlex.join(session.command_line()))
    if script:
        click.echo(session.script(), nl=False)
    return script or command or explaining is not None


def session(command: str | None, pid: int | None, max_overhead: float | None, engine: str = "auto") -> spile.Session:
    """The session that `-c`, `-p`, `--max-overhead` and `--engine` describe."""
    if command is not None and pid is not None:
        raise click.UsageError("-c and -p are two different targets; give one of them")
    return spile.Session(command=command, pid=pid, max_overhead=max_overhead, engine=engine)


def exit_status(session: spile.Session) -> int:
    """The traced command's own status where its end was the session's (128 + signal if one killed it), else 0."""
    status = session.returncode
    if status is None or session.ended_by != "command":
        return 0
    return 128 - status if status < 0 else status
