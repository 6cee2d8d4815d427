"""trackio: its local database, which its dashboard shows."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.views.loggers.contract import End, Logger, Picture, Run, Scalars


class TrackioLogger(Logger):
    """Writes to the database of a project, where each row has an id: one that comes again is not doubled.

    Args:
        project: of trackio.
        folder: of its databases; None: $TRACKIO_DIR, or trackio's default.
    """

    LIBRARY = "trackio"
    EXTRA = "trackio"

    def __init__(self, project: str = "pylon", folder: str | None = None) -> None:
        self._project = project
        self._folder = folder
        self._run = Run("", "", Path())
        self._about: dict[str, Any] = {}
        self._changed = False
        self._rows: list[tuple[int, int, float, dict[str, Any]]] = []

    def open(self, run: Run, kept: Mapping[str, Any]) -> None:  # noqa: ARG002 - rows have ids
        """See Logger."""
        if self._folder is not None:
            os.environ["TRACKIO_DIR"] = str(Path(self._folder).expanduser())
        import trackio  # noqa: F401 - its error, if it cannot be imported, belongs here

        self._run = run
        self._about = {**run.configuration, **{f"pylon.{name}": text for name, text in run.about.items()}}
        self._changed = True

    def scalars(self, entry: Scalars) -> None:
        """See Logger."""
        self._rows.append((entry.row, entry.step, entry.t, dict(entry.values)))

    def picture(self, entry: Picture) -> None:
        """See Logger."""
        import trackio

        image = trackio.Image(entry.path, caption=entry.name)
        image._save(self._project, self._run.name, entry.step)
        self._rows.append((entry.row, entry.step, entry.t, {entry.name: image._to_dict()}))

    def end(self, entry: End) -> None:
        """See Logger."""
        self._about |= {"pylon.state": entry.state, "pylon.cause": entry.cause}
        self._changed = True
        # The configuration is written with a row.
        self._rows.append((entry.row, entry.step, entry.t, {"pylon/ended": 1.0}))

    def flush(self) -> dict[str, Any]:
        """See Logger."""
        from trackio.sqlite_storage import SQLiteStorage

        if self._rows:
            SQLiteStorage.bulk_log(
                self._project,
                self._run.name,
                [values for *_, values in self._rows],
                steps=[step for _, step, _, _ in self._rows],
                timestamps=[_text(t) for _, _, t, _ in self._rows],
                log_ids=[f"pylon-{self._run.id}-{row}" for row, *_ in self._rows],
                config=self._about if self._changed else None,
                run_id=self._run.id,
            )
            self._changed = False
        self._rows.clear()
        return {}

    def close(self) -> dict[str, Any]:
        """See Logger."""
        return self.flush()


def _text(t: float) -> str:
    return datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat()
