"""`spile run`: a script that declares a session, run to its end.

In: a script's path and its arguments. Out: whatever the script does; a session that it declared and left alone is run
with the script's own `on_<probe>` functions as handlers.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import click

import spile
from spile.cli import options
from spile.cli.losses import report


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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
    names = runpy.run_path(script, run_name="__main__")
    waiting = {name: value for name, value in names.items() if isinstance(value, spile.Session) and not _started(value)}
    if len(set(map(id, waiting.values()))) > 1:
        raise spile.StateError(
            f"{script} leaves {len(waiting)} sessions to be run ({', '.join(waiting)}); start all but one"
        )
    for session in list(waiting.values())[:1]:
        session.run(handlers=SimpleNamespace(**names), duration=duration, limit=limit)
        report(session)
        raise SystemExit(options.exit_status(session))
