"""Builds in turns: untraced, traced, untraced, traced by the next one, and so on. In: a tree, tracers. Out: ratios.

A traced build is compared with the mean of the two untraced ones beside it, so that a machine that gets slower concerns
both. How far untraced builds are from *their* neighbours is the noise, by the same formula.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benches.kernel_compile.tracers import Outcome, Skipped, Tracer
from benches.kernel_compile.tree import Build, Tree

#: With fewer rounds no spread is known, and no difference is claimed.
LEAST_ROUNDS = 3
#: The part of untraced builds that the noise holds.
USUAL = 0.9


@dataclass(frozen=True, slots=True)
class Spread:
    """Some figures of the same thing."""

    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    @property
    def least(self) -> float:
        return min(self.figures)

    @property
    def most(self) -> float:
        return max(self.figures)

    def is_resolved(self, bound: float, noise: float) -> bool:
        """Whether all of it lies on one side of a bound, and the median further from it than the noise reaches."""
        is_aside = self.least > bound or self.most < bound
        return len(self.figures) >= LEAST_ROUNDS and is_aside and abs(self.median - bound) > noise

    def is_apart(self, other: Spread, noise: float) -> bool:
        """Whether it differs from another: they don't overlap, and the medians are further apart than the noise."""
        is_aside = self.least > other.most or self.most < other.least
        enough = min(len(self.figures), len(other.figures)) >= LEAST_ROUNDS
        return enough and is_aside and abs(self.median - other.median) > noise


@dataclass(frozen=True, slots=True)
class Run:
    """A traced build, and those beside it."""

    before: Build
    traced: Build
    after: Build
    outcome: Outcome

    @property
    def wall(self) -> float:
        """How many times as long it took."""
        return 2 * self.traced.wall / (self.before.wall + self.after.wall)

    @property
    def cpu(self) -> float:
        """The same of its CPU time."""
        return 2 * self.traced.cpu / (self.before.cpu + self.after.cpu)


@dataclass
class Measured:
    """All builds with one set of events."""

    untraced: list[Build] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def wall(self, name: str) -> Spread:
        """A tracer's slowdown."""
        return Spread(tuple(run.wall for run in self.runs[name]))

    def cpu(self, name: str) -> Spread:
        """The same of the build's CPU time."""
        return Spread(tuple(run.cpu for run in self.runs[name]))

    @property
    def noise(self) -> float:
        """How far a ratio of 1 is off; infinite where too few untraced builds tell."""
        return noise([build.wall for build in self.untraced])

    @property
    def cpu_noise(self) -> float:
        """The same of the builds' CPU time."""
        return noise([build.cpu for build in self.untraced])


def noise(untraced: Sequence[float]) -> float:
    """What nine in ten untraced builds keep within: their distance from the mean of their neighbours, as a ratio."""
    beside = zip(untraced, untraced[1:], untraced[2:], strict=False)
    distances = sorted(abs(2 * middle / (before + after) - 1) for before, middle, after in beside)
    if len(distances) < LEAST_ROUNDS:
        return float("inf")
    return distances[min(len(distances) - 1, int(USUAL * len(distances)))]


def in_turns(
    tree: Tree, makers: Sequence[tuple[str, Callable[[], Tracer]]], rounds: int, say: Callable[[str], None]
) -> Measured:
    """Every tracer once a round; the order turns round each time, so that nobody always follows the same one."""
    measured = Measured(untraced=[_build(tree)])
    for number in range(rounds):
        for name, make in makers if number % 2 == 0 else list(reversed(makers)):
            if name in measured.skipped:
                continue
            try:
                with make() as tracer:
                    traced = _build(tree)
                    outcome = tracer.end()
            except Skipped as reason:
                measured.skipped[name] = str(reason)
                say(f"  {name}: skipped: {reason}")
                continue
            before, after = measured.untraced[-1], _build(tree)
            measured.untraced.append(after)
            run = Run(before, traced, after, outcome)
            measured.runs.setdefault(name, []).append(run)
            say(f"  round {number + 1}, {name}: {run.wall:.2f} times {before.wall:.1f} s, {outcome.events:,} events")
    return measured


def _build(tree: Tree) -> Build:
    tree.clean()
    return tree.build()
