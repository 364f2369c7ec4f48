"""A batch's columns in other forms. In: who speaks Arrow's PyCapsule interface. Out: a table or a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spile.packages import wanted

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from spile import _native


def to_arrow(columns: _native.Columns) -> pyarrow.Table:
    """Without a copy."""
    table: pyarrow.Table = wanted("pyarrow", "to_arrow").table(columns)
    return table


def to_polars(columns: _native.Columns) -> polars.DataFrame:
    """Without a copy and without pyarrow. `polars.DataFrame(columns)` would make a list of each column first."""
    frame: polars.DataFrame = wanted("polars", "to_polars").Series(columns).struct.unnest()
    return frame


def to_pandas(columns: _native.Columns) -> pandas.DataFrame:
    """By pyarrow, which knows how; an integer column with nulls becomes one of floats, as usual there."""
    wanted("pandas", "to_pandas")
    frame: pandas.DataFrame = wanted("pyarrow", "to_pandas").table(columns).to_pandas()
    return frame
