"""Values of the optimizer for some parameters, by name or by kind."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pylon.runners.config import check_config
from pylon.runners.config.groups import grouped
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.errors import ConfigError, RunStopped
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.runners.toy import toy_config

NO_DECAY = {"kind": "norms_and_biases", "weight_decay": 0.0}
SLOW_FIRST = {"pattern": "layers.0.*", "lr": 0.01}


def runner(*entries: Any) -> str:
    arguments = {"score": "f1_changed", "log_every_steps": 2, "parameter_groups": list(entries)}
    return f"runner={{'class': SupervisedSingleTaskTrainer, 'args': {arguments!r}}}"


DECAY = "optimizer={'class': torch.optim.SGD, 'args': {'lr': 0.1, 'momentum': 0.9, 'weight_decay': 0.5}}"


def groups_of(toy: Toy) -> list[dict[str, Any]]:
    content = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)
    found: list[dict[str, Any]] = content["parts"]["optimizer"]["param_groups"]
    return found


def test_values_of_all_entries_that_mean_a_parameter_are_its_values(toy: Toy) -> None:
    toy.run(f"{runner(NO_DECAY, SLOW_FIRST)}, {DECAY}, scheduler=None")
    # layers.0 and layers.4 are convolutions, layers.3 is a batch normalisation.
    assert [(len(one["params"]), one["lr"], one["weight_decay"]) for one in groups_of(toy)] == [
        (1, 0.1, 0.5),
        (3, 0.1, 0.0),
        (1, 0.01, 0.0),
        (1, 0.01, 0.5),
    ]
    log = (toy.work_dir / "train.log").read_text()
    assert "by group: 1 with the values of the optimizer; 3 with weight_decay 0.0; 1 with w" in log
    assert log.count("by group") == 1, "the rehearsal builds them too, and reports none"


def test_parameters_move_by_the_values_of_their_group(make_toy: Callable[[str], Toy]) -> None:
    frozen, plain = make_toy("frozen"), make_toy("plain")
    frozen.run(f"{runner({'pattern': ['layers.0.*', 'layers.3.*'], 'lr': 0.0})}, scheduler=None, epochs=1")
    plain.run("scheduler=None, epochs=1")
    begun = initial(plain)
    for name, value in weights(frozen).items():
        if name.endswith(("weight", "bias")):
            moved = not torch.equal(value, begun[name])
            assert moved is name.startswith("layers.4."), name


def weights(toy: Toy) -> dict[str, torch.Tensor]:
    content = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)
    found: dict[str, torch.Tensor] = content["parts"]["model"]
    return found


def initial(toy: Toy) -> dict[str, torch.Tensor]:
    """The weights that the model begins with."""
    from pylon.runners.randomness import generators_kept, seed_all
    from tests.runners.toy import ToyModel

    seed = json.loads((toy.work_dir / "config.json").read_text())["init_seed"]
    with generators_kept(torch.device("cpu")):
        seed_all(seed)
        return ToyModel().state_dict()


@pytest.mark.slow
def test_stopped_run_with_groups_and_a_schedule_resumes_to_the_same_bits(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    changes = f"{runner(NO_DECAY, SLOW_FIRST)}, {DECAY}"
    whole.run(changes)
    with pytest.raises(RunStopped):
        stopped.run(f"{changes}, {failing(5, 'SIGTERM')}")
    let_it_go_on(stopped)
    stopped.run(changes)
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert groups_of(stopped) == groups_of(whole)


@pytest.mark.slow
def test_groups_can_be_given_on_the_command_line(toy: Toy) -> None:
    text = json.dumps([NO_DECAY])
    ended = toy.launch(f"{DECAY}, epochs=1", "--set", f"runner.args.parameter_groups={text}")
    assert ended.returncode == 0, ended.stderr
    recorded = json.loads((toy.work_dir / "config.json").read_text())
    assert recorded["runner"]["args"]["parameter_groups"] == [NO_DECAY]
    assert len(groups_of(toy)) == 2


@pytest.mark.slow
def test_entry_that_means_no_parameter_is_exit_code_2_and_the_fixed_command_runs(toy: Toy) -> None:
    wrong = runner({"pattern": "layer.0.*", "lr": 0.01})
    ended = toy.launch(wrong)
    assert ended.returncode == 2
    assert (
        "runner.args.parameter_groups.0.pattern is 'layer.0.*': means no parameter of ToyModel; expected one "
        "of: layers.0.weight, layers.0.bias, layers.3.weight, layers.3.bias, layers.4.weight and 1 more"
    ) in ended.stderr
    toy.run(runner(SLOW_FIRST))


def told(*entries: Any, optimizer: type = torch.optim.SGD) -> list[str]:
    config = toy_config(Path("run"), optimizer={"class": optimizer, "args": {"lr": 0.1}})
    config["runner"]["args"]["parameter_groups"] = list(entries)
    return [str(problem) for problem in rehearsal_problems(config)]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"weight_decay": 0.0}, "0 is {'weight_decay': 0.0}: expected either 'pattern', as in '*.bias', or"),
        ({"pattern": "*", "kind": "norms_and_biases", "lr": 1.0}, "expected either 'pattern'"),
        ({"kind": "norms", "lr": 1.0}, "0.kind is 'norms': expected 'norms_and_biases'"),
        ({"pattern": 3, "lr": 1.0}, "0.pattern is 3: expected a pattern"),
        ({"pattern": "*.bias"}, "expected a value of the optimizer too"),
        (
            {"pattern": "*", "weight_decy": 0.0},
            "0.weight_decy is 0.0: a parameter group of SGD does not take it; did you mean 'weight_decay'?",
        ),
        ({"pattern": "*", "weight_decay": -1.0}, "0 is 'SGD': expected arguments that SGD accepts: Invalid"),
        ({"pattern": "*", "lr": "fast"}, "0 is 'SGD': expected arguments that SGD accepts"),
    ],
)
def test_wrong_entry_is_found_before_the_run(entry: Any, problem: str) -> None:
    (said,) = told(NO_DECAY, entry)[:1]
    assert said.startswith("runner.args.parameter_groups.1")
    assert problem.removeprefix("0") in said


def test_groups_that_are_no_list_of_dicts_are_a_problem_of_the_configuration() -> None:
    config = toy_config(Path("run"))
    config["runner"]["args"]["parameter_groups"] = {"pattern": "*.bias"}
    with pytest.raises(ConfigError, match=r"runner\.args\.parameter_groups"):
        check_config(config, source="x")


class Names(torch.optim.SGD):
    """Groups parameters by their names itself."""

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], lr: float) -> None:
        pairs = [*named_parameters]
        self.names = [name for name, _ in pairs]
        biases = [one for name, one in pairs if name.endswith(".bias")]
        others = [one for name, one in pairs if not name.endswith(".bias")]
        groups = [{"params": one} for one in (others, biases) if one]
        super().__init__(groups, lr=lr)


def test_own_optimizer_that_takes_named_parameters_gets_them(toy: Toy) -> None:
    path = toy.write("scheduler=None")
    path.write_text(
        path.read_text()
        + "from tests.runners.training.test_parameter_groups import Names\n"
        + "config['optimizer'] = {'class': Names, 'args': {'lr': 0.1}}\n"
    )
    run_again(path)
    assert [len(group["params"]) for group in groups_of(toy)] == [3, 3]
    said = told(NO_DECAY, optimizer=Names)
    assert said == [
        "runner.args.parameter_groups is [{'kind': 'norms_and_biases', 'weight_decay': 0.0}]: expected none: "
        "Names gets named parameters and groups them itself"
    ]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(2, 2)
        self.decoder.weight = self.encoder.weight
        self.norm = nn.LayerNorm((2, 3))
        self.scale = nn.Parameter(torch.ones(()))


def test_shared_parameter_has_both_names_and_is_in_one_group() -> None:
    model = Tied()
    groups = grouped(model, [{"pattern": "decoder.*", "lr": 1.0}])
    assert [len(group["params"]) for group in groups] == [4, 2]
    assert groups[1]["params"][0] is model.encoder.weight
    assert sum(len(group["params"]) for group in groups) == len([*model.parameters()])


def test_norms_of_any_shape_and_biases_are_of_one_kind() -> None:
    model = Tied()
    rest, chosen = grouped(model, [NO_DECAY])
    assert rest["params"] == [model.encoder.weight]
    assert len(chosen["params"]) == 5


@pytest.mark.slow
def test_shipped_example_trains_with_its_groups_and_its_warm_up(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    from pylon.runners.launch.file import run_file
    from pylon.runners.launch.run import Options

    path = Path(__file__).resolve().parents[3] / "configs/examples/optimizers.py"
    overrides = ("train_dataloader.args.num_workers=0", "epochs=3")
    options = Options(device="cpu", work_dir=tmp_path / "run", overrides=overrides)
    run_file(path, options, Console(file=io.StringIO()))
    content = torch.load(tmp_path / "run" / "checkpoint_latest.pt", weights_only=True)
    groups = content["parts"]["optimizer"]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.01, 0.01, 0.005, 0.005]
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [record["learning_rate"] for record in history][:2] == pytest.approx([0.0055, 0.01])
