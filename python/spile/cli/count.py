"""`spile count`: how often a probe fires, by any key. Counted below Python; Python only looks at the table."""

from __future__ import annotations

import time

import click

import spile
from spile.cli import expressions, options
from spile.cli.counts import Counts
from spile.cli.losses import report
from spile.cli.output import on_terminal


@click.command("count", short_help="Count how often a probe fires, by any key.")
@click.argument("probe")
@click.option("-b", "--by", metavar="KEYS", help="Count apart by these: comm,arg.prev_state,kstack.")
@options.where
@click.option("-n", "--top", type=click.IntRange(min=1), help="Print only the N largest (on a terminal 20).")
@options.duration
@options.target
@options.engine
@options.as_json
def command(
    probe: str,
    by: str | None,
    where: str | None,
    top: int | None,
    duration: float | None,
    command: str | None,
    pid: int | None,
    engine: str,
    print_script: bool,
    print_command: bool,
    as_json: bool,
) -> None:
    """Count how often PROBE fires, until the time is up, the command ends, or Ctrl-C.

    \b
    spile count sched:sched_switch --by comm --duration 5
    spile count raw_syscalls:sys_enter --by arg.id -c 'make -j4'
    spile count profile:99 --by kstack --top 5 -d 10
    """
    names = expressions.split(by) if by is not None else []
    fields = expressions.fields_of(probe)
    keys = tuple(expressions.operand(name, fields) for name in names)
    session = options.session(command, pid, engine)
    declared = session.probe(probe, where=expressions.condition(where, fields))
    counts = Counts(names, declared.count(by=keys) if keys else declared.count(), top)
    if options.printed(session, script=print_script, command=print_command):
        return
    with session:
        _watch(session, counts, duration, live=on_terminal() and not as_json)
    if as_json:
        counts.print_json()
    else:
        counts.print()
    report(session)
    raise SystemExit(options.exit_status(session))


def _watch(session: spile.Session, counts: Counts, duration: float | None, *, live: bool) -> None:
    """Lets the session run to its end, and on a terminal shows what there is meanwhile."""
    began = time.monotonic()
    with counts.screen(live) as screen:
        for _ in session.every(0.5, duration=duration):
            counts.seconds = time.monotonic() - began
            screen()
    counts.seconds = time.monotonic() - began
