"""A disk that is full, read-only or broken for a while costs time, and not one number of the run."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runners import checkpoint
from runners.boundary import Boundary
from runners.errors import RunDirectoryError, RunStopped
from runners.run_directory import RunDirectory
from tests.faults.disk import refusing
from tests.runners.conftest import Toy
from tests.runners.test_interrupted import numbers


def runner(**options: Any) -> str:
    arguments = {"score": "f1_changed", "log_every_steps": 1, **options}
    return f"runner={{'class': SupervisedSingleTaskTrainer, 'args': {arguments!r}}}"


@contextmanager
def at_steps(actions: dict[int, Callable[[], None]]) -> Iterator[None]:
    """Do something when so many steps of the run are done."""
    with pytest.MonkeyPatch.context() as patch:
        end_step = Boundary.end_step

        def noted(self: Boundary) -> None:
            actions.get(self._progress.global_step, lambda: None)()
            end_step(self)

        patch.setattr(Boundary, "end_step", noted)
        yield


@pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "in a thread"])
@pytest.mark.parametrize(
    ("number", "after"),
    [(errno.ENOSPC, 0), (errno.EROFS, 1), (errno.EIO, 4), (errno.ENOSPC, 7), (errno.EIO, 13)],
    ids=["full", "read-only", "broken", "full later", "broken later"],
)
def test_disk_that_refuses_for_a_while_costs_no_number(
    make_toy: Callable[[str], Toy], number: int, asynchronous: bool, after: int
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(checkpoint_every_steps=1, asynchronous_checkpoints=asynchronous)
    whole.run(options)
    with refusing(hurt.work_dir / "epoch_") as disk:
        # The shim is below the epochs' folders: what the run needs to begin and end is another test.
        def break_it() -> None:
            disk.broken, disk.after = number, after

        def mend_it() -> None:
            disk.broken = None

        with at_steps({2: break_it, 7: mend_it}):
            hurt.run(options)
    assert disk.refused > 0
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    log = (hurt.work_dir / "train.log").read_text()
    assert "could not be written" in log
    assert "make room, or mend the disk" in log
    assert "everything that had waited is written" in log
    assert not list(hurt.work_dir.rglob("*.tmp*"))
    assert not list(hurt.work_dir.glob("epoch_*/step_*"))


@pytest.mark.parametrize("after", range(0, 40, 6))
def test_disk_that_stays_full_is_exit_code_4_and_the_run_goes_on_later(
    make_toy: Callable[[str], Toy], after: int
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(checkpoint_every_steps=2)
    whole.run(options)
    with refusing(hurt.work_dir / "epoch_") as disk:

        def break_it() -> None:
            disk.broken, disk.after = errno.ENOSPC, after

        with at_steps({2: break_it}), pytest.raises(RunDirectoryError, match="No space left") as raised:
            hurt.run(options)
    assert raised.value.exit_code == 4
    assert not list(hurt.work_dir.rglob("*.tmp*"))
    assert json.loads((hurt.work_dir / "state.json").read_text())["state"] == "failed"
    hurt.run(options)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    assert not list(hurt.work_dir.rglob("*.damaged")), "what was written before is sound"


def test_stop_on_a_full_disk_still_stops_and_says_what_is_lost(
    make_toy: Callable[[str], Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    whole.run(runner())
    criterion = "criterion={'class': ToyCriterion, 'args': {'at_call': 5, 'what': 'SIGTERM'}}"
    with refusing(hurt.work_dir / "epoch_1") as disk:
        disk.broken = errno.ENOSPC
        with pytest.raises(RunStopped):
            hurt.run(f"{runner()}, {criterion}")
    assert "newest steps are lost" in (hurt.work_dir / "train.log").read_text()
    (hurt.work_dir / "config.json").unlink()
    hurt.run(runner())
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


def test_step_lines_that_find_no_room_wait_and_no_checkpoint_counts_them_before(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(checkpoint_every_steps=1)
    whole.run(options)
    counts: list[tuple[int, int]] = []
    with refusing(hurt.work_dir / "metrics.jsonl") as disk:

        def break_it() -> None:
            disk.broken = errno.ENOSPC

        def mend_it() -> None:
            newest = checkpoint.find_newest(RunDirectory(hurt.work_dir))
            progress = checkpoint.restore(*newest, {}) if newest else None
            lines = (hurt.work_dir / "metrics.jsonl").read_text().splitlines()
            counts.append((len(lines), progress.global_step if progress else 0))
            disk.broken = None

        with at_steps({2: break_it, 6: mend_it}):
            hurt.run(options)
    assert counts == [(2, 1)], "nothing that counts lost lines may be on the disk"
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


def test_directory_that_is_gone_in_the_middle_is_made_again(make_toy: Callable[[str], Toy]) -> None:
    import shutil

    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(checkpoint_every_steps=1, retention=None)
    whole.run(options)
    with at_steps({2: lambda: shutil.rmtree(hurt.work_dir / "epoch_0")}):
        hurt.run(options)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
