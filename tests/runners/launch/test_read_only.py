"""A run directory where nothing can be written: a finished run is skipped, anything else is refused."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pylon.runners.errors import ReadOnlyError, RunDirectoryError, TrainingError
from tests.faults.disk import refusing
from tests.other_users import NOBODY, needs_root
from tests.runners.conftest import Toy


@contextmanager
def read_only(toy: Toy, number: int = errno.EROFS) -> Iterator[None]:
    """Inside the block nothing can be written in the run directory; after it, nothing has been."""

    def files() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in toy.work_dir.rglob("*")}

    former = files()
    with refusing(toy.work_dir) as disk:
        disk.broken = number
        yield
        assert disk.refused == 1, "nothing but the lock is tried"
    assert files() == former


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_finished_run_is_skipped(toy: Toy, number: int, caplog: pytest.LogCaptureFixture) -> None:
    result = toy.run("epochs=1").result
    caplog.clear()
    with read_only(toy, number):
        assert toy.run("epochs=1").result == result
    assert f"{toy.work_dir}: this run is finished" in caplog.text


@pytest.mark.parametrize("changes", ["epochs=2", "epochs=1, seed=6"])
def test_finished_run_of_another_configuration_is_refused(toy: Toy, changes: str) -> None:
    toy.run("epochs=1")
    with read_only(toy), pytest.raises(ReadOnlyError, match=r"cannot be used as run directory: .*Read-only"):
        toy.run(changes)


def test_run_that_is_not_finished_is_refused(toy: Toy) -> None:
    failing = "epochs=1, criterion={'class': ToyCriterion, 'args': {'at_call': 2, 'what': 'raise'}}"
    with pytest.raises(TrainingError, match="the criterion broke"):
        toy.run(failing)
    with read_only(toy), pytest.raises(ReadOnlyError, match=r"\.lock"):
        toy.run(failing)


def test_debug_run_is_refused_as_it_starts_from_scratch(toy: Toy) -> None:
    root = toy.run("epochs=1", debug=True).directory
    with refusing(root) as disk:
        disk.broken = errno.EROFS
        with pytest.raises(ReadOnlyError):
            toy.run("epochs=1", debug=True)


def test_no_room_for_the_lock_is_refused(toy: Toy) -> None:
    toy.run("epochs=1")
    with read_only(toy, errno.ENOSPC), pytest.raises(RunDirectoryError, match="No space left"):
        toy.run("epochs=1")


@needs_root
def test_state_that_another_user_may_have_planted_finishes_no_run(toy: Toy) -> None:
    toy.run("epochs=1")
    toy.work_dir.chmod(0o777)
    os.chown(toy.work_dir / "state.json", NOBODY, NOBODY)
    with refusing(toy.work_dir) as disk:
        disk.broken = errno.EROFS
        with pytest.raises(ReadOnlyError):
            toy.run("epochs=1")
