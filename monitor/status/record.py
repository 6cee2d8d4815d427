"""Any monitor's status as flat values that logs, displays and tables can show without knowing its class."""

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pylon.monitor.status.observation import Observation

Value = float | int | str | bool | None

# A record is written at each refresh and shown on a line: a status of thousands of values is cut.
_MOST_VALUES = 64
_LONGEST_TEXT = 200


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

    Fields of dataclasses, entries of dicts and elements of lists are followed; of other objects, and of what
    is beyond the 64th value, nothing is shown. A status that is one value itself is called 'value'. Numbers
    that are not finite are None.
    """
    found: dict[str, Value] = {}
    for path, value in _walk(status, ""):
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
    shown = [f"{name} {_text(value)}" for name, value in list(values.items())[:most]]
    return ", ".join(shown + ["..."] * (len(values) > most))


def _text(value: Value) -> str:
    if value is None:
        return "?"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _walk(value: object, path: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, enum.Enum):
        yield from _walk(value.value, path)
    elif value is None or isinstance(value, bool | int):
        yield path, value
    elif isinstance(value, float):
        yield path, value if math.isfinite(value) else None
    elif isinstance(value, str):
        yield path, value[:_LONGEST_TEXT]
    else:
        for name, element in _parts(value):
            yield from _walk(element, f"{path}.{name}" if path else str(name))


def _parts(value: object) -> Iterator[tuple[object, object]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
