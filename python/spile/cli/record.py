"""`spile record`: events into a file, for `spile replay` here or elsewhere."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from spile.cli import expressions, options
from spile.cli.losses import report
from spile.cli.output import remarks
from spile.cli.trace import default_capture


@click.command("record", short_help="Record the hits of probes into a file.")
@click.argument("probes", metavar="EVENT…", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="trace.spile",
    show_default=True,
    help="The file; one that is there is replaced.",
)
@click.option(
    "--capture",
    "wanted",
    metavar="FIELDS",
    multiple=True,
    help="What to keep of each: pid,comm,kstack; '*' (the default) is all of the event's own fields.",
)
@options.where
@options.sample
@options.max_overhead
@click.option("--raw", is_flag=True, help="Don't compress: a larger file, a little less work.")
@options.duration
@options.target
def command(
    probes: tuple[str, ...],
    output: str,
    wanted: tuple[str, ...],
    where: str | None,
    sample: int,
    max_overhead: float | None,
    raw: bool,
    duration: float | None,
    command: str | None,
    pid: int | None,
) -> None:
    """Record every hit of each EVENT, until the time is up, the command ends, or Ctrl-C.

    \b
    spile record -c 'make -j4' -o make.spile 'sched:*' raw_syscalls:sys_enter
    spile record profile:99 --capture pid,comm,kstack,ustack -d 10
    """
    session = options.session(command, pid, max_overhead)
    for probe in probes:
        fields = expressions.fields_of(probe)
        capture = expressions.captures(",".join(wanted) or default_capture(probe), fields)
        session.probe(probe, capture=capture, where=expressions.condition(where, fields), sample=sample)
    if options.printed(session):
        return
    session.record(output, compress=not raw)
    try:
        session.run(duration=duration)
    finally:
        if session.ended_by is not None:
            report(session)
    events, size = session.losses.total.delivered, Path(output).stat().st_size
    remarks().print(Text(f"{output}: {events:,} events, {size:,} bytes", style="dim"))
    raise SystemExit(options.exit_status(session))
