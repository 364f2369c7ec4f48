"""Prices every step of an event's road, beside a peer in the same run: one table.

python benches/run.py [--json] [--tiny] [--save] [BENCH] …
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
from pathlib import Path

import machine
from price import Row, markdown, table

BENCHES = ("decode_dispatch", "aggregation", "merging", "stap_pipe", "kernel_cost", "kernel_tables", "startup")
DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"


HOW_TO_READ = """\
By `make bench BENCH_ARGS=--save`; `benches/` tells what each row does. All sides of a row ran in turns in the same run,
and figures are medians. With a target of ≥ the ratio is the peer's cost over spile's, with ≤ it is spile's over the
peer's."""


def main() -> None:
    """Runs the benches that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "benches", nargs="*", metavar="BENCH", help=f"which: {', '.join(BENCHES)}; all if none is named"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--tiny", action="store_true", help="as little as shows that it runs; the figures mean nothing")
    parser.add_argument("--save", action="store_true", help=f"also write {DOCS.parent.name}/{DOCS.name}/<date>.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.benches) - set(BENCHES):
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    about, rows = machine.describe(), list[Row]()
    for name in arguments.benches or BENCHES:
        rows += importlib.import_module(name).rows(tiny=arguments.tiny)
    if arguments.json:
        print(json.dumps({"machine": about, "rows": [row.to_json() for row in rows]}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(f"{name}: {value}" for name, value in about.items()), table(rows), sep="\n\n")
    if arguments.save:
        save(about, rows)


def save(about: dict[str, str], rows: list[Row]) -> None:
    """Writes the figures, with the machine that they come from."""
    today = datetime.date.today().isoformat()
    text = [f"# Figures of {today}", "", HOW_TO_READ, ""]
    text += [f"* {name}: {value}" for name, value in about.items()] + ["", markdown(rows)]
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / f"{today}.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
