"""What `spile count` and the commands beside it share: their options, and the run of a session that accumulates.

In: parsed options, and what to declare on the probe. Out: the exit status, by SystemExit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

import spile
from spile.cli import expressions, options
from spile.cli.accumulated import Accumulated
from spile.cli.losses import report
from spile.cli.output import on_terminal


@dataclass(frozen=True)
class Given:
    """The options that these commands share, as they were given."""

    by: str | None
    where: str | None
    sample: int
    max_overhead: float | None
    top: int | None
    duration: float | None
    command: str | None
    pid: int | None
    engine: str
    print_script: bool
    print_command: bool
    as_json: bool


Declare = Callable[[spile.Probe[Any], Any, expressions.Fields], spile.Table[Any, Any] | spile.Cell[Any]]


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """The options, of which `function` gets one `Given`."""

    @functools.wraps(function)
    def gathered(**parameters: Any) -> None:
        given = Given(**{name: parameters.pop(name) for name in Given.__dataclass_fields__})
        function(given=given, **parameters)

    decorated: Callable[..., None] = gathered
    for option in (
        options.as_json,
        options.engine,
        options.target,
        options.duration,
        _top,
        options.max_overhead,
        options.sample,
        options.where,
        _by,
    ):
        decorated = option(decorated)
    return decorated


def _by(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("-b", "--by", metavar="KEYS", help="Apart by these: comm,arg.prev_state,kstack.")(function)


def _top(function: Callable[..., None]) -> Callable[..., None]:
    wanted = click.IntRange(min=1)
    return click.option("-n", "--top", type=wanted, help="Print only the N greatest (on a terminal 20).")(function)


def run(probe: str, given: Given, declare: Declare) -> None:
    """Declares, lets the session run to its end, prints."""
    session = options.session(given.command, given.pid, given.max_overhead, given.engine)
    names = expressions.split(given.by) if given.by is not None else []
    fields = expressions.fields_of(probe)
    keys = tuple(expressions.operand(name, fields) for name in names)
    declared = session.probe(probe, where=expressions.condition(given.where, fields), sample=given.sample)
    accumulated = Accumulated(names, declare(declared, keys or None, fields), given.top)
    if options.printed(session, script=given.print_script, command=given.print_command):
        return
    with session:
        accumulated.watch(session, given.duration, live=on_terminal() and not given.as_json)
    if given.as_json:
        accumulated.print_json()
    else:
        accumulated.print()
    report(session)
    raise SystemExit(options.exit_status(session))
