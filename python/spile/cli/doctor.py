"""`spile doctor`: what this machine can do, and what each missing thing costs."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table
from rich.text import Text

from spile import _native
from spile.cli import options
from spile.cli.output import json_line, on_terminal, results


@click.command("doctor", short_help="Say what works on this machine, and what each missing thing costs.")
@options.as_json
def command(as_json: bool) -> None:
    """Say what works on this machine, and what each missing feature or privilege costs."""
    features = _native.doctor()
    if as_json:
        for feature in features:
            click.echo(json_line(feature))
        return
    console = results()
    missing = [feature for feature in features if not feature["works"]]
    if on_terminal():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        table.add_column("feature", style="bold", no_wrap=True)
        table.add_column("what was found")
        for feature in features:
            sign = "[green]✓[/]" if feature["works"] else "[red]✗[/]"
            lost = "" if feature["works"] else f"\nlost without it: {feature['cost']}"
            table.add_row(sign, feature["feature"], Text.assemble(feature["detail"], (lost, "yellow")))
        console.print(table)
    else:
        for feature in features:
            cost = "" if feature["works"] else f"; lost without it: {feature['cost']}"
            click.echo(f"{'yes' if feature['works'] else 'NO ':<4}{feature['feature']}: {feature['detail']}{cost}")
    if missing:
        console.print(f"{len(features) - len(missing)} of {len(features)} features work here.", markup=False)
    else:
        console.print("Everything that this version uses works here.")
