"""Read models as CSV or Parquet: what anybody may see of a table, row by row.

Sealed columns never leave. Of people who work here it is told only that a person did it: columns that name them are
left out, and so are their names in documents.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, Table

from adapters.storage.read_models import ReadModels
from projections import PROJECTIONS
from projections.base import Projection, as_text, nameless
from runners.exporting.reading import Progress
from runners.result_file import harmless

ROWS_AT_ONCE = 1_000
PEOPLE = frozenset({"person", "who", "picker", "what", "asked_by", "mentions"})
"""Columns and fields that name people who work here, or may."""
DONE_BY = frozenset({"updated_by", "opened_by", "by_whom"})
"""Columns and fields that say who did it: `channel:taobao`, or `person` and his id, which is cut off."""
DOCUMENTS = frozenset({"document", "viewed", "facts"})
"""Columns that hold JSON."""


class UnknownTable(LookupError):
    """There is no such table; the message says which there are."""


def names() -> list[str]:
    """Return the tables that can be exported."""
    return sorted(_known())


def find_table(name: str) -> tuple[Projection[Any, Any], Table]:
    """Return the table of a read model, and the projection it is of.

    Raises:
        UnknownTable: there is none of that name.
    """
    found = _known().get(name)
    if found is None:
        raise UnknownTable(f"there is no table {name!r}: there are {', '.join(names())}")
    return found


def _known() -> dict[str, tuple[Projection[Any, Any], Table]]:
    return {made.name.rpartition("_v")[0]: (each, made) for each in PROJECTIONS for made in each.tables}


def columns_of(made: Table) -> tuple[list[Column[Any]], list[str]]:
    """Return the columns that are shown, and the names of those that are not."""
    hidden = [str(each.name) for each in made.columns if isinstance(each.type, LargeBinary) or each.name in PEOPLE]
    return [each for each in made.columns if each.name not in hidden], hidden


def write_table(
    models: ReadModels, name: str, file: Path, form: str, channels: frozenset[str], progress: Progress
) -> dict[str, Any]:
    """Write a table, in the order of its primary key, and return what was written.

    Args:
        models: the read models.
        name: of the table.
        file: to be written.
        form: `csv` or `parquet`.
        channels: only rows of these; empty = all. Only where the table has a column `channel`.
        progress: told how far it is.

    Raises:
        UnknownTable: there is none of that name.
    """
    projection, made = find_table(name)
    columns, hidden = columns_of(made)
    shown = [str(each.name) for each in columns]
    pages = _pages(models.table_pages(projection, made, shown, channels, ROWS_AT_ONCE), shown, progress)
    if form == "csv":
        rows = _write_csv(file, shown, pages)
    else:
        from runners.exporting.parquet import write_parquet  # noqa: PLC0415  a heavy library

        rows = write_parquet(file, columns, pages)
    return {"rows": rows, "columns": shown, "left_out": hidden}


def _pages(found: Iterable[Sequence[Any]], shown: Sequence[str], progress: Progress) -> Iterator[list[list[Any]]]:
    ways = [_way(name) for name in shown]
    done = 0
    for page in found:
        yield [[way(value) for way, value in zip(ways, row, strict=True)] for row in page]
        done += len(page)
        progress(done, 0)


def _way(name: str) -> Callable[[Any], Any]:
    if name in DONE_BY:
        return nameless
    return _document if name in DOCUMENTS else _as_it_is


def _as_it_is(value: Any) -> Any:
    return as_text(value) if isinstance(value, str) else value


def _document(text: str) -> str:
    """Return a document without people."""
    return json.dumps(_without_people(json.loads(text)), ensure_ascii=False, separators=(",", ":"))


def _without_people(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: nameless(each) if name in DONE_BY else _without_people(each)
            for name, each in value.items()
            if name not in PEOPLE
        }
    return [_without_people(each) for each in value] if isinstance(value, list) else value


def _write_csv(file: Path, shown: Sequence[str], pages: Iterable[list[list[Any]]]) -> int:
    count = 0
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(shown)
        for page in pages:
            writer.writerows([harmless(value) if isinstance(value, str) else value for value in row] for row in page)
            count += len(page)
    return count
