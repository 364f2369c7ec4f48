"""`spile trace`: each hit of a probe as a line."""

from __future__ import annotations

import sys

import click

from spile.cli import expressions, options
from spile.cli.events import Printer
from spile.cli.losses import report
from spile.cli.output import on_terminal


@click.command("trace", short_help="Print each hit of a probe.")
@click.argument("probe")
@click.option(
    "--capture",
    "wanted",
    metavar="FIELDS",
    multiple=True,
    help="What to print: pid,comm,path=string(arg.filename); '*' (the default) is all of the probe's own fields.",
)
@options.where
@options.sample
@options.max_overhead
@click.option("-l", "--limit", type=click.IntRange(min=1), help="End after so many events.")
@options.duration
@options.target
@options.engine
@options.as_json
def command(
    probe: str,
    wanted: tuple[str, ...],
    where: str | None,
    sample: int,
    max_overhead: float | None,
    limit: int | None,
    duration: float | None,
    command: str | None,
    pid: int | None,
    engine: str,
    print_script: bool,
    print_command: bool,
    as_json: bool,
) -> None:
    """Print each hit of PROBE, until the time is up, the command ends, or Ctrl-C.

    \b
    spile trace sched:sched_process_exec --capture 'pid,comm,file=arg.filename'
    spile trace syscalls:sys_enter_openat --capture 'comm,path=string(arg.filename)' -c 'ls /'
    spile trace profile:99 --capture comm,kstack --limit 10
    """
    fields = expressions.fields_of(probe)
    capture = expressions.captures(",".join(wanted) or default_capture(probe), fields)
    session = options.session(command, pid, max_overhead, engine)
    declared = session.probe(probe, capture=capture, where=expressions.condition(where, fields), sample=sample)
    if options.printed(session, script=print_script, command=print_command):
        return
    printer = Printer(sys.stdout, as_json=as_json, color=on_terminal())
    declared.on_event(printer.event)
    session.run(duration=duration, limit=limit)
    printer.flush()
    report(session)
    raise SystemExit(options.exit_status(session))


def default_capture(probe: str) -> str:
    """All own fields; a timer has none, so who was interrupted."""
    return "pid,tid,comm" if probe.startswith("profile") else "*"
