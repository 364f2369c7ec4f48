"""Instructions for each event in the hot loops, beside a committed baseline: a slowdown shows on the noisiest machine.

In: `rust/core/examples/hot_loops.rs`, run by callgrind, and `counts.json`. Out: a table; status 1 if a loop takes
more than the bound allows. Each loop runs for some events and for twice as many: what it takes to begin is in neither
figure.

python benches/counts.py [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "target" / "release" / "examples" / "hot_loops"
BASELINE = Path(__file__).with_name("counts.json")
LOOPS = (
    "count-by-stack",
    "count-by-pid-and-stack",
    "decode",
    "columns",
    "merge-rings",
    "count-rings",
    "record-rings",
    "record-and-merge-rings",
    "count-rings-comm",
    "count-rings-comm-runs",
    "merge-rows",
)
EVENTS = 20_000
#: callgrind counts a repeated instruction once for each byte that it moves: the C library moves none that way here.
THRESHOLDS = ("x86_rep_movsb_threshold", "x86_rep_stosb_threshold")
TUNABLES = ":".join(f"glibc.cpu.{name}={1 << 40}" for name in THRESHOLDS)
#: A loop may take so many times what it took. The same compiler gives the same count to a few in a thousand.
BOUND = 1.05


def main() -> int:
    """Counts, and compares or writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="make today's counts the baseline")
    write = parser.parse_args().write
    command = ["cargo", "build", "--release", "--quiet", "--locked", "-p", "spile-core", "--example", EXAMPLE.name]
    subprocess.run(command, cwd=ROOT, check=True)
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    counts = {loop: per_event(loop) for loop in LOOPS}
    if write:
        BASELINE.write_text(json.dumps({"compiler": compiler, "instructions": counts}, indent=2) + "\n")
        return 0
    baseline = json.loads(BASELINE.read_text())
    slower = beyond(counts, baseline["instructions"])
    for loop, count in counts.items():
        before = baseline["instructions"].get(loop)
        ratio = f"{count / before:.3f}" if before else "new"
        print(
            f"{loop:<24} {count:>6} instructions/event, {before} before: {ratio}{'  SLOWER' if loop in slower else ''}"
        )
    if slower:
        print(
            f"{', '.join(slower)}: more than {BOUND} times the baseline. That is by {baseline['compiler']}, this by "
            f"{compiler}. If it must be so, write a new one: python benches/counts.py --write",
            file=sys.stderr,
        )
    return int(bool(slower))


def beyond(counts: dict[str, int], baseline: dict[str, int]) -> list[str]:
    """The loops that take more than they may, or have no baseline."""
    return [loop for loop, count in counts.items() if count > BOUND * baseline.get(loop, 0)]


def per_event(loop: str) -> int:
    """Instructions of one event."""
    return round((instructions(loop, 2 * EVENTS) - instructions(loop, EVENTS)) / EVENTS)


def instructions(loop: str, events: int) -> int:
    """Those of what the example measures."""
    with tempfile.TemporaryDirectory(prefix="spile-counts-") as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--toggle-collect=*measured*",
            f"--callgrind-out-file={folder}/out",
            str(EXAMPLE),
            loop,
            str(events),
        ]
        environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None or int(found[1]) == 0:
        raise SystemExit(f"counts: callgrind collected nothing of {loop}:\n{done.stderr}")
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
