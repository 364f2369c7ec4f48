"""`spile run`: a script that declares a session, run to its end.

In: a script's path and its arguments. Out: whatever the script does; a session that it declared and left alone is run
with the script's own `on_<probe>` functions as handlers.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import click

import spile
from spile.cli import options
from spile.cli.losses import report

# What follows the script's name is the script's.
_AS_PYTHON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("run", short_help="Run a script, and the session that it declares.", context_settings=_AS_PYTHON)
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@options.duration
@click.option("-l", "--limit", type=click.IntRange(min=1), help="End after so many events.")
def command(script: str, arguments: tuple[str, ...], duration: float | None, limit: int | None) -> None:
    """Run SCRIPT; a session that it declares and doesn't start is started, with its on_<probe> functions as handlers.

    \b
    import spile as sp
    session = sp.Session()
    session.tracepoint("sched:sched_process_exec", capture={"file": sp.arg.filename})
    def on_sched_process_exec(event, file): print(event.datetime, file)
    """
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        with options.explained_at_start():
            names = runpy.run_path(script, run_name="__main__")
        session = left_alone(script, names)
        if session is not None and not options.printed(session):
            named = {name: value for name, value in names.items() if name.startswith("on_")}
            session.run(handlers=named or None, duration=duration, limit=limit)
    except Exception as error:
        own = _own_frames(script, error.__traceback__)
        if isinstance(error, spile.Error):
            _say_where(script, error, own)
            raise
        traceback.print_exception(error.with_traceback(own))
        raise SystemExit(1) from None
    if session is not None and session.ended_by is not None:
        report(session)
        raise SystemExit(options.exit_status(session))


def left_alone(script: str, names: dict[str, Any]) -> spile.Session | None:
    """The one session that was declared and not started; None where there is none."""
    sessions = {id(value): name for name, value in names.items() if isinstance(value, spile.Session)}
    waiting = [name for name in sessions.values() if not names[name].running() and names[name].ended_by is None]
    if len(waiting) > 1:
        raise spile.StateError(
            f"{script} leaves {len(waiting)} sessions to be run ({', '.join(waiting)}): run all but one"
        )
    return names[waiting[0]] if waiting else None


def _own_frames(script: str, trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's first frame on: how spile got there is of no use to anybody."""
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename != script:
        at = at.tb_next
    return at if at is not None else trace


def _say_where(script: str, error: spile.Error, own: TracebackType | None) -> None:
    """Notes the script's line, where the message doesn't name the script already."""
    lines = [frame.lineno for frame in traceback.extract_tb(own) if frame.filename == script]
    if lines and script not in str(error):
        error.add_note(f"at {script}:{lines[-1]}")
