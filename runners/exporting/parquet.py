"""Rows as a Parquet file; what is kept in memory is one group of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Boolean, Column, Integer, Numeric

GROUP_ROWS = 10_000
"""Rows of one group."""


def write_parquet(file: Path, columns: Sequence[Column[Any]], pages: Iterable[list[list[Any]]]) -> int:
    """Write rows, group by group, and return how many there are."""
    schema = pa.schema([(each.name, _arrow(each)) for each in columns])
    count = 0
    waiting: list[list[Any]] = []
    with pq.ParquetWriter(file, schema) as out:
        for page in pages:
            waiting += page
            count += len(page)
            if len(waiting) >= GROUP_ROWS:
                out.write_table(_group(waiting, schema))
                waiting = []
        if waiting or not count:
            out.write_table(_group(waiting, schema))
    return count


def _group(rows: Sequence[Sequence[Any]], schema: Any) -> Any:
    arrays = [[row[place] for row in rows] for place in range(len(schema))]
    return pa.table([pa.array(values, of.type) for values, of in zip(arrays, schema, strict=True)], schema=schema)


def _arrow(each: Column[Any]) -> Any:
    if isinstance(each.type, Boolean):
        return pa.bool_()
    if isinstance(each.type, Numeric):
        return pa.float64()
    return pa.int64() if isinstance(each.type, Integer) else pa.string()
