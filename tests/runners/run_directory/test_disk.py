"""A disk that is full, read-only or broken for a while costs time, and not one number of the run."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pylon.runners.errors import RunDirectoryError, RunStopped
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.newest import find_newest
from pylon.runners.training import boundary
from pylon.runners.training.training import Training
from pylon.storage import verify_manifest
from tests.faults.disk import refusing
from tests.faults.harness import wait_until
from tests.runners.conftest import REPOSITORY, Toy
from tests.runners.run_directory.saves import mid_epoch_checkpoints, moment, opened_saver
from tests.runners.run_directory.test_interrupted import numbers

pytestmark = pytest.mark.ci


def runner(**checkpointing: Any) -> str:
    """A runner with these arguments of Checkpointing."""
    saving = f"{{'class': Checkpointing, 'args': {checkpointing!r}}}"
    arguments = f"{{'score': 'f1_changed', 'log_every_steps': 1, 'checkpointing': {saving}}}"
    return f"runner={{'class': SupervisedSingleTaskTrainer, 'args': {arguments}}}"


@contextmanager
def at_steps(actions: dict[int, Callable[[], None]]) -> Iterator[None]:
    """Do something when so many steps of the run are done."""
    with pytest.MonkeyPatch.context() as patch:
        end_step = boundary.end_step

        def noted(training: Training) -> None:
            actions.get(training.progress.global_step, lambda: None)()
            end_step(training)

        patch.setattr(boundary, "end_step", noted)
        yield


@pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "in a thread"])
@pytest.mark.parametrize(
    ("number", "after"),
    [
        (errno.ENOSPC, 0),
        (errno.EROFS, 1),
        (errno.EIO, 4),
        (errno.EDQUOT, 2),
        (errno.ENOSPC, 7),
        (errno.EIO, 13),
    ],
    ids=["full", "read-only", "broken", "quota", "full later", "broken later"],
)
def test_disk_that_refuses_for_a_while_costs_no_number(
    make_toy: Callable[[str], Toy], number: int, asynchronous: bool, after: int
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(every_steps=1, asynchronous=asynchronous)
    whole.run(options)
    with refusing(hurt.work_dir / "epoch_") as disk:
        # The shim is below the epochs' folders: what the run needs to begin and end is another test.
        def break_it() -> None:
            disk.broken, disk.after = number, after

        def repair_it() -> None:
            disk.broken = None

        with at_steps({2: break_it, 7: repair_it}):
            hurt.run(options)
    assert disk.refused > 0
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    log = (hurt.work_dir / "train.log").read_text()
    assert "could not be written" in log
    assert "make room, or repair the disk" in log
    assert "everything that had waited is written" in log
    assert not list(hurt.work_dir.rglob("*.tmp*"))
    assert not list(hurt.work_dir.glob("epoch_*/step_*"))


@pytest.mark.parametrize(
    ("after", "number"),
    [*((after, errno.ENOSPC) for after in range(0, 40, 6)), (0, errno.EDQUOT), (0, errno.EROFS)],
)
def test_disk_that_stays_full_is_exit_code_4_and_the_run_goes_on_later(
    make_toy: Callable[[str], Toy], after: int, number: int
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(every_steps=2)
    whole.run(options)
    with refusing(hurt.work_dir / "epoch_") as disk:

        def break_it() -> None:
            disk.broken, disk.after = number, after

        with at_steps({2: break_it}), pytest.raises(RunDirectoryError, match=os.strerror(number)) as raised:
            hurt.run(options)
    assert raised.value.exit_code == 4
    assert not list(hurt.work_dir.rglob("*.tmp*"))
    assert_nothing_half(hurt.work_dir)
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
    options = runner(every_steps=1)
    whole.run(options)
    counts: list[tuple[int, int]] = []
    with refusing(hurt.work_dir / "metrics.jsonl") as disk:

        def break_it() -> None:
            disk.broken = errno.ENOSPC

        def repair_it() -> None:
            newest = find_newest(RunDirectory(hurt.work_dir))
            progress = checkpoint.restore(newest.path, newest.content, {}) if newest else None
            lines = (hurt.work_dir / "metrics.jsonl").read_text().splitlines()
            counts.append((len(lines), progress.global_step if progress else 0))
            disk.broken = None

        with at_steps({2: break_it, 6: repair_it}):
            hurt.run(options)
    assert counts == [(2, 1)], "nothing that counts lost lines may be on the disk"
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


def assert_nothing_half(root: Path) -> None:
    """Every checkpoint that stands under its name loads, and is what its manifest says."""
    directory = RunDirectory(root)
    for path in directory.resumable():
        verify_manifest(checkpoint.manifest_of(path))
        checkpoint.load(path, {})


@pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "in a thread"])
def test_what_the_disk_refused_is_tried_again_before_the_next_save(
    tmp_path: Path, asynchronous: bool
) -> None:
    now = 0.0
    checkpointing = Checkpointing(asynchronous=asynchronous)
    with (
        refusing(tmp_path / "epoch_") as disk,
        opened_saver(tmp_path, checkpointing, clock=lambda: now) as saver,
    ):

        def end_step() -> int:
            saver.end_step()
            saver._settle()
            return disk.refused

        disk.broken = errno.ENOSPC
        saver.save(moment(Progress(step=1)))
        saver._settle()
        assert [end_step(), end_step()] == [1, 1], "not at every step"
        now = 9.9
        assert end_step() == 1
        now = 10.1
        assert [end_step(), end_step()] == [2, 2]
        disk.broken = None
        now = 20.2
        end_step()
        assert mid_epoch_checkpoints(tmp_path) == [(0, 1.0, tmp_path / "epoch_0" / "step_1.pt")]
        assert_nothing_half(tmp_path)
        calls = disk.calls
        now = 40.0
        end_step()
        assert disk.calls == calls, "nothing is left to be tried"


@pytest.mark.parametrize("name", ["epoch_0", ".", ".lock", "metrics.jsonl"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "in a thread"])
def test_directory_that_is_removed_in_the_middle_is_made_again(
    make_toy: Callable[[str], Toy], name: str, asynchronous: bool
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(every_steps=1, asynchronous=asynchronous)
    whole.run(options)
    others: list[str] = []

    def remove() -> None:
        # Moved away, as removing file by file could meet one that is just being written.
        wait_until((hurt.work_dir / name).exists, 20, "there is something to remove")
        (hurt.work_dir / name).rename(hurt.folder / "away")

    with at_steps({2: remove, 6: lambda: others.append(try_to_open(hurt.work_dir))}):
        hurt.run(options)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    assert others == ["refused"], "the directory is this process's also when it was made again"
    files = {path.relative_to(hurt.work_dir) for path in hurt.work_dir.rglob("*")}
    assert files >= {Path("config.json"), Path("environment.json"), Path("state.json"), Path("train.log")}
    assert ("is made again" in (hurt.work_dir / "train.log").read_text()) == (name == ".")
    assert_nothing_half(hurt.work_dir)
    assert hurt.run(options).result, "and it is known to be finished"


def try_to_open(root: Path) -> str:
    code = (
        "import sys; from pathlib import Path\n"
        "from pylon.runners.run_directory.directory import RunDirectory\n"
        "from pylon.runners.errors import RunDirectoryError\n"
        "try:\n    with RunDirectory(Path(sys.argv[1])).opened(): print('opened')\n"
        "except RunDirectoryError: print('refused')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(root)], cwd=REPOSITORY, capture_output=True, text=True, timeout=100,
        check=True,
    ).stdout.strip()  # fmt: skip


def test_directory_that_cannot_be_made_again_for_a_while_costs_no_number(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = runner(every_steps=1)
    whole.run(options)

    def block() -> None:
        shutil.rmtree(hurt.work_dir)
        hurt.work_dir.write_text("in the way")

    with at_steps({2: block, 7: hurt.work_dir.unlink}):
        hurt.run(options)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
    log = (hurt.work_dir / "train.log").read_text()
    assert "is made again" in log
    assert "everything that had waited is written" in log


@pytest.mark.parametrize(("signal_name", "code", "words"), [
    ("", 4, "Not a directory"), ("SIGTERM", 75, "newest steps are lost"),
])  # fmt: skip
def test_directory_that_stays_gone_is_told_without_a_traceback(
    toy: Toy, signal_name: str, code: int, words: str
) -> None:
    criterion = (
        "criterion={'class': RemovingCriterion, 'args': "
        f"{{'at_call': 2, 'folder': {str(toy.work_dir)!r}, 'then': {signal_name!r}}}}}"
    )
    ended = toy.launch(f"{criterion}, {runner(every_steps=1)}")
    said = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode == code, said
    assert "Traceback" not in said
    assert "could not be written" in said
    assert words in said


def test_directory_is_not_made_again_below_an_empty_mount_point(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as volume:
        if Path(volume).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs /dev/shm and the temporary folder on different volumes")
        mount = tmp_path / "mount"
        mount.symlink_to(volume)
        with RunDirectory(mount / "run").opened() as directory:
            directory.write_state("running")
            directory.ensure()
            mount.unlink()
            mount.mkdir()
            with pytest.raises(OSError, match="not mounted any more"):
                directory.ensure()
            assert list(mount.iterdir()) == []
            mount.rmdir()
            mount.symlink_to(volume)
            directory.ensure()
            assert directory.read_state() == "running"


MANY_STEPS = "epochs=1, train_dataloader={'class': DataLoader, 'args': {'batch_size': 1, 'shuffle': True}}"


def test_slow_fsync_beside_the_training_holds_no_step(make_toy: Callable[[str], Toy]) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = f"{MANY_STEPS}, {runner(every_steps=5, asynchronous=True)}"
    whole.run(options)
    gate, opened, threads = threading.Event(), [], set()

    def slow() -> None:
        if not gate.is_set():
            threads.add(threading.current_thread().name)
            # Would the training wait for it, nobody would open the gate.
            opened.append(gate.wait(20))

    with refusing(hurt.work_dir) as disk:

        def begin() -> None:
            disk.on_fsync = slow

        def open_gate() -> None:
            # The thread that writes may be slower than five steps of a toy.
            wait_until(lambda: threads, 20, "a checkpoint is being written")
            gate.set()

        with at_steps({4: begin, 9: open_gate}):
            hurt.run(options)
    assert threads == {"checkpoint"}
    assert opened == [True], "four steps were taken while one fsync hung"
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


def test_sigterm_in_a_slow_fsync_ends_with_a_whole_checkpoint_of_the_step(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    options = f"{MANY_STEPS}, {runner(every_steps=5, asynchronous=True)}"
    whole.run(options)
    gate, hung = threading.Event(), []

    def slow() -> None:
        if not gate.is_set():
            hung.append(gate.wait(20))

    with refusing(hurt.work_dir) as disk:

        def begin() -> None:
            disk.on_fsync = slow

        def stop() -> None:
            assert not gate.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Timer(0.3, gate.set).start()

        with at_steps({4: begin, 7: stop}), pytest.raises(RunStopped) as raised:
            hurt.run(options)
    assert raised.value.exit_code == 75
    assert hung == [True]
    assert [step for _, step, _ in mid_epoch_checkpoints(hurt.work_dir)] == [7.0]
    assert_nothing_half(hurt.work_dir)
    hurt.run(options)
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)
