"""The error of a full disk names what is on it: which epochs, in which file, or that there is nothing."""

import errno
import json
from pathlib import Path

import pytest

from pylon.runners.errors import RunDirectoryError
from pylon.runners.launch.kept import disk_error
from pylon.runners.run_directory.directory import RunDirectory
from tests.faults.disk import refusing
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_disk import at_steps, runner


def run_on_full_disk(toy: Toy, full_after_steps: int, options: str) -> str:
    """The error of a run of 3 epochs of 3 steps whose disk is full from a step on; then its next launch."""
    with refusing(toy.work_dir / "epoch_") as disk:

        def fill() -> None:
            disk.broken = errno.ENOSPC

        with at_steps({full_after_steps: fill}), pytest.raises(RunDirectoryError) as raised:
            toy.run(options)
    text = str(raised.value)
    assert json.loads((toy.work_dir / "state.json").read_text())["error"] == text
    assert text.endswith(f"Make room on the disk of {toy.work_dir} and repeat the command.")
    toy.run(options)
    return text


def log(toy: Toy) -> str:
    return (toy.work_dir / "train.log").read_text()


def test_finished_epoch_that_is_on_the_full_disk_is_named(toy: Toy) -> None:
    text = run_on_full_disk(toy, 4, runner())
    kept = toy.work_dir / "epoch_0" / "checkpoint.pt"
    assert f"Epoch 1 of 3 is kept, with {kept}; nothing that came after it is on the disk." in text
    assert log(toy).count("tried again") == 2, "after each later epoch, and not when the run ends"
    assert "resuming after 1 finished epochs" in log(toy)


def test_full_disk_without_a_checkpoint_is_not_said_to_keep_one(toy: Toy) -> None:
    text = run_on_full_disk(toy, 1, runner())
    assert "No checkpoint of this run is on the disk: nothing of its training is kept." in text
    assert "resuming after" not in log(toy)


def test_steps_of_an_epoch_that_are_on_the_full_disk_are_named(toy: Toy) -> None:
    text = run_on_full_disk(toy, 6, runner(every_steps=1))
    kept = toy.work_dir / "epoch_1" / "step_2.pt"
    assert f"Epoch 1 of 3 and 2 steps of epoch 2 are kept, with {kept};" in text
    assert "resuming after 1 finished epochs and 2 steps" in log(toy)


def test_damaged_checkpoint_is_not_said_to_be_kept_and_stays_where_it_is(
    toy: Toy,
) -> None:
    toy.run()
    newest = toy.work_dir / "epoch_2" / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    directory = RunDirectory(toy.work_dir)
    error = OSError(errno.EIO, "Input/output error", str(newest))
    assert "epoch_2/checkpoint.pt" not in str(disk_error(error, directory)).partition(". ")[2]
    assert newest.exists()


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EDQUOT, "Make room on the disk of"),
        (errno.EFBIG, "Lift the limit on the size of files (ulimit -f) for"),
        (errno.EROFS, "Repair the disk or the permissions of"),
    ],
)
def test_fix_is_that_of_the_error_and_an_evaluation_has_no_checkpoint(
    tmp_path: Path, number: int, fix: str
) -> None:
    text = str(disk_error(OSError(number, "words of the system"), RunDirectory(tmp_path)))
    assert text == f"[Errno {number}] words of the system. {fix} {tmp_path} and repeat the command."
