"""What a session leaves out to keep to its budget (``max_overhead=``), told to people.

In: the engine's steps. Out: `Step`s, each a line; a log of them (`logging.getLogger("spile")`), and an OverheadWarning
for each that leaves more out. What a step left out is in the ledger; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import OverheadWarning, SpecError
from .reporting import warn

if TYPE_CHECKING:
    from .engines import Engine

#: All of the CPUs' time, as a spec counts it.
_WHOLE = 1_000_000


def checked_share(share: Any) -> int | None:
    """``max_overhead=`` in millionths, or None. Raises SpecError for what is no share."""
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        is_percentage = isinstance(share, int | float) and not isinstance(share, bool) and 1 < share <= 100
        meant = f"; {share} % are max_overhead={share / 100:g}" if is_percentage else ""
        raise SpecError(
            f"max_overhead={share!r} is the share of all CPUs' time that tracing may take, more than 0 and at most 1, "
            f"such as 0.03{meant}",
            "max_overhead",
        )
    return max(1, round(share * _WHOLE))


@dataclass(frozen=True)
class Step:
    """A change of what is left out."""

    time: int
    """When, in nanoseconds, as events' times."""
    outcome: str
    """``"shed"``: more is left out; ``"back"``: less is, for there was room; ``"spent"``: there is nothing more."""
    every: int
    """Since then one event of so many is sent; none where it is 0."""
    stackless: bool
    """Whether stacks are empty since then."""
    share: float
    """What tracing had taken of all CPUs' time in the interval before."""

    @property
    def level(self) -> str:
        """What is left out since then, in words."""
        if self.every == 0:
            return "nothing is sent: tables and the ledger go on"
        if self.every > 1:
            return f"one event of {self.every:,} is sent"
        return "stacks are empty" if self.stackless else "nothing is left out"

    def __str__(self) -> str:
        if self.outcome == "spent":
            return f"tracing takes {self.share:.2%} of the CPUs' time, with nothing more to leave out: {self.level}"
        why = "again room" if self.outcome == "back" else "too much"
        return f"tracing took {self.share:.2%} of the CPUs' time, {why}: from here on {self.level}"


class Steps:
    """The steps of one run, each of which is told once."""

    def __init__(self, engine: Engine, share: int | None) -> None:
        self._engine = engine
        self._share = share
        self._told = 0

    def __call__(self) -> tuple[Step, ...]:
        """All of them so far."""
        return () if self._share is None else tuple(Step(*step) for step in self._engine.steps())

    def tell(self) -> None:
        """Logs those that are new; warns of each that leaves more out."""
        if self._share is None:
            return
        new = self()[self._told :]
        if not new:
            return
        # Imported here, for `import spile` is often all that a script pays for.
        import logging

        log = logging.getLogger("spile")
        # First of all, for a warning may be an error.
        self._told += len(new)
        for step in new:
            log.log(logging.INFO if step.outcome == "back" else logging.WARNING, "%s (at %d)", step, step.time)
        self._warn(step for step in new if step.outcome != "back")

    def _warn(self, steps: Iterable[Step]) -> None:
        for step in steps:
            warn(f"max_overhead={(self._share or 0) / _WHOLE:g}: {step}", OverheadWarning)
