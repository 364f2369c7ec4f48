"""`spile count`: how often a probe fires, by any key. Counted below Python; Python only looks at the table."""

from __future__ import annotations

import click

from spile.cli import accumulating


@click.command("count", short_help="Count how often a probe fires, by any key.")
@click.argument("probe")
@accumulating.shared
def command(probe: str, given: accumulating.Given) -> None:
    """Count how often PROBE fires, until the time is up, the command ends, or Ctrl-C.

    \b
    spile count sched:sched_switch --by comm --duration 5
    spile count raw_syscalls:sys_enter --by arg.id -c 'make -j4'
    spile count profile:99 --by kstack --top 5 -d 10
    """
    accumulating.run(probe, given, lambda declared, by, fields: declared.count(by=by))
