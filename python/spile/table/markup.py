"""Tables and values as HTML, for notebooks. In: a snapshot, or a state and its kind. Out: escaped markup."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from spile.table.keys import frames, is_stack, parts_of, shown
from spile.table.listing import stands_for

if TYPE_CHECKING:
    from spile.aggregates import Kind
    from spile.table.snapshot import Snapshot

_ROWS = 20
_LEFT = ' style="text-align:left;vertical-align:top"'
_RIGHT = ' style="text-align:right;vertical-align:top"'


def table(snapshot: Snapshot[Any, Any]) -> str:
    """A row for each of the greatest keys; how many there are beside them."""
    kind = snapshot._kind
    rows = snapshot._top(_ROWS)
    heads = [*snapshot._part_names(), *([kind.name] if kind.is_block else kind.headings)]
    lines = [f"<tr>{''.join(f'<th{_LEFT}>{escape(head)}</th>' for head in heads)}</tr>"]
    for key, state in rows:
        parts = "".join(f"<td{_LEFT}>{_part(part)}</td>" for part in parts_of(key))
        lines.append(f"<tr>{parts}{_cells(kind, state)}</tr>")
    more = f"<div>… {len(snapshot) - len(rows):,} more</div>" if len(snapshot) > len(rows) else ""
    return f"<table>{''.join(lines)}</table>{more}{_note(snapshot.sample)}"


def value(kind: Kind, state: Any, sample: int = 1) -> str:
    """A single value."""
    if kind.is_block:
        return _block(kind.value(state)) + _note(sample)
    heads = "".join(f"<th>{escape(head)}</th>" for head in kind.headings)
    return f"<table><tr>{heads}</tr><tr>{_cells(kind, state)}</tr></table>{_note(sample)}"


def _note(sample: int) -> str:
    return f"<div>{stands_for(sample)}</div>" if sample > 1 else ""


def _cells(kind: Kind, state: Any) -> str:
    if kind.is_block:
        return f"<td{_LEFT}>{_block(kind.value(state))}</td>"
    return "".join(f"<td{_RIGHT}>{escape(cell)}</td>" for cell in kind.cells(state))


def _block(shown_value: Any) -> str:
    own = getattr(shown_value, "_repr_html_", None)
    return own() if own is not None else f"<pre>{escape(str(shown_value))}</pre>"


def _part(part: Any) -> str:
    if is_stack(part):
        return f"<pre>{escape(chr(10).join(frames(part)))}</pre>"
    return escape(shown(part))
