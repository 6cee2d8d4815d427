"""The run directory: where each artefact lies, who may write, and how far the run has come.

config.json environment.json state.json train.log metrics.jsonl history.jsonl history.json
epoch_N/{training_losses.pt, validation_scores.json, checkpoint.pt, checkpoint.manifest.json}
epoch_N/{step_K.pt, step_K.manifest.json, training_losses.f64}    in its middle, until it is finished
checkpoint_latest.pt checkpoint_best.pt          links into epoch_N/
test/test_results.json predictions/*.png curves.png non_finite/*.pt
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pylon.runners.errors import ReadOnlyError, RunDirectoryError
from pylon.runners.run_directory import layout
from pylon.runners.run_directory.attempts import attempts_at
from pylon.runners.run_directory.claim import Claim, ClaimedError
from pylon.runners.run_directory.listing import RUNNING_LOSSES, epoch_folders
from pylon.storage import (
    PlantedError,
    missing_features,
    open_unlinked,
    remove_unfinished,
    replace_link,
    write_json,
)

_READ_ONLY = frozenset({errno.EROFS, errno.EACCES})


class RunDirectory:
    """The map of one run's files.

    Args:
        root: the directory of this attempt at the run; made by `opened`.
        passed_over: why other attempts, which another user may have planted, are not used.

    Attributes:
        missing_features: what the directory's file system lacks, known once it is opened.
    """

    def __init__(self, root: Path, passed_over: tuple[str, ...] = ()) -> None:
        self.root = root
        self.passed_over = passed_over
        self.config = root / "config.json"
        self.environment = root / "environment.json"
        self.state = root / "state.json"
        self.history = root / "history.jsonl"
        self.history_list = root / "history.json"
        self.record = root / "history.sqlite"
        self.log = root / "train.log"
        self.metrics = root / "metrics.jsonl"
        self.curves = root / "curves.png"
        self.latest = root / "checkpoint_latest.pt"
        self.best = root / "checkpoint_best.pt"
        self.test_results = root / "test" / "test_results.json"
        self.predictions = root / "predictions"
        self.missing_features: list[str] = []
        self._claim: Claim | None = None

    @classmethod
    def newest_attempt(cls, work_dir: Path) -> "RunDirectory":
        """The attempt that a plain command resumes: the last `--fresh` one, else `work_dir` itself."""
        attempts = attempts_at(work_dir)
        return cls(attempts.newest, attempts.planted)

    @classmethod
    def fresh_attempt(cls, work_dir: Path) -> "RunDirectory":
        """A directory that holds nothing yet: `work_dir`, else `work_dir-fresh-1`, `-2`, ..."""
        attempts = attempts_at(work_dir)
        return cls(attempts.fresh, attempts.planted)

    @contextlib.contextmanager
    def opened(self) -> Iterator["RunDirectory"]:
        """Make the directory and hold it for this process alone.

        The lock is a POSIX record lock: it ends with the process that took it, however that
        ends, and a forked loader worker does not inherit it.

        Raises:
            ReadOnlyError: nothing can be written in it.
            RunDirectoryError: it cannot be made, another process runs in it, or another user may have planted
                it or a file in it.
        """
        claim = Claim(self.root, header=(self.config, self.environment, self.state))
        with contextlib.closing(claim):
            try:
                claim.take()
                layout.refuse_planted_files(self.root)
            except ClaimedError as error:
                raise RunDirectoryError(
                    f"{self.root}: another process is running in this directory. Wait for it, stop it, "
                    "or start next to it with --fresh or --work-dir."
                ) from error
            except OSError as error:
                is_read_only = error.errno in _READ_ONLY and not isinstance(error, PlantedError)
                raise (ReadOnlyError if is_read_only else RunDirectoryError)(
                    f"{self.root}: cannot be used as run directory: {error}. "
                    "Give another one with --work-dir."
                ) from error
            # Under the lock no other process writes here: these are what killed processes left.
            remove_unfinished(self.root)
            self._claim = claim
            self.missing_features = missing_features(self.root)
            yield self

    def ensure(self) -> None:
        """Make the directory again if it was removed.

        Raises:
            OSError: it cannot be made again, or what it stood on is not mounted any more.
        """
        if self._claim is not None:
            self._claim.ensure()

    @property
    def is_held(self) -> bool:
        """Whether `opened` has given the directory to this process."""
        return self._claim is not None

    @property
    def has_locks(self) -> bool:
        """Whether the directory's file system keeps a second run out of it; known once it is opened."""
        return not any(feature.startswith("file locks") for feature in self.missing_features)

    @property
    def is_debug(self) -> bool:
        """Whether a `--debug` run has made it."""
        return (self.root / layout.DEBUG_MARKER).exists()

    def epoch(self, number: int) -> Path:
        """The folder of epoch `number`, counted from 0."""
        return self.root / f"epoch_{number}"

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint of `epoch`; its presence says that the epoch is finished."""
        return self.epoch(epoch) / "checkpoint.pt"

    def refuse_linked_epochs(self, first: int) -> None:
        """Refuse links in the place of epochs that are to be written, from number `first` on.

        Raises:
            RunDirectoryError: there is one.
        """
        try:
            layout.refuse_linked_epochs(self.root, first)
        except PlantedError as error:
            raise RunDirectoryError(f"{error}, or start over with --fresh.") from error

    def record_of_rank(self, rank: int) -> Path:
        """The record of another machine, kept by the rank of it that has the monitor."""
        return self.root / f"history.rank{rank}.sqlite"

    def non_finite(self, epoch: int, step: int) -> Path:
        """What reproduces a step whose loss or gradient was NaN or infinite."""
        return self.root / "non_finite" / f"epoch_{epoch}_step_{step}.pt"

    def mid_epoch_checkpoint(self, epoch: int, steps: int, *, trained: bool) -> Path:
        """The checkpoint after `steps` steps of `epoch`; `trained`: all are done, validation is not."""
        return self.epoch(epoch) / ("trained.pt" if trained else f"step_{steps}.pt")

    def running_losses(self, epoch: int) -> Path:
        """The losses of an epoch that is not finished."""
        return self.epoch(epoch) / RUNNING_LOSSES

    def resumable(self) -> Iterator[Path]:
        """Every checkpoint, the one that is furthest on first."""
        for folder in epoch_folders(self.root):
            yield from folder.checkpoints()

    def has_results(self) -> bool:
        """Whether there is a checkpoint here that a run can resume from, or a test."""
        return any(True for _ in self.resumable()) or self.test_results.exists()

    def link_latest(self, epoch: int) -> None:
        """Point `checkpoint_latest.pt` to the checkpoint of `epoch`."""
        replace_link(self.latest, self.checkpoint(epoch).relative_to(self.root))

    def link_best(self, epoch: int) -> None:
        """Point `checkpoint_best.pt` to the checkpoint of `epoch`."""
        replace_link(self.best, self.checkpoint(epoch).relative_to(self.root))

    def read_state(self) -> str | None:
        """'running', 'preempted', 'failed' or 'finished'; None if no run has begun."""
        content = self.read_object(self.state)
        return None if content is None else str(content.get("state"))

    def finished_result(self) -> dict[str, Any] | None:
        """The result of a run that is finished, None if it is not.

        Raises:
            RunDirectoryError: see `read_object`; or there is no result.
        """
        content = self.read_object(self.state) or {}
        if content.get("state") != "finished":
            return None
        result: dict[str, Any] = self._of_kind(self.state, "result", content.get("result"), dict)
        for split in ("validation", "test"):
            scores = self._of_kind(self.state, f"result.{split}", result.get(split) or {}, dict)
            for name, score in scores.items():
                self._of_kind(self.state, f"result.{split}.{name}", score, (int, float, type(None)))
        return result

    def launches(self) -> list[dict[str, Any]]:
        """What `environment.json` holds of each launch, the newest last.

        Raises:
            RunDirectoryError: see `read_object`; or it holds no list of launches.
        """
        content = self.read_object(self.environment)
        if content is None:
            return []
        launches: list[dict[str, Any]] = self._of_kind(
            self.environment, "launches", content.get("launches"), list
        )
        for number, launch in enumerate(launches):
            self._of_kind(self.environment, f"launches.{number}", launch, dict)
        return launches

    def write_state(self, state: str, **details: object) -> None:
        """Write `state.json`: the state in one word, and what explains it."""
        write_json(self.state, {"state": state, **details})

    def read_json(self, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
        """The content of one of the run's JSON files, None if it is absent.

        Raises:
            RunDirectoryError: the file is not JSON, or a link; only an edit by hand makes it so.
        """
        try:
            with os.fdopen(open_unlinked(path, os.O_RDONLY), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise RunDirectoryError(
                f"{path}: cannot be read as JSON ({error}). Restore it, or start over with --fresh."
            ) from error

    def read_object(self, path: Path) -> dict[str, Any] | None:
        """The content of one of the run's JSON files that holds a JSON object, None if it is absent.

        Raises:
            RunDirectoryError: the file is not JSON, or holds something else.
        """
        content = self.read_json(path)
        if content is not None or path.exists():
            self._of_kind(path, "content", content, dict)
        found: dict[str, Any] | None = content
        return found

    @staticmethod
    def _of_kind(path: Path, key: str, value: Any, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401 - JSON
        """The value, which one of the run's JSON files holds, if it is of a kind that the run writes."""
        if isinstance(value, kind):
            return value
        raise RunDirectoryError(
            f"{path}: {key} is {value!r:.60}, which no run writes. Restore the file, or start over with "
            "--fresh."
        )

    def start_debug_over(self) -> None:
        """Empty the directory of a former `--debug` run: the artefacts it made, nothing else.

        Raises:
            RunDirectoryError: there is something here that no `--debug` run has begun.
        """
        if not self.is_debug and any(path.name != layout.LOCK for path in self.root.iterdir()):
            raise RunDirectoryError(
                f"{self.root}: holds files but no --debug run made it. "
                "Move it away, or give another --work-dir."
            )
        layout.empty(self.root)
