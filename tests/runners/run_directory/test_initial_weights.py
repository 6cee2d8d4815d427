"""A training that starts with the weights of another run's checkpoint."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import ConfigError, RunDirectoryError, RunStopped
from pylon.runners.run_directory.foreign import weights_in, without_wrappers
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again

pytestmark = pytest.mark.slow

# A step so small that the weights stay what they were.
STILL = "epochs=1, optimizer={'class': torch.optim.SGD, 'args': {'lr': 1e-30}}, scheduler=None"


def start_with(path: Path | str, **more: Any) -> str:
    arguments = {"score": "f1_changed", "log_every_steps": 2, "initial_checkpoint": str(path), **more}
    return f"runner={{'class': SupervisedSingleTaskTrainer, 'args': {arguments!r}}}"


def saved(path: Path, part: str = "model") -> dict[str, torch.Tensor]:
    content: Any = torch.load(path, weights_only=True)["parts"][part]
    return content["model"] if part == "average" else content


def convolutions(state: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    return {
        name: value.tolist() for name, value in state.items() if name.startswith(("layers.0", "layers.4"))
    }


def test_training_starts_with_the_weights_of_the_checkpoint(make_toy: Callable[[str], Toy]) -> None:
    first, second = make_toy("first"), make_toy("second")
    first.run()
    best = first.work_dir / "checkpoint_best.pt"
    second.run(f"{start_with(best)}, {STILL}, seed=9")
    assert convolutions(saved(second.work_dir / "checkpoint_latest.pt")) == convolutions(saved(best))
    log = (second.work_dir / "train.log").read_text()
    assert f"starting with the weights of {best.resolve()}" in log


@pytest.mark.parametrize("evaluated", [True, False])
def test_average_is_taken_where_it_was_evaluated_and_begins_there(
    make_toy: Callable[[str], Toy], evaluated: bool
) -> None:
    first, second = make_toy("first"), make_toy("second")
    stepping = f"{{'class': Stepping, 'args': {{'ema_decay': 0.9, 'evaluate_ema': {evaluated}}}}}"

    def with_average(runner: str) -> str:
        return runner.replace("'log_every_steps': 2", f"'log_every_steps': 2, 'stepping': {stepping}")

    run = (
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', 'log_every_steps': 2}}"
    )
    write(first, with_average(run))
    best = first.work_dir / "checkpoint_best.pt"
    write(second, f"{with_average(start_with(best))}, {STILL}, seed=9")
    wanted = convolutions(saved(best, "average" if evaluated else "model"))
    assert wanted != convolutions(saved(best, "model" if evaluated else "average"))
    latest = second.work_dir / "checkpoint_latest.pt"
    assert convolutions(saved(latest)) == wanted
    begun = saved(latest, "average")["layers.0.weight"]
    assert torch.allclose(begun, torch.tensor(wanted["layers.0.weight"]), rtol=1e-6)


def write(toy: Toy, changes: str) -> None:
    import io

    from rich.console import Console

    from pylon.runners.launch.file import run_file
    from pylon.runners.launch.run import Options

    path = toy.write(changes)
    path.write_text(
        path.read_text().replace("import torch\n", "import torch\nfrom pylon.runners import Stepping\n", 1)
    )
    run_file(path, Options(device="cpu"), Console(file=io.StringIO()))


def test_checkpoint_is_read_at_the_start_alone(make_toy: Callable[[str], Toy]) -> None:
    first, whole, stopped = make_toy("first"), make_toy("whole"), make_toy("stopped")
    first.run()
    start = first.folder / "start.pt"  # a copy, without its manifest
    start.write_bytes((first.work_dir / "checkpoint_best.pt").read_bytes())
    whole.run(f"{start_with(start)}, seed=9")
    with pytest.raises(RunStopped):
        stopped.run(f"{start_with(start)}, seed=9, {failing(5, 'SIGTERM')}")
    start.unlink()
    let_it_go_on(stopped)
    stopped.run(f"{start_with(start)}, seed=9")
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_other_weights_make_another_run(make_toy: Callable[[str], Toy]) -> None:
    first, plain, begun = make_toy("first"), make_toy("plain"), make_toy("begun")
    first.run()
    plain.run("seed=9")
    begun.run(f"{start_with(first.work_dir / 'checkpoint_best.pt')}, seed=9")
    assert numbers(plain.work_dir)["losses"] != numbers(begun.work_dir)["losses"]


def test_prefixes_take_over_a_part_and_leave_the_rest(make_toy: Callable[[str], Toy]) -> None:
    first, plain, second = make_toy("first"), make_toy("plain"), make_toy("second")
    first.run()
    plain.run(f"{STILL}, seed=9")
    best = first.work_dir / "checkpoint_best.pt"
    second.run(f"{start_with(best, initial_prefixes=['layers.0.'])}, {STILL}, seed=9")
    taken, own = saved(best), saved(plain.work_dir / "checkpoint_latest.pt")
    begun = saved(second.work_dir / "checkpoint_latest.pt")
    assert torch.equal(begun["layers.0.weight"], taken["layers.0.weight"])
    assert torch.equal(begun["layers.4.weight"], own["layers.4.weight"])
    assert not torch.equal(taken["layers.4.weight"], own["layers.4.weight"])


def test_prefix_that_fits_nothing_is_named(make_toy: Callable[[str], Toy]) -> None:
    first, second = make_toy("first"), make_toy("second")
    first.run()
    with pytest.raises(ConfigError, match=r"initial_prefixes is 'encoder\.'.*ToyModel, such as layers\."):
        second.run(start_with(first.work_dir / "checkpoint_best.pt", initial_prefixes=["encoder."]))


@pytest.fixture
def trained(make_toy: Callable[[str], Toy]) -> Path:
    toy = make_toy("trained")
    toy.run("epochs=1")
    return toy.work_dir


def copy_with(trained: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = torch.load(trained / "checkpoint_best.pt", weights_only=True)
    change(content["parts"]["model"])
    path = trained.parent / "changed.pt"
    torch.save(content, path)
    return path


def test_names_that_do_not_fit_are_told_apart(make_toy: Callable[[str], Toy], trained: Path) -> None:
    def change(model: dict[str, Any]) -> None:
        model["head.weight"] = model.pop("layers.4.weight")
        model["layers.0.weight"] = model["layers.0.weight"][:3]

    toy, path = make_toy("run"), copy_with(trained, change)
    with pytest.raises(RunDirectoryError) as raised:
        toy.run(start_with(path))
    said = str(raised.value)
    assert f"runner.args.initial_checkpoint: {path} does not fit ToyModel" in said
    assert "1 missing there: layers.4.weight" in said
    assert "1 not in the model: head.weight" in said
    assert "1 of another shape: layers.0.weight ((3, 6, 1, 1) there, (4, 6, 1, 1) in the model)" in said
    assert "initial_prefixes" in said


def damaged(trained: Path) -> Path:
    path = (trained / "checkpoint_best.pt").resolve()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def pickled(trained: Path) -> Path:
    path = trained.parent / "model.pt"
    torch.save(torch.nn.Linear(1, 1), path)
    return path


def bare(trained: Path) -> Path:
    path = trained.parent / "state.pt"
    torch.save(torch.nn.Linear(1, 1).state_dict(), path)
    return path


def scripted(trained: Path) -> Path:
    path = trained.parent / "script.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), path)
    return path


def with_options(trained: Path) -> Path:
    path = trained.parent / "options.pt"
    options = argparse.Namespace(lr=0.1)
    torch.save({"model": torch.nn.Linear(1, 1).state_dict(), "args": options}, path)
    return path


def entries(trained: Path) -> Path:
    path = trained.parent / "entries.pt"
    torch.save({"epoch": 3, "weights": torch.nn.Linear(1, 1).state_dict()}, path)
    return path


def text(trained: Path) -> Path:
    path = trained.parent / "note.pt"
    path.write_text("no checkpoint")
    return path


UNUSABLE = [
    (lambda trained: trained / "absent.pt", ["absent.pt is no file", "checkpoint_best.pt"]),
    (lambda trained: trained, ["is no file. It is a directory: give", "checkpoint_best.pt"]),
    (damaged, ["is damaged", "its manifest has"]),
    (pickled, ["it is a whole pickled model", "torch.save(model.state_dict(), 'weights.pt')"]),
    (bare, ["does not fit ToyModel: 9 missing there: layers.0.weight", "2 not in the model: weight, bias"]),
    (scripted, ["it is a TorchScript archive", "torch.save(model.state_dict(), 'weights.pt')"]),
    (
        with_options,
        ["it holds argparse.Namespace, which is not read", "add_safe_globals([argparse.Namespace])"],
    ),
    (entries, ["holds no weights of a model: expected names and tensors", "a dict with 'epoch', 'weights'"]),
    (text, ["is damaged or no checkpoint"]),
]


@pytest.mark.parametrize(("make", "words"), UNUSABLE)
def test_file_that_cannot_be_used_is_exit_code_4_and_one_message(
    toy: Toy,
    trained: Path,
    make: Callable[[Path], Path],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from main import main

    path = make(trained)
    arguments = ["--config-filepath", str(toy.write(start_with(path))), "--device", "cpu"]
    assert main(arguments) == 4
    said = capsys.readouterr()
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err + said.out
    assert "weights_only" not in said.err, "no advice to execute what the file holds"
    assert json.loads((toy.work_dir / "state.json").read_text())["state"] == "failed"


def test_mended_path_goes_on_in_the_same_directory(toy: Toy, trained: Path) -> None:
    with pytest.raises(RunDirectoryError):
        toy.run(start_with(trained / "absent.pt"))
    assert toy.run(start_with(trained / "checkpoint_best.pt")).result["epochs"] == 3


def as_other_programs_save(trained: Path, form: str) -> Path:
    """The weights of a run in a file of another form."""
    state = saved(trained / "checkpoint_best.pt")
    path = trained.parent / f"{form}.pt"
    content: Any = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "model": {"model": state, "optimizer": {"state": {}}},
        "data_parallel": {f"module.{name}": value for name, value in state.items()},
        "compiled": {f"_orig_mod.{name}": value for name, value in state.items()},
        "both": {"state_dict": {f"module._orig_mod.{name}": value for name, value in state.items()}},
        "compiled_inside": {name.replace("layers.", "layers._orig_mod."): one for name, one in state.items()},
    }[form]
    torch.save(content, path)
    return path


FORMS = ["plain", "state_dict", "model", "data_parallel", "compiled", "both", "compiled_inside"]


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_other_programs_start_a_training(toy: Toy, trained: Path, form: str) -> None:
    toy.run(f"{start_with(as_other_programs_save(trained, form))}, {STILL}, seed=9")
    wanted = convolutions(saved(trained / "checkpoint_best.pt"))
    assert convolutions(saved(toy.work_dir / "checkpoint_latest.pt")) == wanted


def test_weights_of_other_programs_are_tested_alone(make_toy: Callable[[str], Toy], trained: Path) -> None:
    results = []
    for name, path in (
        ("run", trained / "checkpoint_best.pt"),
        ("other", as_other_programs_save(trained, "both")),
    ):
        toy = make_toy(name)
        file = toy.write()
        file.write_text(
            file.read_text()
            + "from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of\n"
            + "config = evaluation_of(config, SupervisedSingleTaskEvaluator, "
            + f"checkpoint={str(path)!r}, work_dir={str(toy.work_dir)!r})\n"
        )
        run_again(file)
        results.append(json.loads((toy.work_dir / "test" / "test_results.json").read_text())["per_datapoint"])
    assert results[0] == results[1]


def test_safetensors_file_starts_a_training(toy: Toy, trained: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = trained.parent / "weights.safetensors"
    safetensors.save_file(saved(trained / "checkpoint_best.pt"), path)
    toy.run(f"{start_with(path)}, {STILL}, seed=9")
    wanted = convolutions(saved(trained / "checkpoint_best.pt"))
    assert convolutions(saved(toy.work_dir / "checkpoint_latest.pt")) == wanted
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RunDirectoryError, match="is damaged or no safetensors file"):
        weights_in(path)


def test_safetensors_without_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunDirectoryError, match="pip install safetensors"):
        weights_in(tmp_path / "weights.safetensors")


def test_names_that_fit_keep_the_beginning_that_a_wrapper_would_add() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    assert without_wrappers({"module.a": one}, {"module.a": two}) == {"module.a": one}
    assert without_wrappers({"module.a": one, "a": two}, {"a": two}) == {"module.a": one, "a": two}
    assert without_wrappers({"module.module.a": one}, {"module.a": two}) == {"module.a": one}
    assert without_wrappers({"module.b": one}, {"a": two}) == {"module.b": one}
