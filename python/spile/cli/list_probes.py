"""`spile list`: the probes of this kernel, and their fields."""

from __future__ import annotations

from typing import Any

import click

import spile
from spile import _native
from spile.cli import options
from spile.cli.output import json_line, on_terminal

_WILD = frozenset("*?[")


@click.command("list", short_help="List the probes of this kernel, and their fields.")
@click.argument("pattern", default="*")
@click.option("-f", "--fields", is_flag=True, help="Print each probe's own fields too.")
@options.as_json
def command(pattern: str, fields: bool, as_json: bool) -> None:
    """List the probes whose name matches PATTERN: a part of the name, or a shell pattern such as 'sched:*'.

    With the kind in front (tracepoint:sched:*), only probes of that kind.
    """
    found = matching(pattern)
    for kind, name in found:
        own = _native.probe_fields(kind, name) if fields else []
        if as_json:
            described: dict[str, Any] = {"probe": f"{kind}:{name}", "kind": kind, "name": name}
            if fields:
                described["fields"] = [{"name": field, "type": type_} for field, type_ in own]
            click.echo(json_line(described))
        else:
            click.echo(f"{kind}:{click.style(name, bold=on_terminal())}")
            width = max((len(field) for field, _ in own), default=0)
            for field, type_ in own:
                click.echo(f"    arg.{field:<{width}}  {click.style(type_, dim=on_terminal())}")


def matching(pattern: str) -> list[tuple[str, str]]:
    """Kind and name of each; none at all is an error that names neighbours."""
    everything = _native.list_probes("*")
    kinds = {kind for kind, _ in everything}
    head, _, tail = pattern.partition(":")
    kind, wanted = (head, tail) if head in kinds else (None, pattern)
    exact = [(of, name) for of, name in everything if name == wanted and kind in (None, of)]
    if exact:
        return exact
    wild = wanted if _WILD.intersection(wanted) else f"*{wanted}*"
    found = [(of, name) for of, name in _native.list_probes(wild) if kind in (None, of)]
    if not found:
        near = _native.nearest(wanted, [name for of, name in everything if kind in (None, of)])
        hint = f"; near to it: {', '.join(near)}" if near else ""
        raise spile.ProbeNotFound(f"no probe matches {pattern!r}{hint}")
    return found
