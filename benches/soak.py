"""Counts under full load for as long as one likes: what was taken in intervals must be what happened, to the last call.

A storm on each CPU calls umask with so many keys that tables of a few slots overflow all the time; they are taken
from at random moments, by two threads at once. How often each storm called is what itself says. Status 1 if a hit is
neither in a table nor in the ledger, or is in both.

python benches/soak.py [--seconds 3600] [--tables 16384] [--keys 5000]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from storm import Storm

import spile
from spile import arg, isin, pid

#: `__NR_umask` of x86-64 and of the architectures with the generic table.
UMASK = 95 if os.uname().machine == "x86_64" else 166
CALLS = 20_000
REPORT = 10.0


@dataclass
class Taken:
    """What was taken so far: hits by key, and the calls' sum and number by another way."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[int] = field(default_factory=Counter)
    hits: int = 0
    total: int = 0
    times: int = 0

    def take(self, counts: spile.Table[Any, Any], stats: spile.Table[Any, Any]) -> None:
        """Takes both tables."""
        by_key, summed = counts.take(), stats.take()
        with self.lock:
            self.times += 1
            for key, hits in by_key.items():
                self.counts[key] += hits
            for _, each in summed.items():
                self.hits += each.count
                self.total += each.total


def main() -> int:
    """Storms until the time is over, then compares."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--tables", type=int, default=16_384, help="bytes of kernel memory for all tables (16384)")
    parser.add_argument("--keys", type=int, default=5_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        storms = [stack.enter_context(Storm()) for _ in range(os.cpu_count() or 1)]
        session = spile.Session(tables=options.tables)
        storm_pids = [storm.pid for storm in storms]
        calls = session.raw_tracepoint("sys_enter", where=(arg.id == UMASK) & isin(pid, *storm_pids))
        counts, stats = calls.count(by=arg.regs.di), calls.stats(arg.regs.di, by=pid)
        taken, made = Taken(), [0] * len(storms)
        with session:
            _soak(options, storms, made, taken, (counts, stats))
            taken.take(counts, stats)
        taken.take(counts, stats)
    return _judge(session, sum(made), taken)


def _soak(options: argparse.Namespace, storms: list[Storm], made: list[int], taken: Taken, tables: Any) -> None:
    end = time.monotonic() + options.seconds

    def storm(index: int) -> None:
        while time.monotonic() < end:
            storms[index].round(CALLS, options.keys)
            made[index] += CALLS

    def take(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end:
            time.sleep(chance.choice((0, 0.001, 0.02, 0.3)))
            taken.take(*tables)

    threads = [threading.Thread(target=storm, args=(index,)) for index in range(len(storms))]
    threads += [threading.Thread(target=take, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        threads[0].join(REPORT)
        print(f"{sum(made):,} calls, taken {taken.times:,} times", flush=True)
        for thread in threads[1:]:
            if not threads[0].is_alive():
                thread.join()


def _judge(session: spile.Session, made: int, taken: Taken) -> int:
    losses = sum(losses.lost for losses in session.losses.values())
    counted, by_key = taken.counts.total(), sum(key * hits for key, hits in taken.counts.items())
    print(
        f"{made:,} calls; counted {counted:,} of {len(taken.counts):,} keys, {taken.hits:,} by statistics; "
        f"taken {taken.times:,} times; {session.losses}"
    )
    if losses == 0 and counted == taken.hits == made and taken.total == by_key:
        return 0
    # A hit that one of the two tables lost is one in the ledger, and may be in the other.
    if losses and all(made - losses <= hits <= made for hits in (counted, taken.hits)):
        return 0
    print("These don't add up.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
