"""The run directory: where each artefact lies, who may write, and how far the run has come.

config.json environment.json state.json history.json train.log metrics.jsonl
epoch_N/{training_losses.pt, validation_scores.json, checkpoint.pt}
checkpoint_latest.pt checkpoint_best.pt          links into epoch_N/
test/test_results.json predictions/*.png curves.png
"""

import contextlib
import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runners.errors import RunDirectoryError
from storage import remove_unfinished, replace_link, write_json

_DEBUG_MARKER = ".debug-run"
_FILES = (
    "config.json",
    "environment.json",
    "state.json",
    "history.json",
    "train.log",
    "metrics.jsonl",
    "curves.png",
    "checkpoint_latest.pt",
    "checkpoint_best.pt",
)


class RunDirectory:
    """The map of one run's files.

    Args:
        root: the directory of this attempt at the run; made by `opened`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"
        self.environment = root / "environment.json"
        self.state = root / "state.json"
        self.history = root / "history.json"
        self.log = root / "train.log"
        self.metrics = root / "metrics.jsonl"
        self.curves = root / "curves.png"
        self.latest = root / "checkpoint_latest.pt"
        self.best = root / "checkpoint_best.pt"
        self.test_results = root / "test" / "test_results.json"
        self.predictions = root / "predictions"

    @classmethod
    def newest_attempt(cls, work_dir: Path) -> "RunDirectory":
        """The attempt that a plain command goes on with: the last `--fresh` one, else `work_dir` itself."""
        number = _last_fresh(work_dir)
        return cls(_fresh_path(work_dir, number) if number else work_dir)

    @classmethod
    def fresh_attempt(cls, work_dir: Path) -> "RunDirectory":
        """A directory that holds nothing yet: `work_dir`, else `work_dir-fresh-1`, `-2`, ..."""
        number = _last_fresh(work_dir)
        if number == 0 and not work_dir.exists():
            return cls(work_dir)
        return cls(_fresh_path(work_dir, number + 1))

    @contextlib.contextmanager
    def opened(self) -> Iterator["RunDirectory"]:
        """Make the directory and hold it for this process alone.

        The lock is a POSIX record lock: it ends with the process that took it, however that
        ends, and a forked loader worker does not inherit it.

        Raises:
            RunDirectoryError: it cannot be made or written, or another process runs in it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        except OSError as error:
            raise RunDirectoryError(
                f"{self.root}: cannot be used as run directory: {error}. Give another one with --work-dir."
            ) from error
        with lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunDirectoryError(
                    f"{self.root}: another process is running in this directory. Wait for it, stop it, "
                    "or start beside it with --fresh or --work-dir."
                ) from error
            # Under the lock nobody else is writing here: these are what killed processes left.
            remove_unfinished(self.root)
            yield self

    def epoch(self, number: int) -> Path:
        """The folder of epoch `number`, counted from 0."""
        return self.root / f"epoch_{number}"

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint of `epoch`; its presence says that the epoch is finished."""
        return self.epoch(epoch) / "checkpoint.pt"

    def checkpointed_epochs(self) -> list[int]:
        """Epochs with a checkpoint on disk, newest first."""
        found = (
            re.fullmatch(r"epoch_(\d+)", path.parent.name) for path in self.root.glob("epoch_*/checkpoint.pt")
        )
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def has_results(self) -> bool:
        """Whether an epoch has finished here, or a test."""
        return bool(self.checkpointed_epochs()) or self.test_results.exists()

    def link_latest(self, epoch: int) -> None:
        """Point `checkpoint_latest.pt` to the checkpoint of `epoch`."""
        replace_link(self.latest, self.checkpoint(epoch).relative_to(self.root))

    def link_best(self, epoch: int) -> None:
        """Point `checkpoint_best.pt` to the checkpoint of `epoch`."""
        replace_link(self.best, self.checkpoint(epoch).relative_to(self.root))

    def read_state(self) -> str | None:
        """'running', 'preempted', 'failed' or 'finished'; None where no run has begun."""
        content = self.read_json(self.state)
        return None if content is None else str(content.get("state"))

    def write_state(self, state: str, **details: object) -> None:
        """Write `state.json`: the state in one word, and what explains it."""
        write_json(self.state, {"state": state, **details})

    def read_json(self, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
        """The content of one of the run's JSON files, None where it is absent.

        Raises:
            RunDirectoryError: the file is no JSON; only an edit by hand makes it so.
        """
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"{path}: cannot be read as JSON ({error}). Restore it, or start over with --fresh."
            ) from error

    def start_debug_over(self) -> None:
        """Empty the directory of a former `--debug` run: the artefacts it made, nothing else.

        Raises:
            RunDirectoryError: there is something here that no `--debug` run has begun.
        """
        marker = self.root / _DEBUG_MARKER
        if not marker.exists() and any(path.name != ".lock" for path in self.root.iterdir()):
            raise RunDirectoryError(
                f"{self.root}: holds files but no --debug run made it. "
                "Move it away, or give another --work-dir."
            )
        for name in _FILES:
            (self.root / name).unlink(missing_ok=True)
        for pattern in (
            "epoch_[0-9]*/training_losses.pt",
            "epoch_[0-9]*/validation_scores.json",
            "epoch_[0-9]*/checkpoint.pt",
            "test/test_results.json",
            "predictions/[0-9][0-9][0-9][0-9][0-9].png",
        ):
            for path in self.root.glob(pattern):
                path.unlink()
                with contextlib.suppress(OSError):  # not empty: somebody put a file of their own there
                    path.parent.rmdir()
        marker.touch()


def _fresh_path(work_dir: Path, number: int) -> Path:
    return work_dir.with_name(f"{work_dir.name}-fresh-{number}")


def _last_fresh(work_dir: Path) -> int:
    pattern = re.compile(re.escape(work_dir.name) + r"-fresh-(\d+)")
    names = (path.name for path in work_dir.parent.iterdir()) if work_dir.parent.is_dir() else ()
    return max((int(match[1]) for match in map(pattern.fullmatch, names) if match), default=0)
