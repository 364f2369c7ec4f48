"""Who waits for which lock, from where? The lock tracer of 2008, on today's kernel: the program behind `make demo`.

It starts a small parallel compile, traces the whole machine for some seconds, prints what was hot, and draws two flame
graphs. Every part that matters is in `declare`: two probes, one of which sends events to Python, while both are counted
by kernel stack without Python seeing a single event.

    python examples/lock_tracer.py --seconds 5
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path

import spile as sp
from compile_workload import Compile
from spile import arg, comm, kstack, pid, utime

KINDS = {1: "spin", 2: "read", 4: "write", 8: "real-time", 16: "per-cpu", 32: "mutex"}


class Waits:
    """The handler's own account of who waited, and with how much user time behind them."""

    def __init__(self) -> None:
        self.events = 0
        self.by_process: Counter[str] = Counter()
        self.by_lock: Counter[tuple[int, str]] = Counter()
        self.most_utime: dict[str, int] = {}

    def on_contention_begin(self, comm: str, utime: int, lock: int, flags: int) -> None:
        """Called for each event; the parameters are captures, bound by name."""
        self.events += 1
        self.by_process[comm] += 1
        self.by_lock[lock, "+".join(kind for bit, kind in KINDS.items() if flags & bit) or "sleeping"] += 1
        self.most_utime[comm] = max(utime, self.most_utime.get(comm, 0))


def declare(session: sp.Session, waits: Waits) -> tuple[sp.Table[sp.Stack, int], sp.Table[sp.Stack, int]]:
    """The two probes: where tasks wait for locks, and where they give up the CPU."""
    contention = session.tracepoint(
        "lock:contention_begin",
        capture={"pid": pid, "comm": comm, "utime": utime, "lock": arg.lock_addr, "flags": arg.flags, "trace": kstack},
    )
    contention.on_event(waits.on_contention_begin)
    switches = session.tracepoint("sched:sched_switch")
    return contention.count(by=kstack), switches.count(by=kstack)


def main() -> None:
    """Traces, then tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to trace (5)")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the pictures go (demo-output)")
    options = parser.parse_args()

    warnings.simplefilter("ignore", sp.LossWarning)  # the last lines tell of losses anyway
    session, waits = sp.Session(), Waits()
    contended, switched = declare(session, waits)
    with Compile() as workload:
        print(f"Compiling C files with {workload.jobs} jobs, and tracing the whole machine for {options.seconds:g} s:")
        print("  lock:contention_begin  each event goes to a Python handler, and is counted by kernel stack")
        print("  sched:sched_switch     counted by kernel stack, without Python")
        began = time.monotonic()
        with session:
            for _ in session.every(1, duration=options.seconds):
                print(f"  {time.monotonic() - began:4.1f} s {contended.total:>9,} waits {switched.total:>11,} switches")
        seconds = time.monotonic() - began
        rounds = workload.rounds

    hottest("Where tasks waited for locks", contended)
    hottest("Where tasks gave up the CPU", switched)
    who_waited(waits)
    total = contended.total + switched.total
    rate = f"{total:,} events in {seconds:.1f} s, {total / seconds:,.0f} a second"
    print(f"\n{rate}; the compile went round {rounds} times.")
    print(f"Losses: {session.losses}")
    draw(options.output / "lock-contention.svg", contended, "Waiting for locks, by kernel stack", "waits")
    draw(options.output / "sched-switch.svg", switched, "Giving up the CPU, by kernel stack", "switches")


def hottest(title: str, table: sp.Table[sp.Stack, int]) -> None:
    """The three hottest stacks, by name."""
    print(f"\n{title}: {table.total:,} times, from {len(table):,} different stacks")
    for stack, count in table.top(3):
        print(f"  {count:,} times ({100 * count / table.total:.1f} %)")
        for frame in stack[:8]:
            print(f"      {frame}")


def who_waited(waits: Waits) -> None:
    """What the handler gathered."""
    print(f"\nWho waited ({waits.events:,} events reached the handler):")
    for name, count in waits.by_process.most_common(5):
        print(f"  {name:<16} {count:>7,} times, up to {waits.most_utime[name] / sp.ms:,.0f} ms of user time behind it")
    for (lock, kind), count in waits.by_lock.most_common(3):
        print(f"  lock {lock:#x} ({kind}): {count:,} times")


def draw(path: Path, table: sp.Table[sp.Stack, int], title: str, unit: str) -> None:
    """A flame graph, if there is anything to draw."""
    if not table:
        print(f"No picture {path}: nothing was counted.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    table.flamegraph(path, title=title, count_name=unit)
    print(f"Flame graph: {path.resolve()} (open it in a browser: wide is hot, click to zoom)")


if __name__ == "__main__":
    try:
        main()
    except sp.Error as error:
        raise SystemExit(f"lock_tracer: {error}") from None
