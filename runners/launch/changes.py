"""What of a configuration may change between two launches of a run: what cannot change a number, and epochs.

epochs: was 3, now 5 ──> the schedule is not at its end ──> trains on, with the bits of a run of 5 epochs
                     └─> it is ──> refused, with the reason and the way on
"""

import logging
from typing import Any

from pylon.runners.config import (
    defaults_of,
    difference_lines,
    differences,
    file_digests,
    to_json,
    with_present_names,
    without_results,
)
from pylon.runners.config.schedule_ends import end_of, holds_number
from pylon.runners.config.schedules import takes_score
from pylon.runners.errors import RunDirectoryError
from pylon.runners.launch.moved import moved
from pylon.runners.run_directory import layout
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import has_validated, read_records

logger = logging.getLogger(__name__)

Row = tuple[str, Any, Any]


def check_against_former(directory: RunDirectory, config: dict[str, Any]) -> bool:
    """Whether a configuration asks for more epochs than the run in a directory was begun with.

    Raises:
        RunDirectoryError: it differs in something else, or the run cannot be trained longer.
    """
    former = directory.read_object(directory.config)
    try:
        changed = [] if former is None else differences(with_present_names(former), to_json(config))
    except RecursionError as error:
        raise RunDirectoryError(
            f"{directory.config}: is nested too deeply for a configuration. Restore it, or start over with "
            "--fresh."
        ) from error
    if not changed:
        return False
    if not directory.has_results():
        # Such as after an error that the changed value fixes: there is nothing to mix results up with.
        paths = ", ".join(path for path, _, _ in changed)
        logger.info("changed since a launch that finished no epoch: %s", paths)
        return False
    changed = _with_results(directory, _without_moves(directory, changed))
    if not changed:
        return False
    epochs = _epochs_alone(changed)
    if epochs is None:
        raise _other_configuration(directory, changed)
    reason = _against_more(directory, config, *epochs)
    if reason is not None:
        raise RunDirectoryError(
            f"{directory.root}: holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: "
            f"{reason}. {_way_on(directory)}"
        )
    logger.info("epochs: %d become %d, as if the run had begun with them", *epochs)
    return True


def is_finished_run_of(directory: RunDirectory, config: dict[str, Any]) -> bool:
    """Whether a directory that this process does not hold has the finished run of a configuration."""
    try:
        layout.refuse_planted_files(directory.root)
        return directory.finished_result() is not None and not check_against_former(directory, config)
    except (OSError, RunDirectoryError):
        return False


def _without_moves(directory: RunDirectory, changed: list[Row]) -> list[Row]:
    """Those of the changes that are more than another place of the same code or data; moves are logged."""
    launches = directory.launches()
    files = (launches[-1].get("configuration_files") if launches else None) or {}
    present = file_digests()
    moves = [moved(*row, files, present) for row in changed]
    places = sorted({f"{move[0]} is now {move[1]}" for move in moves if move is not None})
    if places:
        logger.info("moved since the last launch: %s", "; ".join(places))
    return [row for row, move in zip(changed, moves, strict=True) if move is None]


def _with_results(directory: RunDirectory, changed: list[Row]) -> list[Row]:
    """Those of the changes that a result of the run depends on; the others are logged if they are all."""
    if directory.read_state() == "finished":
        return changed
    validated = has_validated(directory)
    later = [row for row in changed if without_results(row[0], validated=validated)]
    left = [row for row in changed if row not in later]
    if later and not left:
        # Such as after an error in the test that the changed value fixes.
        paths = ", ".join(path for path, _, _ in later)
        logger.info("changed since the last launch, which has no result that depends on it: %s", paths)
    return left


def _epochs_alone(changed: list[Row]) -> tuple[int, int] | None:
    """The former and the new number of epochs, if nothing else differs but seeds listed for more of them."""
    rows = {path: (old, new) for path, old, new in changed}
    old, new = rows.pop("epochs", (None, None))
    if type(old) is not int or type(new) is not int:
        return None
    for path, (fewer, more) in rows.items():
        is_list = path in {"train_seeds", "val_seeds"} and isinstance(fewer, list) and isinstance(more, list)
        if not is_list or more[: len(fewer)] != fewer:
            return None
    return old, new


def _against_more(directory: RunDirectory, config: dict[str, Any], old: int, new: int) -> str | None:
    """Why the run cannot have `new` epochs, None if it can."""
    if new < old:
        return "it was begun with more, or has had more meanwhile. Give it as many again, with --set epochs"
    node, runner = config.get("scheduler"), config["runner"]
    if node is None or takes_score(node["class"]):
        return None
    per_epoch: int | None = 1
    if {**defaults_of(runner["class"]), **runner["args"]}.get("scheduler_interval") == "step":
        per_epoch = _steps_per_epoch(directory)
    end = end_of(node)
    if per_epoch is None:
        return None if end is None else "no epoch of it is finished, so that its schedule's end is not known"
    if end is not None and old * per_epoch <= end[0] < new * per_epoch:
        return f"scheduler: {end[1]}"
    total = next((one for one in (old, old * per_epoch) if holds_number(node, one)), None)
    if total is not None:
        return f"scheduler: {node['class'].__name__} was given {total}, and so is made for {old} epochs"
    return None


def _steps_per_epoch(directory: RunDirectory) -> int | None:
    # An earlier version has written the list alone.
    records = [*read_records(directory.history)] or directory.read_json(directory.history_list)
    try:
        return int(records[-1]["global_step"]) // (int(records[-1]["epoch"]) + 1)
    except (TypeError, KeyError, IndexError, ValueError):
        return None  # no epoch is finished, or it is of an early version


def _other_configuration(directory: RunDirectory, changed: list[Row]) -> RunDirectoryError:
    rows = "\n".join(f"  {line}" for line in difference_lines(changed))
    what = "the former value" if len(changed) == 1 else "the former values"
    return RunDirectoryError(
        f"{directory.root}: holds a run of another configuration:\n{rows}\n"
        f"Give {what} to resume it. {_way_on(directory)}"
    )


def _way_on(directory: RunDirectory) -> str:
    start = "Start over next to it with --fresh, or give another --work-dir"
    if not directory.best.is_file():
        return f"{start}."
    return f"{start}. To begin with its weights there: --set runner.args.initial_checkpoint={directory.best}"
