"""The loss ledger, read: what happened to every hit of every probe.

In: the engine's rows of numbers. Out: `Losses`, a mapping of probe name to `ProbeLosses`, and one plain text that names
the limit to raise. The numbers are the engine's own; nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .budget import Step


@dataclass(frozen=True)
class ProbeLosses:
    """What happened to the hits of one probe. Every number is a count of hits, since the start.

    ``hits == filtered + unsampled + budget_sampled + budget_counted + delivered + tabled + ring_full + re_entered +
    missed + faulted + transport_lost + dropped + sampled_out``. The difference is `balance`.
    A span's hits are those of its starts and of its ends, which have four fates more: ``+ unmatched + opened +
    already_open + open_full``. The fields from `stack_failed` on are remarks; of a span
    ``opened == matched + overwritten + left_open``.
    """

    hits: int = 0
    """Times that the probe fired for the kernel, those that it missed included."""
    filtered: int = 0
    """Kept out by ``where=`` or by the session's target."""
    unsampled: int = 0
    """Passed ``where=``, and not the one of so many that the probe's ``sample=`` takes."""
    budget_sampled: int = 0
    """Left out while ``max_overhead=`` let one event of so many be sent; tables in the kernel counted them all."""
    budget_counted: int = 0
    """Left out while ``max_overhead=`` let no event be sent; tables in the kernel counted them all."""
    delivered: int = 0
    """Arrived: in an aggregate, or where the script can read them."""
    tabled: int = 0
    """Counted in the kernel, in every table that they are for; `delivered` has those that found no room there."""
    ring_full: int = 0
    """Lost: the kernel's ring buffer had no room (raise ``buffer=``)."""
    re_entered: int = 0
    """Lost: interrupts had nested deeper than there is scratch memory for."""
    missed: int = 0
    """Lost: the kernel skipped the probe, most often for it was running on that CPU already."""
    faulted: int = 0
    """Lost: a value that ``where=``, or a span's key, needs was not readable."""
    transport_lost: int = 0
    """Lost: SystemTap's transport dropped or damaged them on the way from the kernel (raise ``buffer=``)."""
    dropped: int = 0
    """Lost: the script did not read fast enough (raise ``queue=``)."""
    sampled_out: int = 0
    """Left out by ``on_full="sample"``, for the script read slowly. An event that was kept stands for
    ``(delivered + sampled_out) / delivered``, on the average; tables counted them all."""
    unmatched: int = 0
    """A span's end without a start. What began before the session did is no loss; what was lost stands elsewhere."""
    opened: int = 0
    """A span's start, kept until its end."""
    already_open: int = 0
    """A span's start while it was open already, which ``restart=False`` leaves as it is."""
    open_full: int = 0
    """Lost: a span's start, when as many were open as there may be (raise ``max_open=``)."""
    stack_failed: int = 0
    """Events whose stack could not be walked; the event arrived without it."""
    budget_stacks: int = 0
    """Hits whose stacks were left empty to keep to ``max_overhead=``."""
    late: int = 0
    """Events that arrived after later ones had been handed out."""
    stack_definition_lost: int = 0
    """Stacks whose frames had not arrived yet; the next hit heals them."""
    table_lost: int = 0
    """Missing from a table, which had no room and nor had the ring buffer (raise ``tables=`` or ``buffer=``)."""
    unkeyed: int = 0
    """Left out of a table, for a part of their key was not readable: the sum of the tables' `faulted`."""
    matched: int = 0
    """A span's ends that found their start."""
    overwritten: int = 0
    """A span's starts without an end of their own: the next start began it anew."""
    left_open: int = 0
    """A span's starts that have no end so far."""

    @property
    def lost(self) -> int:
        """Hits that should have arrived and did not."""
        on_the_way = self.ring_full + self.transport_lost + self.dropped
        return on_the_way + self.re_entered + self.missed + self.faulted + self.open_full

    @property
    def balance(self) -> int:
        """Hits that no other number accounts for: 0, or the ledger is wrong."""
        asked_for = self.unsampled + self.budget_sampled + self.budget_counted + self.sampled_out
        kept = self.tabled + self.unmatched + self.opened + self.already_open
        return self.hits - self.filtered - self.delivered - self.lost - asked_for - kept

    def __add__(self, other: ProbeLosses) -> ProbeLosses:
        return ProbeLosses(**{name: getattr(self, name) + getattr(other, name) for name in _COUNTS})


#: What an engine's own numbers mean, which belong to no single probe.
_BEYOND = {
    "transport_failures": "{:,} prints found no room in SystemTap's buffer: raise StapOptions(buffer=)",
    "skipped_hits": "{:,} hits were skipped by SystemTap, which doesn't nest probes and doesn't wait long for a table",
    "failed_handlers": "{:,} of SystemTap's handlers failed half way",
    "missing": "{:,} prints that SystemTap numbered are in no CPU's stream: raise StapOptions(buffer=)",
    "rows_missing": "{:,} rows of tables never arrived: their counts are too small",
}
_COUNTS = tuple(field.name for field in fields(ProbeLosses))


class Losses(Mapping[str, ProbeLosses]):
    """The ledger by probe name. A group's row is the sum of its members', which `targets` lists one by one."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        names: Iterable[str] = (),
        *,
        targets: Iterable[Iterable[str]] = (),
        unkeyed: Iterable[int] = (),
        samples: Iterable[int] = (),
        lost_children: int = 0,
        buffer: int = 0,
        queue: int = 0,
        beyond: tuple[Mapping[str, int], tuple[str, ...]] = ({}, ()),
        steps: tuple[Step, ...] = (),
    ) -> None:
        """`rows` as the engine gives them; `names` by probe index; `targets` each probe's targets' spellings; `unkeyed`
        for each probe what its tables left out, `samples` how many hits one that was taken stands for; `lost_children`
        the processes that were not followed; `beyond` what an engine lost of which no probe is known, and its
        warnings; `steps` what was left out for a budget, and when."""
        self.steps = steps
        """What ``max_overhead=`` led to, in the order of time."""
        self.lost_children = lost_children
        """Children of the followed process that were not seen, for so many run already: nobody knows their hits."""
        spellings = [list(of_probe) for of_probe in targets]
        self._probes = {name: ProbeLosses() for name in names}
        self._targets: dict[str, dict[str, ProbeLosses]] = {name: {} for name in self._probes}
        self._buffer, self._queue = buffer, queue
        self._samples = dict(zip(self._probes, samples, strict=False))
        self.beyond, self.warnings = beyond
        """By name, what belongs to no single probe; and what an engine says went otherwise than asked."""
        order = list(self._probes)
        for row in rows:
            name, target = order[row["probe"]], row["target"]
            counts = ProbeLosses(**{key: row.get(key, 0) for key in _COUNTS})
            self._probes[name] += counts
            known = spellings[row["probe"]] if row["probe"] < len(spellings) else []
            self._targets[name][known[target] if target < len(known) else str(target)] = counts
        for name, left_out in zip(order, unkeyed, strict=False):
            self._probes[name] += ProbeLosses(unkeyed=left_out)

    def __getitem__(self, probe: str) -> ProbeLosses:
        return self._probes[probe]

    def __iter__(self) -> Iterator[str]:
        return iter(self._probes)

    def __len__(self) -> int:
        return len(self._probes)

    def targets(self, probe: str) -> Mapping[str, ProbeLosses]:
        """The rows of a probe's targets, by their spelling."""
        return dict(self._targets[probe])

    @property
    def total(self) -> ProbeLosses:
        """The sum over all probes."""
        return sum(self._probes.values(), ProbeLosses())

    @property
    def lost(self) -> int:
        """Hits of all probes that should have arrived and did not."""
        return self.total.lost

    @property
    def balance(self) -> int:
        """Hits that no number accounts for: 0, or the ledger is wrong."""
        return self.total.balance

    @property
    def notes(self) -> list[str]:
        """What was left out because it was asked for, and what one that was taken stands for: no loss."""
        return [note for name, row in self._probes.items() for note in self._noted(name, row)]

    def _noted(self, name: str, row: ProbeLosses) -> Iterator[str]:
        if row.unsampled:
            sample = self._samples.get(name, "…")
            yield (
                f"{name}: {row.unsampled:,} were left out by sample={sample}: one that was taken stands for {sample}"
            )
        if row.budget_stacks:
            yield f"{name}: {row.budget_stacks:,} have empty stacks, to keep to max_overhead="
        if row.budget_sampled:
            yield f"{name}: {row.budget_sampled:,} were left out of a sample, to keep to max_overhead="
        if row.budget_counted:
            yield f"{name}: {row.budget_counted:,} were counted and not sent, to keep to max_overhead="

    def explain(self) -> str:
        """What was lost, why, and which limit to raise; empty when nothing was."""
        lines = [line for name, row in self._probes.items() for line in self._remedies(name, row)]
        lines += [text.format(self.beyond[name]) for name, text in _BEYOND.items() if self.beyond.get(name)]
        lines += self.warnings
        if self.lost_children:
            lines.append(
                f"{self.lost_children:,} children of the followed process were not followed, for the list of processes "
                "was full: nobody knows how many hits are missing; trace less at once, or cgroup="
            )
        if not lines:
            return ""
        total = self.total
        share = f" of {total.hits:,} ({100 * total.lost / total.hits:.2g} %)" if total.hits else ""
        return "\n  ".join([self._headline(total, share), *lines])

    def _headline(self, total: ProbeLosses, share: str) -> str:
        if total.lost:
            return f"{total.lost:,}{share} hits were lost"
        return "hits are missing:" if self.lost_children else "no hit was lost, but:"

    def _remedies(self, name: str, row: ProbeLosses) -> Iterator[str]:
        if row.ring_full:
            yield f"{name}: {row.ring_full:,} found the ring buffer full: raise buffer={_doubled(self._buffer)}"
        if row.transport_lost:
            yield (
                f"{name}: {row.transport_lost:,} were lost or damaged in SystemTap's transport: "
                f"raise buffer={_doubled(self._buffer)}, capture less, or count in place of handling"
            )
        if row.dropped:
            yield (
                f"{name}: {row.dropped:,} were dropped, for the script read too slowly: "
                f"raise queue={_doubled(self._queue)}, capture less, or count in place of handling"
            )
        if row.sampled_out:
            scale = (row.delivered + row.sampled_out) / max(row.delivered, 1)
            yield (
                f"{name}: {row.sampled_out:,} were left out of the sample, for the script read too slowly: "
                f"an event that arrived stands for {scale:.3g} on the average"
            )
        if row.missed:
            yield f"{name}: {row.missed:,} were skipped by the kernel, whose probes don't interrupt themselves"
        if row.re_entered:
            yield f"{name}: {row.re_entered:,} came while interrupts were nested too deep"
        if row.faulted:
            yield f"{name}: {row.faulted:,} needed an unreadable value: where=, or a span's key, names such a field"
        if row.open_full:
            yield f"{name}: {row.open_full:,} starts found as many spans open as there may be: raise max_open="
        if row.table_lost:
            yield f"{name}: {row.table_lost:,} are missing from tables, which were full: raise tables= or buffer="
        if row.unkeyed:
            yield f"{name}: {row.unkeyed:,} are missing from tables: by= names a value that could not be read"
        if row.stack_failed:
            yield f"{name}: {row.stack_failed:,} arrived without their stack, which could not be walked"
        if row.late:
            yield f"{name}: {row.late:,} arrived late, after events that happened later"
        if row.stack_definition_lost:
            yield f"{name}: {row.stack_definition_lost:,} definitions of stacks found no room: raise buffer="

    def __repr__(self) -> str:
        total = self.total
        return f"<Losses: {total.lost:,} of {total.hits:,} hits lost, balance {total.balance}>"

    def __str__(self) -> str:
        return "\n  ".join([self.explain() or f"nothing lost of {self.total.hits:,} hits", *self.notes])


def _doubled(size: int) -> str:
    """Twice the size, as one would write it."""
    if size <= 0:
        return "…"
    twice = size * 2
    return f"{twice >> 20} << 20 (now {size >> 20} << 20)" if size % (1 << 20) == 0 else f"{twice} (now {size})"
