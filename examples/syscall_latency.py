"""Which system calls take their time: a table of latencies by number, and who makes the most different ones.

syscall_latency.py [--seconds N] [--json]
"""

from __future__ import annotations

import argparse

import spile as sp
from spile import arg, comm, elapsed


def main() -> None:
    """Traces, then prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    session = sp.Session()
    enter = session.tracepoint("raw_syscalls:sys_enter")
    leave = session.tracepoint("raw_syscalls:sys_exit")
    calls = session.span(enter, leave)
    latency = calls.quantiles(elapsed, by=arg.id)
    variety = enter.distinct(arg.id, by=comm)
    session.run(duration=options.seconds)

    slowest = latency.top(10, key=lambda times: times.quantile(0.99))
    if options.json:
        print(sp.Snapshot(slowest, latency.function, by=("id",), unit="ns").to_json())
        return
    print("System calls by their 99th percentile:")
    for number, times in slowest:
        print(f"{number:>5}  {times}")
    print("\nHow many different ones:")
    for name, different in variety.top(5):
        print(f"{different!s:>10}  {name}")


if __name__ == "__main__":
    main()
