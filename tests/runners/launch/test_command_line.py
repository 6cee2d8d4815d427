"""What a user types, in processes of their own: options, exit codes, and messages without a traceback."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from main import main
from tests.runners.conftest import ENVIRONMENT, REPOSITORY, Toy, started

pytestmark = pytest.mark.ci


def command_line(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    if not options:
        return started([str(REPOSITORY / "main.py"), *arguments])
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False, **options,
    )  # fmt: skip


def test_values_set_on_the_command_line_reach_the_run_and_its_record(toy: Toy) -> None:
    ended = toy.launch("", "--set", "epochs=1", "optimizer.args.lr=0.25")
    assert ended.returncode == 0, ended.stderr
    recorded = json.loads((toy.work_dir / "config.json").read_text())
    assert (recorded["epochs"], recorded["optimizer"]["args"]["lr"]) == (1, 0.25)
    line = json.loads((toy.work_dir / "metrics.jsonl").read_text().splitlines()[0])
    assert line["learning_rate"] == 0.25
    assert not (toy.work_dir / "epoch_1").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "epochs=0", "model.args.chanels=3"], ["2 problems", "epochs is 0", "mean 'channels'"]),
        (
            [
                "--set",
                "runner.args.checkpointing="
                "{'class': 'pylon.runners:Checkpointing', 'args': {'every_minutes': 0}}",
                "val_dataset.args.split=valid",
            ],
            [
                "2 problems",
                "runner.args.checkpointing.args.every_minutes is 0: expected more",
                "val_dataset.args.split",
            ],
        ),
        (["--set", "optimizr.args.lr=1"], ["did you mean 'optimizer'"]),
        (["--device", "tpu"], ["--device is 'tpu'", "auto, cpu, cuda or cuda:N"]),
        (["--device", "cuda:99"], ["--device is 'cuda:99'", "CUDA devices that torch finds here"]),
        (["--work-dir", ".."], ["work_dir is '..'"]),
    ],
)
def test_wrong_option_is_exit_code_2_with_key_value_and_expectation(
    toy: Toy, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config-filepath", str(toy.write()), *arguments]) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert not toy.work_dir.exists()


def test_help_tells_the_exit_codes() -> None:
    shown = command_line("--help").stdout
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "75 ", "130 "):
        assert f"\n  {code}" in shown


def test_several_files_get_a_directory_each_under_the_given_one(make_toy: Callable[[str], Toy]) -> None:
    one, two = make_toy("one"), make_toy("two")
    first = one.write("epochs=1").rename(one.folder / "first_run.py")
    second = two.write("epochs=1").rename(two.folder / "second_run.py")
    parent = one.folder / "results"
    ended = command_line("--config-filepath", str(first), str(second), "--work-dir", str(parent))
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in parent.iterdir()) == ["first_run", "second_run"]
    assert not one.work_dir.exists()


def test_several_files_of_one_name_under_one_directory_are_refused(
    make_toy: Callable[[str], Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(make_toy(name).write()) for name in ("one", "two")]
    assert main(["--config-filepath", *files, "--work-dir", "results"]) == 2
    assert "two files have the same name" in capsys.readouterr().err


def test_several_files_share_the_exit_code_that_all_failures_share(make_toy: Callable[[str], Toy]) -> None:
    good, bad = make_toy("good"), make_toy("bad")
    files = [str(bad.write("epochs=0")), str(bad.folder / "absent.py"), str(good.write("epochs=1"))]
    ended = command_line("--config-filepath", *files)
    assert ended.returncode == 2, ended.stderr
    assert (good.work_dir / "test" / "test_results.json").exists()


def test_repeated_option_adds_its_files(make_toy: Callable[[str], Toy]) -> None:
    good, absent = make_toy("good"), make_toy("absent").folder / "absent.py"
    ended = command_line(
        "--config-filepath", str(absent), "--config-filepath", str(good.write("epochs=1")), "--device", "cpu"
    )
    assert ended.returncode == 2, ended.stderr
    assert f"{absent}: 1 problem" in ended.stderr
    assert (good.work_dir / "test" / "test_results.json").exists()


def test_killed_files_are_named_with_their_signal_and_share_its_exit_code(
    make_toy: Callable[[str], Toy],
) -> None:
    killed = "criterion={'class': ToyCriterion, 'args': {'at_call': 1, 'what': 'SIGKILL'}}"
    files = [str(make_toy(name).write(killed)) for name in ("one", "two")]
    ended = command_line("--config-filepath", *files, "--device", "cpu")
    assert ended.returncode == 128 + signal.SIGKILL, ended.stderr
    assert ended.stdout.count("killed by") == 2
    assert "SIGKILL" in ended.stdout
    # The paths in it may hold any digits.
    assert " -9" not in ended.stdout


def test_killed_file_and_a_wrong_one_are_exit_code_1(make_toy: Callable[[str], Toy]) -> None:
    killed = "criterion={'class': ToyCriterion, 'args': {'at_call': 1, 'what': 'SIGKILL'}}"
    one = make_toy("one")
    files = [str(one.write(killed)), str(one.folder / "absent.py")]
    ended = command_line("--config-filepath", *files, "--device", "cpu")
    assert ended.returncode == 1, ended.stderr


@pytest.mark.parametrize("words", [["-m", "pylon", "train"], ["main.py"]])
def test_several_files_run_as_the_program_was_started(
    words: list[str], make_toy: Callable[[str], Toy]
) -> None:
    toys = [make_toy(name) for name in ("one", "two")]
    files = [str(toy.write("epochs=1")) for toy in toys]
    ended = subprocess.run(
        [sys.executable, *words, "--config-filepath", *files, "--device", "cpu"],
        cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    for toy in toys:
        command = json.loads((toy.work_dir / "environment.json").read_text())["launches"][0]["command"]
        assert ("main.py" in command[1]) == (words == ["main.py"])


def test_second_ctrl_c_ends_at_once_and_the_run_can_go_on(toy: Toy) -> None:
    twice = "criterion={'class': ToyCriterion, 'args': {'at_call': 5, 'what': 'SIGINT SIGINT'}}"
    ended = toy.launch(twice)
    assert ended.returncode == 130, ended.stderr
    assert "Ended at once by Ctrl-C" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    state = json.loads((toy.work_dir / "state.json").read_text())
    assert (state["state"], state["signal"]) == ("preempted", "SIGINT")
    (toy.work_dir / "config.json").unlink()  # the criterion that ended it is not part of the run that goes on
    assert toy.run().result["epochs"] == 3


def test_disk_that_is_full_from_the_start_is_exit_code_4_with_its_fix(toy: Toy) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    ended = command_line("--config-filepath", str(toy.write()), preexec_fn=no_room)
    assert ended.returncode == 4, ended.stderr
    assert f"{toy.work_dir}: cannot be used as run directory" in ended.stderr
    assert "--work-dir" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


WORKERS = "{'class': DataLoader, 'args': {'batch_size': 4, 'num_workers': 1}}"


def test_crop_that_does_not_fit_names_the_datapoint_also_from_a_worker(toy: Toy) -> None:
    path = toy.write(f"train_dataloader={WORKERS}")
    path.write_text(
        path.read_text()
        + "from pylon.data.transforms import RandomCrop\n"
        + "config['train_dataset']['args']['transforms'] = {'class': RandomCrop, 'args': {'size': 9}}\n"
    )
    ended = command_line("--config-filepath", str(path))
    assert ended.returncode == 3, ended.stderr
    assert "(9, 9) does not fit into 8 x 8 pixels" in ended.stderr
    assert "idx=0 of ToyDataset 'train'" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_bug_in_a_dataset_is_one_line_also_from_a_worker_and_its_traceback_is_in_the_log(toy: Toy) -> None:
    path = toy.write(f"train_dataloader={WORKERS}")
    path.write_text(
        path.read_text()
        + "class Broken(ToyDataset):\n"
        + "    def _load_datapoint(self, annotation):\n"
        + "        return {}['absent']\n"
        + "config['train_dataset']['class'] = Broken\n"
    )
    ended = command_line("--config-filepath", str(path))
    assert ended.returncode == 2, ended.stderr
    assert "KeyError: 'absent'" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr.replace("The traceback is in", "")
    assert "in _load_datapoint" in (toy.work_dir / "train.log").read_text()


@pytest.mark.parametrize("how", ["option", "text", "Path", "set"])
def test_tilde_is_the_home_directory(toy: Toy, tmp_path: Path, how: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    config = toy.write("epochs=1")
    words = [*toy.command_of(config), "--debug"]
    if how == "option":
        words += ["--work-dir", "~/mine"]
    elif how == "set":
        words += ["--set", "work_dir=~/mine"]
    else:
        value = "'~/mine'" if how == "text" else "__import__('pathlib').Path('~/mine')"
        config.write_text(config.read_text() + f"config['work_dir'] = {value}\n")
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**ENVIRONMENT, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "mine.debug/config.json").exists()
    assert not (tmp_path / "~").exists()
