"""A run that is resumed in another place: its folder, its code or its data were moved or copied."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pylon.runners.launch.moved import moved
from tests.runners.conftest import REPOSITORY, started
from tests.runners.run_directory.test_interrupted import numbers

CONFIG = """
import os, signal
from pathlib import Path
from tests.runners.toy import *

class Stopping(ToyCriterion):
    def forward(self, logits, target):
        if self.calls == 4 and "STOP" in os.environ:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().forward(logits, target)

here = Path(__file__).parent
config = toy_config(here / "run", criterion={"class": Stopping, "args": {}})
config["train_dataset"]["args"]["data_root"] = here / "data"
"""


def launch(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    arguments = ["--config-filepath", str(folder / "own.py"), "--device", "cpu"]
    return started([str(REPOSITORY / "main.py"), *arguments], environment)


def project(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "own.py").write_text(CONFIG)
    return folder


@pytest.mark.slow
def test_run_is_resumed_to_the_same_bits_after_its_folder_was_moved_with_code_and_data(
    tmp_path: Path,
) -> None:
    whole, here, there = project(tmp_path / "whole"), project(tmp_path / "here"), tmp_path / "there"
    assert launch(whole).returncode == 0
    assert launch(here, STOP="1").returncode == 75
    here.rename(there)
    (there / "own.py").write_text(CONFIG + "# edited\n")
    resumed = launch(there)
    assert resumed.returncode == 0, resumed.stderr
    assert numbers(there / "run") == numbers(whole / "run")
    log = (there / "run" / "train.log").read_text()
    assert (
        f"moved since the last launch: {here / 'data'} is now {there / 'data'}; {here / 'own.py'} is" in log
    )
    assert f"{there / 'own.py'}: changed since the launch that is resumed" in log
    assert str(here) not in json.dumps(json.loads((there / "run" / "config.json").read_text()))


@pytest.mark.slow
def test_copy_next_to_the_original_is_resumed_only_with_the_same_code_and_data(tmp_path: Path) -> None:
    here, copy = project(tmp_path / "here"), tmp_path / "copy"
    assert launch(here, STOP="1").returncode == 75
    shutil.copytree(here, copy)
    refused = launch(copy)
    assert refused.returncode == 4
    assert f"train_dataset.args.data_root: was '{here / 'data'}'" in refused.stdout + refused.stderr
    assert "model.class" not in refused.stdout + refused.stderr
    shutil.rmtree(here / "data")
    (copy / "own.py").write_text(CONFIG + "# edited\n")
    refused = launch(copy)
    assert refused.returncode == 4
    assert f"criterion.class: was '{here / 'own.py'}:Stopping'" in refused.stdout + refused.stderr
    (copy / "own.py").write_text(CONFIG)
    assert launch(copy).returncode == 0


@pytest.mark.parametrize(
    ("key", "former", "current"),
    [
        ("model.class", "gone.py:Net", "there/other.py:Net"),
        ("model.class", "gone.py:Net", "there/gone.py:Other"),
        ("model.class", "gone:nets.unet:Net", "there:nets.vnet:Net"),
        ("model.class", "pylon.models:HANet", "there/gone.py:HANet"),
        ("model.args.path", "gone", "there"),
        ("train_dataset.args.data_root", "gone", "also gone"),
        ("train_dataset.args.data_root", ".", "there"),
    ],
)
def test_another_class_or_an_existing_place_is_no_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, former: str, current: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert moved(key, former, current, {}, {}) is None


def test_modules_of_a_folder_move_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = ("model.class", "exp:nets.unet:Net", "new:nets.unet:Net")
    files, present = {"exp/nets/unet.py": "a", "x.py": "c"}, {"new/nets/unet.py": "a"}
    assert moved(*row, files, present) == ("exp", "new")
    (tmp_path / "exp").mkdir()
    assert moved(*row, files, present) == ("exp", "new")
    assert moved(*row, files, {"new/nets/unet.py": "b"}) is None
    assert moved(*row, {}, present) is None
