"""Values of a record as its reader takes them: of the kinds that its tables promise, or it is damaged.

SQLite keeps any value in any column, whatever the table says.
"""

import functools
import math
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

Row = TypeVar("Row")


class _Column(NamedTuple):
    name: str
    kinds: tuple[type, ...]
    optional: bool


def checked(row: type[Row], values: Sequence[Any]) -> Row:
    """A row of a class whose fields are the columns; an optional number that is infinite is unknown.

    Raises:
        sqlite3.DatabaseError: a value is not of its kind.
    """
    shown = []
    kind: Any = row
    for column, value in zip(_columns(kind), values, strict=True):
        endless = isinstance(value, float) and not math.isfinite(value)
        known = None if endless and column.optional else value
        if (known is None and not column.optional) or (known is not None and type(known) not in column.kinds):
            raise _wrong(f"{row.__name__}.{column.name}", value)
        if endless and known is not None:
            raise _wrong(f"{row.__name__}.{column.name}", value)
        shown.append(known)
    return row(*shown)


def all_numbers(rows: Sequence[Sequence[Any]]) -> None:
    """Check that rows hold nothing but numbers.

    Raises:
        sqlite3.DatabaseError: one does.
    """
    for row in rows:
        for value in row:
            if type(value) is not float and type(value) is not int:
                raise _wrong("a reading", value)


@functools.cache
def _columns(row: type[Any]) -> tuple[_Column, ...]:
    found = []
    for name, hint in get_type_hints(row).items():
        kinds = get_args(hint) or (hint,)
        numbers = (int,) if float in kinds else ()
        plain = tuple(kind for kind in kinds if kind is not type(None))
        found.append(_Column(name, (*plain, *numbers), type(None) in kinds))
    return tuple(found)


def _wrong(what: str, value: object) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"{what} is {str(value)[:60]!r}")
