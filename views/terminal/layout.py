"""The layout that a user saves: which list, and the filter, order and columns of each."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.storage import write_json
from pylon.views.terminal.listing import Listing


def layout_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where it is: $XDG_STATE_HOME/pylon/watch.json, or below ~/.local/state."""
    state = environment.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path(environment.get("HOME") or "/") / ".local/state"
    return folder / "pylon" / "watch.json"


def read_layout(path: Path) -> tuple[dict[str, Any], str]:
    """What was saved, and a note if that cannot be used; nothing if nothing was saved."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path}: cannot be read ({error}): the layout is that of a first start; w saves a new one"
    if not isinstance(found, dict) or not isinstance(found.get("lists"), dict):
        return (
            {},
            f"{path}: is no layout of pylon watch: the layout is that of a first start; w saves a new one",
        )
    return found, ""


def save_layout(path: Path, pane: int, listings: Mapping[str, Listing]) -> None:
    """Save it; the file is whole at any time.

    Raises:
        OSError: it cannot be written.
    """
    lists = {
        title: {
            "filter": one.filter_text,
            "sort": one.sort,
            "reverse": one.reverse,
            "hidden": list(one.hidden),
            "shown": list(one.shown),
        }
        for title, one in listings.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"pane": pane, "lists": lists})


def apply_layout(saved: Mapping[str, Any], listings: Mapping[str, Listing]) -> list[str]:
    """Give the lists what was saved of them; returns a note for each part that cannot be used."""
    notes = []
    for title, listing in listings.items():
        one = saved.get("lists", {}).get(title)
        if not isinstance(one, dict):
            continue
        names = {column.name for column in listing.columns}
        listing.sort = one["sort"] if one.get("sort") in names else ""
        listing.reverse = one.get("reverse") is True
        listing.hidden, listing.shown = (_names(one.get(key), names) for key in ("hidden", "shown"))
        if isinstance(one.get("filter"), str) and (note := listing.restore(one["filter"])):
            notes.append(f"{title}: {note}")
    return notes


def _names(value: object, known: set[str]) -> tuple[str, ...]:
    return tuple(one for one in value if one in known) if isinstance(value, list) else ()
