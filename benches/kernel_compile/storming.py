"""A getppid storm: the price of one event, where the tools do differ. In: tracers of raw_syscalls. Out: ns an event.

A call is two events. What a tracer costs is the CPU time of the calls, less that of the same calls just before it came:
the reader's own time is not in it, it is in the tracer's CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benches.kernel_compile.measure import Spread
from benches.kernel_compile.tracers import Outcome, Skipped, Tracer
from benches.price import typical
from benches.storm import Storm

EVENTS_OF_A_CALL = 2


@dataclass
class Stormed:
    """Nanoseconds for each event, by tracer and turn."""

    prices: dict[str, list[float]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def price(self, name: str) -> Spread:
        """One tracer's."""
        return Spread(tuple(self.prices[name]))


def storm(
    makers: Sequence[tuple[str, Callable[[], Tracer]]], turns: int, calls: int, rounds: int, say: Callable[[str], None]
) -> Stormed:
    """Every tracer once a turn, each with the untraced storm before it."""
    stormed = Stormed()
    with Storm() as process:
        for number in range(turns):
            for name, make in makers if number % 2 == 0 else list(reversed(makers)):
                if name in stormed.skipped:
                    continue
                before = typical(process.round(calls) for _ in range(rounds))
                try:
                    with make() as tracer:
                        traced = typical(process.round(calls) for _ in range(rounds))
                        stormed.outcomes[name] = tracer.end()
                except Skipped as reason:
                    stormed.skipped[name] = str(reason)
                    continue
                price = (traced - before) / EVENTS_OF_A_CALL
                stormed.prices.setdefault(name, []).append(price)
                say(f"  turn {number + 1}, {name}: {price:.0f} ns an event")
    return stormed
