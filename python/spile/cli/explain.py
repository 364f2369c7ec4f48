"""`spile explain`: what another command would do.

In: that command's own words. Out: what its session is made of; nothing is traced.
"""

from __future__ import annotations

import click

from spile.cli import options

# What describes no session of its own, or one that has happened.
_NOT_EXPLAINED = ("doctor", "explain", "list", "replay")
_AS_WORDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("explain", short_help="Say what another command would do, and don't do it.", context_settings=_AS_WORDS)
@click.option("--code", is_flag=True, help="Each program, too: its intermediate form and its bytecode.")
@click.argument("words", metavar="COMMAND…", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], code: bool) -> None:
    """Explain COMMAND: how its probes are attached, what an event holds, and where counts are kept, in how much memory,
    and why they aren't kept in the kernel where they aren't.

    \b
    spile explain count raw_syscalls:sys_enter --by comm,kstack
    spile explain --code trace sched:sched_switch --capture pid
    spile explain run script.py
    """
    name, *rest = words
    group = ctx.find_root().command
    explained = group.get_command(ctx, name) if isinstance(group, click.Group) else None
    if explained is None or name in _NOT_EXPLAINED:
        known = sorted(set(group.list_commands(ctx)) - set(_NOT_EXPLAINED)) if isinstance(group, click.Group) else []
        raise click.UsageError(f"{name!r} is no command that can be explained; these can: {', '.join(known)}")
    with explained.make_context(name, rest, parent=ctx, obj=options.Explaining(code)) as inner:
        explained.invoke(inner)
