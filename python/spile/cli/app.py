"""The command itself: its name, its commands, and what becomes of an error.

In: `sys.argv`. Out: an exit status: 0 well, 1 it could not be done, 2 it was asked wrongly, 130 interrupted twice, and
the status of the traced command where there is one. A user's mistake is one readable message, never a traceback.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

import spile
from spile.cli import accumulate, count, doctor, explain, list_probes, losses, record, replay, run, trace
from spile.cli.output import complain


class Application(click.Group):
    """A click group for which spile's own errors are messages."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except spile.Error as error:
            complain(error)
            ctx.exit(2 if isinstance(error, spile.SpecError) else 1)
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            # The reader has gone (`| head`): nothing is wrong, and the interpreter's own flush at exit must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


@click.group(cls=Application, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(spile.__version__, prog_name="spile")
def main() -> None:
    """Probe this running system: see what happens in its kernel, count it, and find out why something can't be seen.

    A PROBE is spelt as `spile list` prints it (tracepoint:sched:sched_switch, raw_tracepoint:sys_enter, profile:99);
    expressions are Python's: arg.prev_pid != 0 and comm in ("cc1", "as").
    """
    losses.ours()


main.add_command(run.command)
main.add_command(list_probes.command)
main.add_command(doctor.command)
main.add_command(count.command)
for command in accumulate.commands():
    main.add_command(command)
main.add_command(trace.command)
main.add_command(explain.command)
main.add_command(record.command)
main.add_command(replay.command)
