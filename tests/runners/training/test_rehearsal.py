"""What would fail in validation, in the test or at the end of the schedule fails before the first step."""

import gc
import io
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from pylon.command import main
from pylon.data import DataError, LoaderWorkerError
from pylon.runners.errors import ConfigError, PylonError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from pylon.runners.randomness import RandomState
from pylon.runners.training.undone import undone
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import numbers
from tests.runners.training.test_evaluation_only import OF_TOY
from tests.runners.training.test_workers import loader, metric

SHORT_LAST = loader("train", batch_size=5, shuffle=True, num_workers=0)


def write(toy: Toy, added: str, changes: str = "") -> Path:
    path = toy.write(changes)
    path.write_text(path.read_text() + "\nfrom pathlib import Path\nfrom torch import nn\n" + added)
    return path


def run(path: Path, **options: Any) -> Any:
    return run_file(path, Options(device="cpu", **options), Console(file=io.StringIO()))


def refused(path: Path, kind: type[BaseException] = ConfigError) -> Any:
    with pytest.raises(kind) as caught:
        run(path)
    return caught.value


def steps(toy: Toy) -> int:
    path = toy.work_dir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def log(toy: Toy) -> str:
    return (toy.work_dir / "train.log").read_text()


COUNTED = """
class Counted(ToyCriterion):
    # Learns, draws numbers, keeps a buffer: everything that a rehearsal could leave a trace in.
    def __init__(self, file):
        super().__init__()
        self.file = Path(file)
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits, target):
        with self.file.open("a") as file:
            print(self.calls, float(self.seen), file=file)
        self.seen += 1
        return super().forward(logits, target) * (self.weight + torch.rand(()))

config["criterion"] = {{"class": Counted, "args": {{"file": {file!r}}}}}
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_rehearsed_run_is_equal_to_the_bit_to_one_that_is_not(
    make_toy: Callable[[str], Toy], workers: int
) -> None:
    toys = {name: make_toy(name) for name in ("with", "without")}
    changes = ", ".join(
        [metric(0, ""), loader("train", batch_size=5, shuffle=True, num_workers=workers),
         loader("val", num_workers=workers)]
    )  # fmt: skip
    calls, states = {}, {}
    for name, toy in toys.items():
        file = toy.folder / "calls"
        run(write(toy, COUNTED.format(file=str(file)), changes), rehearsal=name == "with")
        calls[name] = file.read_text().splitlines()
        checkpoint = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)
        states[name] = json.dumps(checkpoint["parts"], default=torch.Tensor.tolist)
    # Two batches were rehearsed, of five and of two datapoints; the criterion of the run has seen neither.
    assert calls["with"] == ["0 0.0", "1 1.0", *calls["without"]]
    assert states["with"] == states["without"]
    assert numbers(toys["with"].work_dir) == numbers(toys["without"].work_dir)
    files = [
        {str(path.relative_to(toy.work_dir)) for path in toy.work_dir.rglob("*")} for toy in toys.values()
    ]
    assert files[0] == files[1]


OWN = """
class {name}({base}):
    {body}
config[{key!r}]["class"] = {name}
"""
METRIC = "SemanticSegmentationMetric"
FAULTS = {
    "a bug in the metric": (
        METRIC, "metric", "def update(self, outputs, target, idx): raise IndexError('a bug')",
        ["metric is Own", "IndexError: a bug", "idx=0, 1, 2, 3, name=val-0", "outputs (4, 2, 8, 8) float32"],
    ),
    "a bug in the scores": (
        METRIC, "metric", "def summarize(self, *a, **b): raise IndexError('a bug')",
        ["metric is Own", "IndexError: a bug"],
    ),
    "a score that cannot be shown": (
        METRIC, "metric",
        "def summarize(self, *a, **b):\n"
        "        return {**super().summarize(), 'aggregated': {'f1_changed': torch.ones(2)}}",
        ["metric is Own", "'f1_changed' of summarize is a Tensor, expected a number or None"],
    ),
    "a summary without the score": (
        METRIC, "metric", "def summarize(self, *a, **b): return {'aggregated': {'f1': 1.0}}",
        ["metric is Own", "gives ['f1'], expected {'aggregated': {'f1_changed': ...", ],
    ),
    "scores that JSON cannot hold": (
        METRIC, "metric",
        "def summarize(self, *a, **b): return {**super().summarize(), 'more': {1, 2}}",
        ["metric is Own", "Object of type set is not JSON serializable"],
    ),
    "a baseline as text": (
        METRIC, "metric", "def baselines(self, *a): return {'zeros': {'f1_changed': 'low'}}",
        ["metric is Own", "'f1_changed' of zeros is a str"],
    ),
    "outputs of another size": (
        "ToyModel", "model",
        "def forward(self, img_1, img_2):\n"
        "        logits = super().forward(img_1, img_2)\n"
        "        return logits if self.training else logits[..., ::2]",
        ["metric is", "outputs (4, 2, 8, 4) float32", "labels['change_map'] (4, 8, 8) int64"],
    ),
    "a layer that does not fit": (
        "ToyModel", "model", "def __init__(self): super().__init__(); self.layers[4] = nn.Conv2d(7, 2, 1)",
        ["model is Own", "in the module model.layers.4 (Conv2d)", "inputs['img_1'] (4, 3, 8, 8) float32"],
    ),
    "a criterion that reduces nothing": (
        "ToyCriterion", "criterion", "def forward(self, logits, target): return logits",
        ["gives a loss of shape (4, 2, 8, 8)", "in a rehearsal of a training step"],
    ),
    "an optimizer with a closure of its own": (
        "torch.optim.SGD", "optimizer", "def step(self, first, second): pass",
        ["optimizer is Own", "missing 2 required positional arguments"],
    ),
    "a schedule with a step of its own": (
        "torch.optim.lr_scheduler.StepLR", "scheduler",
        "def step(self, *values):\n        if self.last_epoch == 0: values[1]\n        super().step()",
        ["scheduler is Own", "fails at its step 1 of 3 (3 epochs): IndexError"],
    ),
    "a class that ends the process": (
        METRIC, "metric", "def update(self, *a): raise SystemExit(0)", ["metric is Own", "SystemExit: 0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found_before_the_first_step_with_class_and_batch(toy: Toy, name: str) -> None:
    base, key, body, messages = FAULTS[name]
    error = refused(write(toy, OWN.format(name="Own", base=base, body=body, key=key)))
    assert [message for message in messages if message not in str(error)] == [], str(error)
    assert error.exit_code == 2
    assert "--no-rehearsal" in str(error)
    assert "Traceback (most recent call last)" in log(toy)
    assert steps(toy) == 0


def test_corrected_file_starts_in_the_same_directory(toy: Toy) -> None:
    refused(
        write(toy, OWN.format(name="Own", base=METRIC, key="metric", body=FAULTS["a bug in the metric"][2]))
    )
    run(toy.write("epochs=1"))
    assert "changed since a launch that finished no epoch: epochs, metric.class" in log(toy)
    assert steps(toy) == 3


def test_without_rehearsal_the_fault_is_found_where_it_occurs(toy: Toy) -> None:
    path = write(toy, OWN.format(name="Own", base=FAULTS["a bug in the metric"][0], key="metric",
                                 body=FAULTS["a bug in the metric"][2]))  # fmt: skip
    with pytest.raises(PylonError, match="a bug"):
        run(path, rehearsal=False)
    assert steps(toy) == 3
    path.write_text(path.read_text() + "config['runner']['args']['rehearsal'] = False\n")
    with pytest.raises(PylonError, match="a bug"):
        run(path)
    assert (toy.work_dir / "epoch_0" / "trained.pt").exists(), "a rehearsal would refuse the trained epoch"


@pytest.mark.slow
def test_command_line_leaves_the_rehearsal_out(toy: Toy) -> None:
    path = write(
        toy, OWN.format(name="Own", base=METRIC, key="metric", body=FAULTS["a bug in the metric"][2])
    )
    assert toy.launch_file(path).returncode == 2
    assert toy.launch_file(path, "--no-rehearsal").returncode == 1
    assert steps(toy) == 3


def test_each_of_several_files_is_run_without_rehearsal(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarded: list[Any] = []
    monkeypatch.setattr(
        "pylon.runners.launch.several.run_each", lambda *given: forwarded.extend(given[1]) or 0
    )
    one, two = (str(toy.folder / name) for name in ("one.py", "two.py"))
    assert main(["train", "--config-filepath", one, two, "--no-rehearsal"]) == 0
    assert "--no-rehearsal" in forwarded


MIXED = """
class Mixed(ToyDataset):
    def _load_datapoint(self, annotation):
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        if annotation in {small}:
            inputs = {{name: value[:, :4] for name, value in inputs.items()}}
            labels = {{name: value[:4] for name, value in labels.items()}}
        return inputs, labels, meta_info
config["{split}_dataset"]["class"] = Mixed
"""


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_datapoints_that_do_not_fit_together_are_named_and_the_advice_works(toy: Toy, split: str) -> None:
    seeds = "" if split == "train" else "config['train_dataloader']['args']['shuffle'] = False\n"
    mixed = MIXED.format(split=split, small=tuple(range(1, 12, 2)))
    error = refused(write(toy, mixed + seeds), DataError)
    assert error.exit_code == 3
    assert "cannot be one batch" in str(error)
    assert f"{split}_dataset (Mixed)" in error.__notes__[0]
    assert steps(toy) == 0
    run(write(toy, mixed + seeds + f"config['{split}_dataloader']['args']['batch_size'] = 1\n"))
    assert steps(toy) == (36 if split == "train" else 9)


POOLED = """
class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, img_1, img_2):
        both = torch.cat([img_1, img_2], 1)
        return self.head(both + self.pool(both))
config["model"] = {"class": Pooled, "args": {}}
config["train_dataloader"]["args"]["batch_size"] = 11
"""


def test_last_batch_of_one_names_layer_and_drop_last_which_works(toy: Toy) -> None:
    error = refused(write(toy, POOLED))
    assert "the last batch of an epoch, which has 1 of 12 datapoints" in str(error)
    assert "model is Pooled" in str(error)
    assert "in the module model.pool.1 (BatchNorm2d)" in str(error)
    assert "train_dataloader.args.drop_last=True" in str(error)
    run(write(toy, POOLED + "config['train_dataloader']['args']['drop_last'] = True\n"))
    assert steps(toy) == 3


ONE_CYCLE = """
config["scheduler"] = {{
    "class": torch.optim.lr_scheduler.OneCycleLR, "args": {{"max_lr": 0.1, "total_steps": {steps}}}
}}
config["runner"]["args"]["scheduler_interval"] = "step"
config["epochs"] = {epochs}
"""


@pytest.mark.parametrize(("epochs", "total"), [(3, 9), (4000, 12_000)])
def test_schedule_that_is_too_short_is_refused_with_the_length_that_works(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, epochs: int, total: int
) -> None:
    error = refused(write(toy, ONE_CYCLE.format(steps=total - 1, epochs=epochs)))
    assert f"scheduler is OneCycleLR: fails at its step {total} of {total} ({epochs} epochs)" in str(error)
    assert f"Let it last for {total} steps" in str(error)
    monkeypatch.setattr("pylon.runners.training.base_trainer.train", trained)
    with pytest.raises(TrainedError):
        run(write(toy, ONE_CYCLE.format(steps=total, epochs=epochs)))


class TrainedError(PylonError):
    """The rehearsal has passed."""


def trained(training: Any) -> None:
    raise TrainedError


@pytest.mark.parametrize("error", ["MemoryError", "RuntimeError"])
def test_model_that_cannot_be_copied(toy: Toy, error: str) -> None:
    path = write(
        toy,
        "class Single(ToyModel):\n"
        f"    def __deepcopy__(self, memo): raise {error}('no copy')\n"
        "config['model']['class'] = Single\n"
        + OWN.format(name="Own", base=METRIC, key="metric", body=FAULTS["a bug in the metric"][2]),
    )
    if error == "MemoryError":
        with pytest.raises(PylonError, match="a bug"):
            run(path)
        assert "the rehearsal is left out, as memory is too small for copies: no copy" in log(toy)
        assert steps(toy) == 3, "a run that has memory for one model trains"
    else:
        assert "metric is Own" in str(refused(path)), "it is built again"


def test_read_that_hangs_ends_after_the_timeout_of_its_loader(toy: Toy) -> None:
    path = write(
        toy,
        "import time\n"
        "class Hanging(ToyDataset):\n"
        "    def _load_datapoint(self, annotation): time.sleep(60)\n"
        "config['test_dataset']['class'] = Hanging\n"
        "config['test_dataloader']['args'] |= {'num_workers': 1, 'timeout_s': 0.3}\n",
    )
    with pytest.raises(PylonError, match=r"Hanging: no batch came .* within timeout_s=0.3") as caught:
        run(path)
    assert isinstance(caught.value.__cause__, LoaderWorkerError)
    assert steps(toy) == 0


@pytest.mark.slow
def test_run_that_only_tests_finds_a_fault_in_its_summary_before_the_pass(
    make_toy: Callable[[str], Toy],
) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    toy.run("epochs=1")
    path = other.write()
    path.write_text(
        path.read_text() + OF_TOY.format(checkpoint=str(toy.work_dir / "checkpoint_best.pt"), more="")
    )
    sound = path.read_text()
    path.write_text(sound + OWN.format(name="Own", base=METRIC, key="metric",
                                       body=FAULTS["a bug in the scores"][2]))  # fmt: skip
    assert "metric is Own: fails in a rehearsal of the test" in str(refused(path))
    assert not (other.work_dir / "predictions").exists()
    path.write_text(sound)
    run(path)


def test_what_was_done_before_is_not_rehearsed_again(toy: Toy) -> None:
    file = toy.folder / "calls"
    path = write(toy, COUNTED.format(file=str(file)))
    path.write_text(path.read_text() + "config['runner']['args']['max_batches_per_epoch'] = 1\n"
        "class Fragile(SemanticSegmentationMetric):\n"
        "    def summarize(self, *a):\n"
        f"        if Path({str(file)!r}).read_text().count(chr(10)) >= 3: raise IndexError('a bug')\n"
        "        return super().summarize(*a)\n"
        "config['metric']['class'] = Fragile\n"
    )  # fmt: skip
    file.touch()
    with pytest.raises(PylonError, match="a bug"):
        run(path)  # in the second validation: one rehearsed call of the criterion, and two steps
    assert len(file.read_text().splitlines()) == 3
    path.write_text(path.read_text().replace(">= 3", ">= 99"))
    run(path)
    assert len(file.read_text().splitlines()) == 4, "the third epoch's step alone"


@pytest.mark.parametrize("frozen", [False, True])
def test_copies_are_freed_and_what_was_there_before_is_not_looked_at(frozen: bool) -> None:
    """Cycles hold the workers of loaders; a look at everything took longer than a rehearsal."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    gc.unfreeze()  # what the tests' own start has frozen
    if frozen:
        gc.freeze()
    try:
        former = weakref.ref(Cycle())
        with undone(RandomState(torch.device("cpu"))):
            made = weakref.ref(Cycle())
            assert gc.get_freeze_count() > 0
        assert made() is None
        assert (former() is None) is frozen
        assert (gc.get_freeze_count() > 0) is frozen, "as it was"
    finally:
        gc.freeze()
