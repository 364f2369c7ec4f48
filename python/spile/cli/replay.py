"""`spile replay`: what was recorded, printed, counted, or given to a script's handlers. It needs no privilege."""

from __future__ import annotations

import json
import runpy
import sys
from datetime import UTC, datetime
from typing import Any

import click

import spile
from spile import _native
from spile.cli import expressions, options
from spile.cli.accumulated import Accumulated
from spile.cli.events import Printer
from spile.cli.losses import report
from spile.cli.output import json_line, on_terminal


@click.command("replay", short_help="Print, count or handle what was recorded.")
@click.argument("recording", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.argument("probes", metavar="[PROBE]…", nargs=-1)
@click.option("--info", is_flag=True, help="Print what the recording says of itself, and end.")
@click.option("-b", "--by", metavar="KEYS", help="Count the probe's events apart by these, which were captured.")
@click.option("-n", "--top", type=click.IntRange(min=1), help="Print only the N largest counts (on a terminal 20).")
@click.option(
    "--handlers",
    metavar="SCRIPT",
    type=click.Path(exists=True, dir_okay=False),
    help="Call this script's on_<probe> functions.",
)
@click.option("-l", "--limit", type=click.IntRange(min=1), help="End after so many events.")
@options.as_json
def command(
    recording: str,
    probes: tuple[str, ...],
    info: bool,
    by: str | None,
    top: int | None,
    handlers: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print each event of FILE, or only those of each PROBE, by the names that `--info` lists.

    \b
    spile replay make.spile --info
    spile replay make.spile sched_switch --by prev_comm
    spile replay make.spile --handlers script.py
    """
    if info:
        describe(_native.Recording(recording), as_json=as_json)
        return
    session = spile.replay(recording)
    chosen = [_probe(session, name) for name in probes or _captured(session)]
    if by is not None:
        _count(session, chosen, by, top, as_json=as_json)
    elif handlers is not None:
        names = runpy.run_path(handlers)
        session.run(handlers={name: value for name, value in names.items() if name.startswith("on_")}, limit=limit)
    else:
        printer = Printer(sys.stdout, as_json=as_json, color=on_terminal())
        for probe in chosen:
            probe.on_event(printer.event)
        try:
            session.run(limit=limit)
        finally:
            printer.flush()
    report(session)


def _captured(session: spile.Session) -> list[str]:
    """The names of the probes that have events."""
    names = [probe.name for probe in session.spec.probes]
    return [name for name in names if session[name].captures_events]


def _probe(session: spile.Session, name: str) -> spile.Probe[Any]:
    try:
        return session[name]
    except KeyError as error:
        raise click.UsageError(error.args[0]) from None


def _count(session: spile.Session, chosen: list[spile.Probe[Any]], by: str, top: int | None, *, as_json: bool) -> None:
    if len(chosen) != 1:
        raise click.UsageError(f"--by counts one probe: name one of {', '.join(probe.name for probe in chosen)}")
    names = expressions.split(by)
    counts = Accumulated(names, chosen[0].count(by=tuple(expressions.operand(name) for name in names)), top)
    session.run()
    if as_json:
        counts.print_json()
    else:
        counts.print()


def describe(recording: _native.Recording, *, as_json: bool) -> None:
    """Prints where and when it was recorded, what is in it, and how it ends."""
    facts = recording.facts()
    machine = json.loads(facts["machine"])
    begun, ended = facts["begun"], facts["ended"]
    seconds = None if ended is None else (ended[0] - begun[0]) / 1e9
    probes = {
        probe["name"]: recording.fields(index) for index, probe in enumerate(json.loads(recording.spec)["probes"])
    }
    moment = datetime.fromtimestamp(begun[1] / 1e9, UTC).astimezone()
    told = {"begun": moment.isoformat(), "seconds": seconds, "machine": machine, "probes": probes}
    told |= {name: facts[name] for name in ("events", "length", "symbols", "spile", "warnings")}
    if as_json:
        click.echo(json_line(told))
        return
    click.echo(f"{facts['events']:,} events, {facts['length']:,} bytes, recorded by spile {facts['spile']}")
    click.echo(f"begun {moment:%F %T}" + ("" if seconds is None else f", {seconds:.3f} s"))
    click.echo(f"on {machine['host']}: Linux {machine['kernel']} ({machine['architecture']}), CPUs {machine['cpus']}")
    for name, fields in probes.items():
        click.echo(f"  {name}: {', '.join(fields) or 'no fields'}")
    for warning in facts["warnings"]:
        click.echo(f"but {warning}")
