"""What another user can plant in a run directory or next to it: refused by name, and untouched."""

import logging
import os
from pathlib import Path

import pytest
from rich.console import Console

from pylon.runners.errors import RunDirectoryError
from pylon.runners.logs import logging_to
from pylon.runners.outputs.line_file import LineFile
from pylon.runners.run_directory import checkpoint, layout
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.newest import find_newest
from pylon.storage import PlantedError
from tests.other_users import NOBODY, needs_root
from tests.runners.conftest import Toy


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@needs_root
def test_planted_fresh_attempt_is_passed_over_with_one_line_and_untouched(shared: Path) -> None:
    toy = Toy(shared)
    planted = shared / "run-fresh-7"
    planted.mkdir()
    (planted / "train.log").symlink_to(shared / "bashrc")
    (shared / "bashrc").write_text("mine")
    give_away(planted, planted / "train.log")
    assert toy.run("epochs=1").directory == toy.work_dir
    log = (toy.work_dir / "train.log").read_text()
    assert log.count("passed over") == 1
    assert f"passed over: {planted}: belongs to another user" in log
    assert [path.name for path in planted.iterdir()] == ["train.log"]
    assert (shared / "bashrc").read_text() == "mine"
    assert toy.run("epochs=1", fresh=True).directory == shared / "run-fresh-8", "the name is taken"
    assert toy.run("epochs=1").directory == shared / "run-fresh-8"


@needs_root
@pytest.mark.parametrize("stages", [False, True])
def test_planted_run_directory_ends_the_run_with_its_name_owner_and_fix(shared: Path, stages: bool) -> None:
    toy = Toy(shared)
    toy.work_dir.mkdir()
    give_away(toy.work_dir)
    path = toy.write("epochs=1")
    if stages:
        text = "one = {key: config[key] for key in config if key != 'work_dir'}\n"
        text += "config = {'work_dir': config['work_dir'], 'stages': {'one': one}}\n"
        path.write_text(path.read_text() + text)
    ended = toy.launch_file(path)
    assert ended.returncode == 4, ended.stderr
    assert f"{toy.work_dir}: belongs to another user" in ended.stderr
    assert f"uid {NOBODY}" in ended.stderr
    assert "cp -r" in ended.stderr
    assert "--work-dir" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(toy.work_dir.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".lock",
            "train.log",
            "metrics.jsonl",
            "history.jsonl",
            "history.json",
            "state.json",
            "config.json",
        ),
        *("environment.json", "curves.png", ".debug-run"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_link_in_the_place_of_a_file_is_refused_and_not_followed(
    tmp_path: Path, name: str, exists: bool
) -> None:
    root, target = tmp_path / "run", tmp_path / "bashrc"
    root.mkdir()
    if exists:
        target.write_text("mine")
    (root / name).symlink_to(target)
    refusal = rf"{name}: is a link to {target}.*Remove the link.*--work-dir"
    with pytest.raises(RunDirectoryError, match=refusal) as refused, RunDirectory(root).opened():
        pass
    assert isinstance(refused.value.__cause__, PlantedError)
    assert target.read_text() == "mine" if exists else not target.exists()


@pytest.mark.parametrize("name", ["test", "predictions", "non_finite"])
def test_link_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (root / name).symlink_to(tmp_path)
    with pytest.raises(RunDirectoryError, match=rf"{name}: is a link"), RunDirectory(root).opened():
        pass


def test_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.json")
    with pytest.raises(RunDirectoryError, match=r"state\.json: is not a regular file"):
        RunDirectory(tmp_path).read_state()
    with (
        pytest.raises(RunDirectoryError, match=r"state\.json: is not a regular file"),
        RunDirectory(tmp_path).opened(),
    ):
        pass


@needs_root
@pytest.mark.parametrize(
    "name",
    [
        *(".lock", "train.log", "metrics.jsonl", "config.json", "checkpoint_best.pt"),
        *("epoch_0", "epoch_0/checkpoint.pt", "test/test_results.json"),
    ],
)
def test_file_of_another_user_in_a_run_directory_that_all_can_write_is_refused(
    shared: Path, name: str
) -> None:
    path = shared / name
    if name == "epoch_0":
        path.mkdir()
    else:
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o777)
        path.write_text("planted")
    give_away(path)
    with pytest.raises(RunDirectoryError, match=f"{path}: belongs to another.*{NOBODY}"):
        RunDirectory(shared).opened().__enter__()
    assert path.is_dir() or path.read_text() == "planted"


@needs_root
def test_planted_links_to_checkpoints_are_refused(shared: Path, tmp_path: Path) -> None:
    for name in ("epoch_0", "checkpoint_latest.pt"):
        (shared / name).symlink_to(tmp_path)
        give_away(shared / name)
        with pytest.raises(RunDirectoryError, match=f"{name}: belongs to another user"):
            RunDirectory(shared).opened().__enter__()
        (shared / name).unlink()


def moved_away(directory: RunDirectory, epoch: int, to: Path) -> Path:
    """As a user moves an epoch to another disk, with a link in its place; the checkpoint's new path."""
    directory.epoch(epoch).rename(to)
    directory.epoch(epoch).symlink_to(to)
    return to / "checkpoint.pt"


def test_retention_deletes_nothing_behind_a_link_and_the_run_resumes_from_there(toy: Toy) -> None:
    directory = RunDirectory(toy.run("epochs=2").directory)
    kept = moved_away(directory, 1, toy.folder / "archive")
    directory.state.unlink()
    directory.config.unlink()
    assert toy.run("epochs=4").result["epochs"] == 4
    assert "resuming after 2 finished epochs" in directory.log.read_text()
    checkpoint.remove(directory.checkpoint(1))
    assert kept.exists()
    assert (kept.parent / "checkpoint.manifest.json").exists()


def test_damaged_checkpoint_behind_a_link_stays_as_it_is(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    directory = RunDirectory(toy.run("epochs=1").directory)
    kept = moved_away(directory, 0, toy.folder / "archive")
    kept.write_text("damaged")
    assert find_newest(directory) is None
    assert "stays there, as its folder is a link" in caplog.text
    assert kept.read_text() == "damaged"


def test_link_in_the_place_of_an_epoch_that_is_to_be_written_is_refused_before_the_first_step(
    toy: Toy,
) -> None:
    toy.work_dir.mkdir()
    (toy.work_dir / "epoch_1").symlink_to(toy.folder)
    with pytest.raises(RunDirectoryError, match=r"epoch_1: is a link.*Remove the link, or start over"):
        toy.run()
    assert not (toy.work_dir / "epoch_0").exists()
    assert not (toy.folder / "checkpoint.pt").exists()


def test_link_that_is_planted_while_a_run_goes_on_is_not_written_into(toy: Toy) -> None:
    elsewhere = toy.folder / "elsewhere"
    elsewhere.mkdir()
    path = toy.write()
    path.write_text(
        path.read_text()
        + "import os\n"
        + "class Planting(ToyCriterion):\n"
        + "    def forward(self, *arguments):\n"
        + f"        if not os.path.lexists({str(toy.work_dir / 'epoch_2')!r}):\n"
        + f"            os.symlink({str(elsewhere)!r}, {str(toy.work_dir / 'epoch_2')!r})\n"
        + "        return super().forward(*arguments)\n"
        + "config['criterion']['class'] = Planting\n"
    )
    ended = toy.launch_file(path)
    assert ended.returncode == 4, ended.stderr
    assert "epoch_2: is a link" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(elsewhere.iterdir()) == []
    assert (toy.work_dir / "epoch_1/checkpoint.pt").exists()


def test_debug_run_empties_nothing_behind_a_link(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run.debug")
    directory.root.mkdir()
    directory.start_debug_over()
    (tmp_path / "real").mkdir()
    for name in ("checkpoint.pt", "checkpoint.manifest.json"):
        (tmp_path / "real" / name).write_text("weeks of work")
    directory.epoch(0).symlink_to(tmp_path / "real")
    directory.start_debug_over()
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == [
        "checkpoint.manifest.json",
        "checkpoint.pt",
    ]


def test_own_link_as_run_directory_is_used(toy: Toy) -> None:
    results = toy.folder / "big_disk" / "results"
    results.mkdir(parents=True)
    toy.work_dir.symlink_to(results)
    toy.run("epochs=1")
    assert (results / "state.json").exists()
    assert toy.run("epochs=1").directory == toy.work_dir


def test_lines_and_records_go_into_no_link_that_takes_the_place_of_their_removed_file(
    tmp_path: Path,
) -> None:
    target = tmp_path / "bashrc"
    target.write_text("mine")
    lines = LineFile(tmp_path / "metrics.jsonl")
    with logging_to(tmp_path / "train.log", Console(quiet=True)):
        for name in ("metrics.jsonl", "train.log"):
            (tmp_path / name).unlink()
            (tmp_path / name).symlink_to(target)
        logging.getLogger("pylon.test").warning("a record")
        lines.append("a line\n")
        with pytest.raises(PlantedError, match="is a link"):
            lines.sync()
    lines.close()
    assert target.read_text() == "mine"


def test_file_that_goes_away_while_it_is_looked_at_was_not_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.log").touch()
    listed = [tmp_path / "history.sqlite-wal", tmp_path / "train.log"]
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    layout.refuse_planted_files(tmp_path)
