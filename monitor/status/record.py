"""Any monitor's status as flat values that logs, displays and tables can show without knowing its class."""

import dataclasses
import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pylon.monitor.status.observation import Observation
from pylon.monitor.text import printable

Value = float | int | str | bool | None

_END = object()

# A record is written at each refresh and shown on a line: a status of thousands of values is cut.
_MOST_VALUES = 64
_LONGEST_TEXT = 200
# A status may contain itself, or very many objects that have no value to show.
_MOST_PARTS = 1000
# Readers of JSON take no longer integers, and Python writes none of more than 4300 digits.
_MOST_BITS = 64


def observation_record(seen: Observation[Any]) -> dict[str, Any]:
    """One server's observation, ready for JSON.

    Returns:
        `age_s`: seconds since the reading, None before the first; `absence`: why there is nothing current,
        None if there is; `values`: see `flat_values`, empty if nothing is current.
    """
    age, absence, status = seen.age_s, seen.absence, seen.current
    return {
        "age_s": None if age is None else round(age, 3),
        "absence": None if absence is None else absence.value,
        "values": {} if status is None else flat_values(status),
    }


def flat_values(status: object) -> dict[str, Value]:
    """The numbers and texts in a status by their path: 'used_percent', 'disks.0.free_bytes'.

    Fields of dataclasses, entries of dicts and elements of lists are followed. Other objects are left out,
    and so is what comes after the 64th value or the 1000th part. A status that is one value itself is called
    'value'. Numbers that are not finite, and integers of more than 64 bits, are None.
    """
    found: dict[str, Value] = {}
    for path, value in _walk(status):
        if len(found) == _MOST_VALUES:
            break
        found[path or "value"] = value
    return found


def record_text(record: Mapping[str, Any], most: int) -> str:
    """What `observation_record` gives as one line of text.

    Args:
        record: the record.
        most: values that are shown.

    Returns:
        'used_percent 43, free_bytes 1024', or why there is nothing, as in 'stale'.
    """
    if record["absence"] is not None:
        return str(record["absence"])
    values: Mapping[str, Value] = record["values"]
    shown = [f"{printable(name)} {_text(value)}" for name, value in list(values.items())[:most]]
    return ", ".join(shown + ["..."] * (len(values) > most))


def _text(value: Value) -> str:
    if value is None:
        return "?"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _walk(status: object) -> Iterator[tuple[str, Value]]:
    """The values in `status` with their paths, in order; without recursion, as it may contain itself."""
    entered: list[Iterator[tuple[str, object]]] = [iter([("", status)])]
    for _ in range(_MOST_PARTS):
        path, part = next(entered[-1], ("", _END))
        if part is _END:
            entered.pop()
            if not entered:
                return
        elif isinstance(part, bool | int | float | str | None) and not isinstance(part, enum.Enum):
            yield path, _bounded(part)
        else:
            entered.append(_parts(part, path))


def _bounded(value: Value) -> Value:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is not None and value.bit_length() > _MOST_BITS else value


def _parts(value: object, path: str) -> Iterator[tuple[str, object]]:
    """The parts of `value`, each with its own path."""
    if isinstance(value, enum.Enum):
        yield path, value.value
        return
    named: Iterable[tuple[object, object]] = ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        named = value.items()
    elif isinstance(value, list | tuple):
        named = enumerate(value)
    for name, part in named:
        yield (f"{path}.{name}" if path else str(name)), part
