"""Columns that hold JSON, as their readers take them: whatever another program has put there is no error."""

from typing import Any

from pylon.recorder.history.rows import MarkRow
from pylon.storage import parsed_json


def json_column(text: str | None) -> Any:  # noqa: ANN401 - JSON
    """What a column holds; the text itself if that is no JSON, None if it is empty."""
    try:
        return parsed_json(text) if text else None
    except ValueError:
        return text


def detail_of(mark: MarkRow) -> dict[str, Any]:
    """The detail of a mark; empty if it has none or it cannot be read."""
    try:
        found = parsed_json(mark.detail) if mark.detail else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"value": found}
