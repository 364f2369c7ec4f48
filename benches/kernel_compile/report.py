"""The report. In: what was measured. Out: Markdown for people, JSON for programs.

A ratio is printed with its spread, and every comparison says whether the noise resolves it: nothing else is claimed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benches.kernel_compile.measure import LEAST_ROUNDS, Measured, Run, Spread
from benches.kernel_compile.storming import Stormed

FTRACE, BPFTRACE = "ftrace, careful reader", "bpftrace @[probe] = count()"
#: The most that a build may be slowed down: set, tracer, times.
TARGETS = {
    ("all", "spile record"): 1.25,
    ("all", "spile record-raw"): 1.25,
    ("all", "spile count"): 1.15,
    ("all", "spile count-rust"): 1.2,
    ("core", "spile handlers"): 1.3,
    ("core", "spile record"): 1.1,
    ("core", "spile record-raw"): 1.1,
    ("core", "spile count"): 1.1,
    ("core", "spile count-rust"): 1.1,
}
#: The most that an event may cost: tracer, peer, its part.
PRICES = (
    ("spile record-raw", FTRACE, 0.75),
    ("spile batches", FTRACE, 0.75),
    ("spile count", BPFTRACE, 0.35),
)
HOW_TO_READ = f"""\
A slowdown is a traced build's time over the mean of the untraced ones beside it: median (least–most of the rounds).
*Noise* is what nine in ten untraced builds are off by the same formula. "Resolved" means that, over at least
{LEAST_ROUNDS} rounds, the whole spread lies on one side of 1 and the median is further from it than the noise; two
tracers differ where their spreads don't overlap and their medians are further apart than the noise. Everything else is
**not resolved**, and says nothing. CPU is the build's own CPU time, by the same rules. Memory is the tracer's most
resident memory and the kernel's buffers. Events and losses are those of a tracer's whole life, in which it starts and
ends. `start` and `stop` are what attaching and ending took; they are outside of the measured time."""


def markdown(about: Mapping[str, str], sets: Mapping[str, Measured], stormed: Stormed | None) -> str:
    """The whole report."""
    lines = ["# Full tracing of a kernel's compile", "", HOW_TO_READ, ""]
    lines += [f"* {name}: {value}" for name, value in about.items()]
    for name, measured in sets.items():
        lines += ["", *_of_set(name, measured)]
    if stormed is not None:
        lines += ["", *_of_storm(stormed)]
    return "\n".join(lines) + "\n"


def to_json(about: Mapping[str, str], sets: Mapping[str, Measured], stormed: Stormed | None) -> dict[str, Any]:
    """Every figure."""
    return {
        "about": dict(about),
        "sets": {
            name: {
                "untraced": [asdict(build) for build in measured.untraced],
                "noise": _finite(measured.noise),
                "cpu_noise": _finite(measured.cpu_noise),
                "runs": {tracer: [_run(run) for run in runs] for tracer, runs in measured.runs.items()},
                "skipped": measured.skipped,
            }
            for name, measured in sets.items()
        },
        "storm": None if stormed is None else {
            "prices": stormed.prices,
            "outcomes": {name: asdict(outcome) for name, outcome in stormed.outcomes.items()},
            "skipped": stormed.skipped,
        },
    }  # fmt: skip


def _run(run: Run) -> dict[str, Any]:
    return {**asdict(run), "slowdown": run.wall, "cpu_slowdown": run.cpu}


def _finite(value: float) -> float | None:
    return None if value == float("inf") else value


def _of_set(name: str, measured: Measured) -> Iterator[str]:
    untraced = Spread(tuple(build.wall for build in measured.untraced))
    yield f"## {name}"
    yield ""
    yield (
        f"Untraced: {untraced.median:.2f} s ({untraced.least:.2f}–{untraced.most:.2f}), "
        f"{len(untraced.figures)} builds; noise {_percent(measured.noise)}, of CPU time {_percent(measured.cpu_noise)}."
    )
    yield ""
    heads = "tracer", "slowdown", "resolved", "CPU", "resolved", "target", "met"
    yield _line(heads)
    yield _line(["---"] * len(heads))
    for tracer in measured.runs:
        wall, cpu = measured.wall(tracer), measured.cpu(tracer)
        target = TARGETS.get((name, tracer))
        yield _line([
            tracer, _spread(wall), _resolved(wall.is_resolved(1, measured.noise)),
            _spread(cpu), _resolved(cpu.is_resolved(1, measured.cpu_noise)),
            "" if target is None else f"≤ {target:g}", "" if target is None else _met(wall, target),
        ])  # fmt: skip
    yield ""
    yield from _outcomes(measured)
    yield ""
    yield from _differences(measured)
    yield from (f"* skipped: {tracer}: {reason}" for tracer, reason in measured.skipped.items())


def _outcomes(measured: Measured) -> Iterator[str]:
    heads = "tracer", "events", "lost", "MB on disk", "bytes/event", "tracer's CPU s", "memory MB", "start s", "stop s"
    yield _line([*heads, "remark"])
    yield _line(["---", *["--:"] * (len(heads) - 1), "---"])
    for tracer, runs in measured.runs.items():
        outcomes = [run.outcome for run in runs]
        events = statistics.median(outcome.events for outcome in outcomes)
        sizes = [outcome.bytes for outcome in outcomes if outcome.bytes is not None]
        size = statistics.median(sizes) if sizes else None
        yield _line([
            tracer, f"{events:,.0f}", f"{sum(outcome.lost for outcome in outcomes):,}",
            "" if size is None else f"{size / 1e6:,.0f}", "" if size is None or not events else f"{size / events:.1f}",
            *(f"{statistics.median(figures):.2f}" for figures in (
                [outcome.cpu for outcome in outcomes],
                [(outcome.memory + outcome.buffers) / 1e6 for outcome in outcomes],
                [outcome.start for outcome in outcomes],
                [outcome.stop for outcome in outcomes],
            )),
            outcomes[-1].remark,
        ])  # fmt: skip


def _differences(measured: Measured) -> Iterator[str]:
    """spile's tracers beside each peer, and only what is resolved as a difference."""
    ours = [tracer for tracer in measured.runs if tracer.startswith("spile ")]
    for peer in (tracer for tracer in measured.runs if tracer not in ours):
        apart = []
        for tracer in ours:
            first, second = measured.wall(tracer), measured.wall(peer)
            if first.is_apart(second, measured.noise):
                apart.append(f"{tracer} {'less' if first.median < second.median else 'more'}")
        yield f"* slowdown beside {peer}: {', '.join(apart) or 'no difference is resolved'}"


def _of_storm(stormed: Stormed) -> Iterator[str]:
    yield "## A getppid storm, two events a call"
    yield ""
    yield _line(("tracer", "ns an event", "events", "lost"))
    yield _line(("---", "---", "--:", "--:"))
    for tracer in stormed.prices:
        outcome, price = stormed.outcomes[tracer], stormed.price(tracer)
        span = f"{price.median:.0f} ({price.least:.0f}–{price.most:.0f})"
        yield _line((tracer, span, f"{outcome.events:,}", f"{outcome.lost:,}"))
    yield ""
    for tracer, peer, bound in PRICES:
        if tracer in stormed.prices and peer in stormed.prices:
            first, second = stormed.price(tracer), stormed.price(peer)
            parts = Spread(tuple(a / b for a, b in zip(first.figures, second.figures, strict=False) if b > 0))
            if parts.figures:
                yield f"* {tracer} beside {peer}: {_spread(parts)}, target ≤ {bound:g}: {_met(parts, bound)}"
    yield from (f"* skipped: {tracer}: {reason}" for tracer, reason in stormed.skipped.items())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f}–{spread.most:.2f})"


def _percent(noise: float) -> str:
    return "unknown (too few builds)" if noise == float("inf") else f"{100 * noise:.1f} %"


def _resolved(is_resolved: bool) -> str:
    return "yes" if is_resolved else "no"


def _met(spread: Spread, bound: float) -> str:
    """A bound within the spread is neither met nor missed."""
    if len(spread.figures) < LEAST_ROUNDS or spread.least <= bound < spread.most:
        return "not resolved"
    return "yes" if spread.median <= bound else "NO"
