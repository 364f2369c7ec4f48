"""How long tasks wait for a CPU once they could run, by CPU: a histogram each second, like bcc's runqlat.

    runqlat.py [--seconds N] [--bytes FILE]

With ``--bytes`` the whole is written in the form that merges on other machines: ``Snapshot.from_bytes(…) + …``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spile as sp
from spile import arg, cpu, elapsed, isin

SWITCH = "sched:sched_switch"


def main() -> None:
    """Traces, and prints an interval each second, then all of it in numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--bytes", type=Path)
    options = parser.parse_args()

    session = sp.Session()
    woken = session.tracepoint(["sched:sched_wakeup", "sched:sched_wakeup_new"])
    preempted = session.tracepoint(SWITCH, where=[isin(arg.prev_state, 0, 256), arg.prev_pid != 0])
    wait = session.span(
        start=[(woken, arg.pid), (preempted, arg.prev_pid)],
        end=(session.tracepoint(SWITCH), arg.next_pid),
    )
    latency = wait.hist(elapsed // sp.us, by=cpu)
    exact = wait.quantiles(elapsed)

    whole: sp.Snapshot[int, sp.Histogram] | None = None
    with session:
        for _ in session.every(1, duration=options.seconds):
            interval = latency.take()
            print(interval, end="\n\n")
            whole = interval if whole is None else whole + interval
    rest = latency.take()
    whole = rest if whole is None else whole + rest

    print(f"All CPUs: {exact.value}")
    print(f"{whole.hits:,} waits in intervals, {latency.hits:,} in all")
    if options.bytes is not None:
        options.bytes.write_bytes(whole.to_bytes())


if __name__ == "__main__":
    main()
