"""The class names of `config.json`: short public ones, which old run directories do not have yet."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pylon import data, models, monitor, runners
from pylon.data import transforms
from pylon.data.change_detection import LEVIRCDDataset
from pylon.runners.config import differences, load_config, to_json, with_present_names
from pylon.runners.config.names import class_name, find_class
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, numbers
from tests.runners.toy import ToyModel

# A run of this configuration, killed in its third epoch, as Pylon left it when its packages were not in
# `pylon` yet; what does not matter to a resume was removed. The other file has the steps of the same run
# without the interruption.
OLD_RUN = Path(__file__).with_name("old_run")
OLD_STEPS = Path(__file__).with_name("old_run_uninterrupted.jsonl")


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (models.HANet, "pylon.models:HANet"),
        (runners.SupervisedSingleTaskTrainer, "pylon.runners:SupervisedSingleTaskTrainer"),
        (transforms.Compose, "pylon.data.transforms:Compose"),
        (LEVIRCDDataset, "pylon.data.change_detection:LEVIRCDDataset"),
        (torch.optim.AdamW, "torch.optim:AdamW"),
        (torch.nn.CrossEntropyLoss, "torch.nn:CrossEntropyLoss"),
        (torch.optim.lr_scheduler.StepLR, "torch.optim.lr_scheduler:StepLR"),
        (ToyModel, "tests.runners.toy:ToyModel"),
    ],
)
def test_class_has_the_name_of_the_shortest_module_that_offers_it(cls: type, name: str) -> None:
    assert class_name(cls) == name
    assert find_class(name) is cls


@pytest.mark.parametrize(
    ("old", "cls"),
    [
        ("models.hanet.hanet:HANet", models.HANet),
        ("models.fc_siam.networks:FCEF", models.FCEF),
        ("runners.supervised:SupervisedSingleTaskTrainer", runners.SupervisedSingleTaskTrainer),
        ("runners.supervised:SupervisedSingleTaskEvaluator", runners.SupervisedSingleTaskEvaluator),
        ("runners.early_stopping:EarlyStopping", runners.EarlyStopping),
        ("runners.retention:Retention", runners.Retention),
        ("runners.stepping:Stepping", runners.Stepping),
        ("data.loader:DataLoader", data.DataLoader),
        ("data.transforms.random_flip:RandomFlip", transforms.RandomFlip),
        ("data.change_detection.levir_cd:LEVIRCDDataset", LEVIRCDDataset),
        ("monitor.system_monitor:SystemMonitor", monitor.SystemMonitor),
        ("monitor.cpu_monitor:CPUMonitor", monitor.CPUMonitor),
    ],
)
def test_name_from_before_the_packages_were_in_pylon_is_found(old: str, cls: type) -> None:
    assert find_class(old) is cls
    assert with_present_names({"class": old, "args": {}})["class"] == class_name(cls)


@pytest.mark.parametrize("name", ["models.hanet.hanet:HANett", "models.nosuch:Thing", "nosuch.hanet:HANet"])
def test_name_that_never_was_is_not_found(name: str) -> None:
    with pytest.raises(LookupError):
        find_class(name)
    assert with_present_names({"class": name, "args": {}})["class"] == name


def test_names_of_two_times_are_no_difference_and_another_class_is_one() -> None:
    def node(name: str) -> dict[str, object]:
        return {"model": {"class": name, "args": {"parts": [{"class": "torch.nn.modules.linear:Linear"}]}}}

    new = {"model": {"class": "pylon.models:HANet", "args": {"parts": [{"class": "torch.nn:Linear"}]}}}
    assert differences(with_present_names(node("models.hanet.hanet:HANet")), new) == []
    other = differences(with_present_names(node("models.fc_siam.networks:FCEF")), new)
    assert other == [("model.class", "pylon.models:FCEF", "pylon.models:HANet")]


def test_a_module_of_ones_own_goes_before_the_old_name(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("class HANet:\n    own = True\n")
    path = tmp_path / "run_0.py"
    path.write_text("from models import HANet\nconfig = {'model': {'class': HANet, 'args': {}}}\n")
    config = load_config(path)
    assert config["model"]["class"].own
    assert to_json(config)["model"]["class"] == f"{tmp_path}:models:HANet"
    assert find_class("models:HANet").own
    assert find_class("models.hanet.hanet:HANet") is models.HANet, "the own package has no such module"


@pytest.mark.slow
def test_run_directory_made_before_the_packages_were_in_pylon_is_resumed(tmp_path: Path, toy: Toy) -> None:
    names = (OLD_RUN / "config.json").read_text()
    for old in ("runners.supervised:", "metrics.semantic_segmentation:", "data.loader:", "data.transforms."):
        assert f'"{old}' in names, "the run directory must have old names"
    shutil.copytree(OLD_RUN, toy.work_dir, symlinks=True)
    outcome = toy.run("criterion={'class': ToyCriterion, 'args': {'at_call': 8, 'what': 'SIGKILL'}}")
    assert "resuming after 2 finished epochs" in (toy.work_dir / "train.log").read_text()
    assert outcome.result["epochs"] == 3

    def steps(path: Path) -> list[float]:
        return [json.loads(line)["loss"] for line in path.read_text().splitlines()]

    # Another processor may round in another way: the same bits are asked for in the next test.
    assert steps(toy.work_dir / "metrics.jsonl") == pytest.approx(steps(OLD_STEPS), rel=1e-3)
    present = json.loads((toy.work_dir / "config.json").read_text())
    assert present["runner"]["class"] == "pylon.runners:SupervisedSingleTaskTrainer"


OLD_NAMES = {
    "pylon.runners:": "runners.supervised:",
    "pylon.metrics:": "metrics.semantic_segmentation:",
    "pylon.data:": "data.loader:",
    "pylon.data.transforms:Compose": "data.transforms.compose:Compose",
    "pylon.data.transforms:RandomFlip": "data.transforms.random_flip:RandomFlip",
    "pylon.models:": "models.hanet.hanet:",
    "torch.optim:": "torch.optim.sgd:",
}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["configuration file", "config.json"])
def test_run_with_old_names_is_resumed_to_the_same_bits(make_toy: Callable[[str], Toy], by: str) -> None:
    model = (
        "model={'class': __import__('pylon.models').models.HANet, 'args': {'width': 2}}, "
        "optimizer={'class': torch.optim.SGD, 'args': {'lr': 1e-4}}, "
    )
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(model)
    ended = stopped.launch(model + failing(5, "SIGKILL"))
    assert ended.returncode == -9, ended.stderr
    resolved = stopped.work_dir / "config.json"
    config = json.loads(resolved.read_text())
    config["criterion"]["args"] = {}
    text = json.dumps(config)
    for new, old in OLD_NAMES.items():
        assert f'"{new}' in text
        text = text.replace(f'"{new}', f'"{old}')
    resolved.write_text(text)
    assert '"pylon.' not in text
    again = stopped.launch_file(resolved) if by == "config.json" else stopped.launch(model)
    assert again.returncode == 0, again.stderr
    assert "resuming after" in again.stdout
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
