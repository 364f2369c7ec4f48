"""What was accumulated, as mappings.

In: a native table, which Rust fills while the session runs. Out: `Table` (live, then final and readable for ever),
`Cell` (one value, for ``by=None``) and `Snapshot` (immutable, merges and subtracts, pickles).
Nothing here sees an event, and nothing is symbolized before somebody looks at it.
"""

from spile.table.cell import Cell
from spile.table.saved import SavedFrame, SavedStack
from spile.table.snapshot import Snapshot
from spile.table.table import Table

__all__ = ["Cell", "SavedFrame", "SavedStack", "Snapshot", "Table"]
