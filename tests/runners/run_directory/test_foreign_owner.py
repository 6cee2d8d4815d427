"""A run directory of which some folders belong to another user, as after a launch as root in a container."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from pylon.runners.errors import RunDirectoryError, TrainingError
from pylon.runners.run_directory import checkpoint, resuming
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on

pytestmark = pytest.mark.slow


def test_old_checkpoint_that_cannot_be_deleted_keeps_no_newer_one_from_being_written(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign, refused = [toy.work_dir / "epoch_0/checkpoint.pt", toy.work_dir / "epoch_1/checkpoint.pt"], []
    remove = checkpoint.remove

    def removed(path: Path) -> None:
        if path in foreign:
            refused.append(path)
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr(checkpoint, "remove", removed)
    toy.run()
    assert refused
    assert (toy.work_dir / "epoch_2/checkpoint.pt").exists()
    text = (toy.work_dir / "train.log").read_text()
    assert text.count("is replaced by a newer one and cannot be deleted") == len(set(refused))
    assert "kept in memory" not in text


def test_epoch_that_cannot_be_written_is_refused_before_a_step_of_it_is_lost(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError):
        toy.run(failing(5, "raise"))
    let_it_go_on(toy)
    folder = toy.work_dir / "epoch_1"
    folder.mkdir(exist_ok=True)
    opened = tempfile.TemporaryFile

    def refusing(*arguments: Any, dir: Path, **options: Any) -> Any:
        if dir == folder:
            raise PermissionError(13, "Permission denied", str(dir))
        return opened(*arguments, dir=dir, **options)

    monkeypatch.setattr(resuming.tempfile, "TemporaryFile", refusing)
    with pytest.raises(
        RunDirectoryError, match=r"epoch_1: belongs to user \d+, and user \d+ cannot write there"
    ):
        toy.run()
    monkeypatch.undo()
    toy.run()
