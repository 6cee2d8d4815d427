"""JSON from files and memory that others may have written."""

import json
from typing import Any

_DEEPEST = 100


def parsed_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """What JSON holds, for callers that go through it and write it again by recursion.

    Raises:
        ValueError: it is no JSON, or is nested more than 100 levels deep.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise ValueError(f"nested more than {_DEEPEST} levels deep")
