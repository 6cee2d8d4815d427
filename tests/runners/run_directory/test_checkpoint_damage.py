"""Checkpoints that something has damaged are recognised by their manifest, named and kept aside."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pylon.runners.errors import RunDirectoryError, TrainingError
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers


def stopped_in_the_last_epoch(toy: Toy) -> Path:
    """A run whose epochs 0 (the best) and 1 are finished; its newest checkpoint."""
    with pytest.raises(TrainingError):
        toy.run(failing(7, "raise"))
    let_it_go_on(toy)
    return toy.work_dir / "epoch_1" / "checkpoint.pt"


def flip_one_bit_of_a_weight(path: Path) -> None:
    """Damage that torch.load does not see."""
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["parts"]["model"]["layers.0.weight"]
    place = content.index(weights.numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpoint.pt", "training_losses.pt", "validation_scores.json"])
def test_manifest_vouches_for_every_file_of_the_epoch(toy: Toy, name: str) -> None:
    newest = stopped_in_the_last_epoch(toy)
    (newest.parent / name).write_bytes(b"damaged")
    toy.run()
    assert newest.with_suffix(".damaged").exists()
    assert newest.with_suffix(".damaged.manifest.json").exists()
    assert f"{name}: has 7 bytes" in (toy.work_dir / "train.log").read_text()


@pytest.mark.slow
def test_one_flipped_bit_is_seen_and_the_run_still_ends_with_the_same_bits(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    whole.run()
    newest = stopped_in_the_last_epoch(hurt)
    flip_one_bit_of_a_weight(newest)
    hurt.run()
    assert "its manifest has" in (hurt.work_dir / "train.log").read_text()
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


@pytest.mark.slow
def test_run_without_the_best_checkpoint_is_refused_and_loses_nothing(make_toy: Callable[[str], Toy]) -> None:
    whole, hurt = make_toy("whole"), make_toy("hurt")
    # So large a learning rate makes the first epoch the best.
    jumping = "seed=10, optimizer={'class': torch.optim.SGD, 'args': {'lr': 2.0, 'momentum': 0.0}}"
    whole.run(jumping)
    with pytest.raises(TrainingError):
        hurt.run(f"{failing(7, 'raise')}, {jumping}")
    let_it_go_on(hurt)
    best = hurt.work_dir / "epoch_0" / "checkpoint.pt"
    assert (hurt.work_dir / "checkpoint_best.pt").resolve() == best
    sound, manifest = best.read_bytes(), best.with_suffix(".manifest.json").read_bytes()
    flip_one_bit_of_a_weight(best)
    kept = [hurt.work_dir / name for name in ("epoch_1/checkpoint.pt", "metrics.jsonl", "history.jsonl")]
    before = {path: path.read_bytes() for path in kept}
    for _ in range(2):  # the second time, the damaged one has been set aside: it is missing
        with pytest.raises(
            RunDirectoryError, match=r"epoch_0/checkpoint\.pt: is missing or damaged\..*Copy it"
        ):
            hurt.run(jumping)
        assert {path: path.read_bytes() for path in kept} == before
    best.write_bytes(sound)
    best.with_suffix(".manifest.json").write_bytes(manifest)
    assert hurt.run(jumping).result["best_epoch"] == 0
    assert numbers(hurt.work_dir) == numbers(whole.work_dir)


@pytest.mark.slow
def test_checkpoint_of_format_1_is_still_read(make_toy: Callable[[str], Toy]) -> None:
    whole, old = make_toy("whole"), make_toy("old")
    whole.run()
    stopped_in_the_last_epoch(old)
    lines = old.work_dir / "history.jsonl"
    history = [json.loads(line) for line in lines.read_text().splitlines()]
    lines.unlink()
    for path in old.work_dir.glob("epoch_*/checkpoint.pt"):
        content = torch.load(path, weights_only=True)
        path.write_bytes(as_format_1(content, history[: content["progress"]["epoch"]]))
        path.with_suffix(".manifest.json").unlink()
    old.run()
    assert "resuming after 2 finished epochs" in (old.work_dir / "train.log").read_text()
    assert numbers(old.work_dir) == numbers(whole.work_dir)


def as_format_1(content: dict, history: list[dict]) -> bytes:
    """What a version wrote that knew nothing but model, optimizer and scheduler."""
    known = ("epoch", "global_step", "best_epoch", "best_score")
    former = {
        "format": 1,
        "progress": {**{key: content["progress"][key] for key in known}, "history": history},
        "parts": {name: content["parts"][name] for name in ("model", "optimizer", "scheduler")},
    }
    buffer = io.BytesIO()
    torch.save(former, buffer)
    return buffer.getvalue()


def test_checkpoint_of_a_later_format_is_refused_with_the_formats_that_can_be_read(tmp_path: Path) -> None:
    from pylon.runners.run_directory import checkpoint

    torch.save({"format": 99}, tmp_path / "a.pt")
    with pytest.raises(RunDirectoryError, match=r"formats that this version reads: \[1, 2, 3\]"):
        checkpoint.load(tmp_path / "a.pt", {})


def test_kept_checkpoints_have_their_manifest_and_no_other_manifest_is_left(toy: Toy) -> None:
    toy.run()
    checkpoints = {path.with_suffix("") for path in toy.work_dir.glob("epoch_*/checkpoint.pt")}
    manifests = {path.with_name("checkpoint") for path in toy.work_dir.glob("epoch_*/*.manifest.json")}
    assert manifests == checkpoints
