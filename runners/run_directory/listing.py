"""The checkpoints in the epochs' folders of a run directory: one look at each folder, the newest first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Of the epoch that is not finished.
RUNNING_LOSSES = "training_losses.f64"
_FOLDER = re.compile(r"epoch_(\d+)")
_POSITION = re.compile(r"(step_(\d+)|trained)(\.pt|\.manifest\.json)")


@dataclass(frozen=True)
class EpochFolder:
    """What was seen in the folder of an epoch.

    Attributes:
        epoch: its number.
        path: the folder.
        names: of the files in it.
    """

    epoch: int
    path: Path
    names: frozenset[str]

    def checkpoints(self) -> list[Path]:
        """Those that are there, the one that is furthest on first."""
        ended = [self.path / "checkpoint.pt"] if "checkpoint.pt" in self.names else []
        within = [path for _, path in reversed(self.positions()) if path.name in self.names]
        return ended + within

    def positions(self) -> list[tuple[float, Path]]:
        """(steps done in the epoch, file) of each checkpoint within it; inf steps: all.

        With those of which a kill or a full disk has left the manifest alone.
        """
        found = filter(None, map(_POSITION.fullmatch, self.names))
        return sorted({(float(name[2] or "inf"), self.path / f"{name[1]}.pt") for name in found})


def epoch_folders(root: Path) -> Iterator[EpochFolder]:
    """The epochs' folders, each looked into when it is asked for.

    Raises:
        OSError: one of them cannot be read.
    """
    try:
        names = [path.name for path in root.iterdir()]
    except FileNotFoundError:
        return
    for epoch in sorted((int(match[1]) for match in map(_FOLDER.fullmatch, names) if match), reverse=True):
        path = root / f"epoch_{epoch}"
        try:
            yield EpochFolder(epoch, path, frozenset(file.name for file in path.iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            continue
