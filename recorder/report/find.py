"""The records that a user means with a path."""

from pathlib import Path

from pylon.recorder.report.errors import ReportError

NAME = "history.sqlite"
# Runs are in a folder, in one for each name, or in one for each task and name.
_DEEPEST = 4


def records_at(path: Path, problems: list[str]) -> list[Path]:
    """The record of a run directory or of a record directory, the file itself, or all records below a folder.

    Args:
        path: as a user gives it.
        problems: gets a line for each folder that may not be read.

    Raises:
        ReportError: there is none.
    """
    try:
        if path.is_file():
            return [path]
        found = sorted(_below(path, _DEEPEST, problems)) if path.is_dir() else []
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found:
        return found
    if not path.exists():
        raise ReportError(f"{path}: does not exist. Give a run directory, or a folder of them")
    raise ReportError(
        f"{path}: no {NAME} in it, or in the {_DEEPEST} levels below. A run has one unless its "
        "configuration has 'monitor': None, and so has what was started with `pylon run -- COMMAND`; a run "
        "below that is in its record"
    )


def _below(folder: Path, levels: int, problems: list[str]) -> list[Path]:
    """A run has no runs in it; a link to a run counts, and leads no further."""
    if (folder / NAME).is_file():
        return [folder / NAME]
    if levels == 0 or not folder.is_dir():
        return []
    found = []
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        problems.append(f"{folder}: cannot be read ({error.strerror or error}): runs in it are left out")
        return []
    for entry in entries:
        found += _below(entry, 0 if entry.is_symlink() else levels - 1, problems)
    return found
