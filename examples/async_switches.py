"""Events beside other asyncio work: `async for` over a session, and a table read by another task meanwhile.

python examples/async_switches.py --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio

import spile as sp
from spile import arg, comm


async def watch(switches: sp.Table[str, int]) -> None:
    """What another task of the program does meanwhile: looks at the counts, twice a second."""
    while True:
        await asyncio.sleep(0.5)
        busiest = ", ".join(f"{name} {count:,}" for name, count in switches.top(3))
        print(f"    {switches.total:,} switches so far; busiest: {busiest}")


async def trace(seconds: float) -> None:
    """Prints processes as they end; counts context switches by name below Python."""
    session = sp.Session()
    session.tracepoint("sched:sched_process_exit", capture={"pid": sp.pid, "comm": comm})
    switches = session.tracepoint("sched:sched_switch", where=arg.prev_pid != 0).count(by=comm)
    async with session:
        watcher = asyncio.create_task(watch(switches))
        try:
            async with asyncio.timeout(seconds):
                async for event in session:
                    print(f"{event.datetime:%T.%f} {event['comm']} ({event['pid']}) ended")
        except TimeoutError:
            pass
        finally:
            watcher.cancel()
    print(f"{switches.total:,} switches by {len(switches):,} names; {session.losses}.")


def main() -> None:
    """Traces for some seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to trace (5)")
    asyncio.run(trace(parser.parse_args().seconds))


if __name__ == "__main__":
    try:
        main()
    except sp.Error as error:
        raise SystemExit(f"async_switches: {error}") from None
