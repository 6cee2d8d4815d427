"""`history.jsonl`: one line per finished epoch, added at its end and never written again.

What a launch needs of it is read once, when it begins. Whoever reads the whole run as one JSON list finds it
in `history.json`, which is written when a launch ends.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pylon.runners.outputs.curves import CurvePoints
from pylon.runners.outputs.line_file import LineFile
from pylon.runners.outputs.unfinished import drop_unfinished_epochs
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.reading import is_record
from pylon.storage import atomic_path, write_text

logger = logging.getLogger(__name__)

Record = dict[str, Any]


class History:
    """The records of the finished epochs: on the disk all of them, in memory what a launch works with.

    Args:
        path: the `history.jsonl`, cut to the finished epochs; made if it is absent.
        score: the score that epochs are judged by.
        finished: number of finished epochs.

    Attributes:
        points: what `curves.png` shows.
        past: of each epoch that was finished before this launch, its score and the steps of the run at its
            end; None if that is not known.
    """

    def __init__(self, path: Path, score: str, finished: int = 0) -> None:
        self._score = score
        self.points = CurvePoints(score)
        seen: dict[int, tuple[float | None, int | None]] = {}
        for record in read_records(path):
            seen[record["epoch"]] = self.judged(record)
            self.points.add(record)
        self.past = [seen.get(epoch, (None, None)) for epoch in range(finished)]
        missing = [epoch for epoch in range(finished) if epoch not in seen]
        if missing:
            logger.warning(
                "%s: %d of %d epochs are missing, the first is epoch %d. The run continues, and the curves "
                "lack them too. Scores and losses of each epoch are in its folder.",
                path, len(missing), finished, missing[0],
            )  # fmt: skip
        self._file = LineFile(path)

    def __enter__(self) -> Self:
        """The history itself; its file is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def judged(self, record: Record) -> tuple[float | None, int | None]:
        """The score of a record's epoch and the steps of the run at its end; None if that is not known."""
        score, end = record["validation"].get(self._score), record.get("global_step")
        return score if isinstance(score, int | float) else None, end if isinstance(end, int) else None

    def add(self, record: Record) -> None:
        """Add the record of the epoch that is finished."""
        self.points.add(record)
        self._file.append(_line(record))

    def sync(self) -> None:
        """Bring every record to the disk, before the checkpoint that counts it; from any thread.

        Raises:
            OSError: the disk refuses; the records stay in memory.
        """
        self._file.sync()


def read_records(path: Path) -> Iterator[Record]:
    """The records of a `history.jsonl`, one after another; lines that are none are left out.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if is_record(record) and type(record.get("epoch")) is int:
                yield record


def has_validated(directory: RunDirectory) -> bool:
    """Whether an epoch of a run has been validated, in a launch of this or of an earlier version."""
    return directory.history_list.exists() or any(True for _ in read_records(directory.history))


def restore_records(path: Path, finished: int, former: Sequence[Record] | None) -> None:
    """Let the file hold the finished epochs and no others.

    Args:
        path: the `history.jsonl`.
        finished: number of finished epochs.
        former: the records of a checkpoint of an earlier version, which held them all; None: they are in
            the file.
    """
    if former is None:
        drop_unfinished_epochs(path, finished)
    else:
        write_text(path, "".join(_line({"epoch": epoch, **record}) for epoch, record in enumerate(former)))


def write_as_list(lines: Path, target: Path) -> None:
    """Write the records as one JSON list, and log why if the disk refuses; without records, nothing.

    Args:
        lines: the `history.jsonl`.
        target: the `history.json`.
    """
    try:
        records = read_records(lines)
        first = next(records, None)
        if first is None:
            return
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(f"[\n{json.dumps(first)}")
            file.writelines(f",\n{json.dumps(record)}" for record in records)
            file.write("\n]\n")
    except OSError as error:
        # Written when a launch ends, for whatever reason: this must not change that reason.
        logger.warning("%s: could not be written: %s", target, error)


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
