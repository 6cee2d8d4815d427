"""A checkpoint that fits its manifest is never set aside, and one of any made-up form is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.runners.errors import RunDirectoryError, TrainingError
from pylon.runners.run_directory import checkpoint, reading
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.foreign import weights_in
from pylon.runners.run_directory.newest import find_newest
from pylon.runners.run_directory.reading import UnreadableError
from pylon.storage import describe_file, write_manifest
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on

pytestmark = pytest.mark.slow


def stopped_with(toy: Toy, change: Any) -> Path:
    """A run of two finished epochs; `change` is done to its newest checkpoint, whose manifest fits it."""
    with pytest.raises(TrainingError):
        toy.run(failing(7, "raise"))
    let_it_go_on(toy)
    path = toy.work_dir / "epoch_1" / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    change(content)
    write(path, content)
    return path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    torch.save(content, path)
    write_manifest(checkpoint.manifest_of(path), {path.name: describe_file(path)})


def rate_of_numpy(content: Any) -> None:
    content["parts"]["optimizer"]["param_groups"][0]["lr"] = np.float64(0.05)


def test_sound_checkpoint_with_a_type_that_is_not_read_stays_and_the_type_is_named(toy: Toy) -> None:
    path = stopped_with(toy, rate_of_numpy)
    before = path.read_bytes()
    with pytest.raises(RunDirectoryError) as raised:
        toy.run()
    for words in ("as it was written", "numpy._core.multiarray.scalar", "add_safe_globals([", "--fresh"):
        assert words in str(raised.value)
    assert path.read_bytes() == before
    assert not list(toy.work_dir.glob("epoch_*/*damaged*"))
    allowed = str(raised.value).partition("write ")[2].partition(" into")[0]
    former = torch.serialization.get_safe_globals()
    try:
        exec(f"import numpy\n{allowed}", {"torch": torch})
        toy.run()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(former)
    assert "after 2 finished epochs" in (toy.work_dir / "train.log").read_text()


def test_sound_checkpoint_of_a_later_format_is_not_set_aside(tmp_path: Path) -> None:
    path = RunDirectory(tmp_path).checkpoint(0)
    write(path, {"format": 99, "parts": {}})
    with pytest.raises(UnreadableError, match=r"formats that this version reads: \[1, 2, 3\].* 99"):
        find_newest(RunDirectory(tmp_path))
    assert path.exists()


PROGRESS = {"epoch": 1, "global_step": 3, "best_epoch": 0, "best_score": 0.5, "history": [{"validation": {}}]}


def content(**progress: Any) -> dict[str, Any]:
    return {"format": 2, "parts": {}, "progress": {**PROGRESS, **progress}}


def test_content_that_a_run_writes_is_read(tmp_path: Path) -> None:
    write(RunDirectory(tmp_path).checkpoint(0), content())
    found = find_newest(RunDirectory(tmp_path))
    assert found is not None
    assert checkpoint.restore(found.path, found.content, {}).global_step == 3


@pytest.mark.parametrize("vouched", [True, False])
@pytest.mark.parametrize(
    ("made_up", "words"),
    [
        ([1], "it holds a list"),
        ({"format": [2], "parts": {}, "progress": {}}, "format is"),
        ({"format": 2, "parts": [], "progress": {}}, "parts: a list"),
        ({"format": 2, "parts": {}}, "progress: nothing"),
        ({"format": 2, "parts": {}, "progress": {}}, "best_epoch, best_score, epoch"),
        (content(best_epoch="../x"), "progress.best_epoch: '../x'"),
        (content(epoch=-1), "progress.epoch: -1"),
        (content(epoch=True), "progress.epoch: True"),
        (content(history=[1]), "progress.history"),
        (content(losses=["a"]), "progress.losses"),
        (content(surprise=1), "'surprise' is unknown"),
    ],
)
def test_made_up_content_is_named_and_set_aside_only_if_nothing_vouches_for_it(
    tmp_path: Path, made_up: object, words: str, vouched: bool
) -> None:
    path = RunDirectory(tmp_path).checkpoint(0)
    write(path, made_up)
    if not vouched:
        checkpoint.manifest_of(path).unlink()
    with pytest.raises(RunDirectoryError) as raised:
        checkpoint.read(path)
    assert words in str(raised.value)
    assert isinstance(raised.value, UnreadableError) is vouched
    if not vouched:
        assert find_newest(RunDirectory(tmp_path)) is None
        assert path.with_suffix(".damaged").exists()


@pytest.mark.parametrize(
    "manifest", ["[" * 10**5, '{"format": 1, "files": {"../x": {"bytes": 1, "sha256": "a"}}}']
)
def test_checkpoint_with_a_made_up_manifest_is_set_aside(tmp_path: Path, manifest: str) -> None:
    path = RunDirectory(tmp_path).checkpoint(0)
    write(path, content())
    checkpoint.manifest_of(path).write_text(manifest)
    assert find_newest(RunDirectory(tmp_path)) is None
    assert path.with_suffix(".damaged").exists()


@pytest.mark.parametrize("parts", [{}, {"model": [1]}, {"model": {}, "average": 3}])
def test_weights_of_a_made_up_form_are_named(tmp_path: Path, parts: object) -> None:
    write(tmp_path / "a.pt", {**content(), "parts": parts})
    with pytest.raises(RunDirectoryError, match=r"a\.pt: .*weights"):
        weights_in(tmp_path / "a.pt")


@pytest.mark.parametrize("state", [[1], None, {"state": 3, "param_groups": 4}, "x"])
def test_made_up_state_of_a_part_ends_the_run_with_a_named_error(toy: Toy, state: object) -> None:
    stopped_with(toy, lambda content: content["parts"].update(optimizer=state))
    with pytest.raises(RunDirectoryError, match="does not fit the configured"):
        toy.run()


@pytest.mark.parametrize("name", ["state.json", "config.json", "environment.json"])
def test_run_with_a_made_up_file_ends_with_its_name(toy: Toy, name: str) -> None:
    stopped_with(toy, lambda content: None)
    deep: Any = 1
    for _ in range(600):
        deep = [deep]
    for made_up in ([1], {"launches": 3, "state": "finished", "a": deep}):
        (toy.work_dir / name).write_text(json.dumps(made_up))
        # Not every Python's JSON reader refuses deep values; as a configuration it is then another one.
        with pytest.raises(RunDirectoryError, match=rf"{name}|a: was \[{{20}}") as refused:
            toy.run()
        assert len(str(refused.value)) < 4000


def test_every_field_of_the_progress_is_known_when_it_is_read() -> None:
    present = set(reading._PROGRESS) - reading.FORMER_PROGRESS
    assert present == {field.name for field in dataclasses.fields(Progress)}
