"""Lists as CSV files, which a spreadsheet opens without taking a name for a formula."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylon.monitor import printable
from pylon.views.terminal.columns import Column, Value

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_cell(value: Value) -> str:
    """A value in base units; '' if it is not known. What would be a formula is made text by a '."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = printable(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def write_csv(folder: Path, title: str, columns: Sequence[Column[Any]], rows: Sequence[Any]) -> Path:
    """Write rows to a new file of the folder; returns its path.

    Args:
        folder: where.
        title: of the list, part of the file's name.
        columns: all are written; a name is followed by its unit.
        rows: in their order.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / f"pylon-watch-{title}-{time.strftime('%Y%m%d-%H%M%S')}.csv"
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{path.stem.partition('_')[0]}_{number}.csv")
    heads = [one.name if one.unit in {"text", "count", ""} else f"{one.name}_{one.unit}" for one in columns]
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        for row in rows:
            writer.writerow([csv_cell(one.read(row)) for one in columns])
    return path
