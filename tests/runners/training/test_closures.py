"""Optimizers that evaluate the loss several times in a step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners import Stepping
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.errors import RunStopped
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on
from tests.runners.toy import toy_config
from tests.shutdown.compare_runs import unequal

LBFGS = (
    "optimizer={'class': torch.optim.LBFGS, 'args': {'lr': 0.5, 'max_iter': 4, 'line_search_fn': "
    "'strong_wolfe'}}"
)


def saved(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(root / "checkpoint_latest.pt", weights_only=True)["parts"]
    return content


def losses(root: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (root / "metrics.jsonl").read_text().splitlines()]


def test_lbfgs_trains_as_in_a_loop_written_by_hand(make_toy: Callable[[str], Toy]) -> None:
    one = make_toy("one")
    steady = "{'class': Steady, 'args': {}}"
    path = one.write(f"{LBFGS}, scheduler=None, epochs=1")
    path.write_text(
        path.read_text()
        + "from tests.runners.distributed.steady import Steady\n"
        + f"config['model'] = {steady}\n"
        + "config['train_dataloader']['args'] = {'batch_size': 12}\n"
        + "del config['train_dataset']['args']['transforms']\n"
    )
    from tests.runners.run_directory.test_retention import run_again

    run_again(path)
    model = trained_by_hand(json.loads((one.work_dir / "config.json").read_text())["init_seed"])
    found = saved(one.work_dir)["model"]
    assert losses(one.work_dir) == pytest.approx([model.first_loss], rel=1e-5)
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())
    assert saved(one.work_dir)["optimizer"]["state"][0]["func_evals"] > 1


def trained_by_hand(seed: int) -> Any:
    from pylon.runners.randomness import generators_kept, seed_all
    from tests.runners.distributed.steady import Steady
    from tests.runners.toy import ToyDataset

    dataset = ToyDataset(data_root=".", split="train")
    points = [dataset[index] for index in range(12)]
    inputs = {name: torch.stack([one["inputs"][name] for one in points]) for name in ("img_1", "img_2")}
    target = torch.stack([one["labels"]["change_map"] for one in points])
    with generators_kept(torch.device("cpu")):
        seed_all(seed)
        model: Any = Steady()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(**inputs), target)
        loss.backward()
        return loss  # type: ignore[return-value]  # as torch's documentation has it

    first: Any = optimizer.step(closure)
    model.first_loss = float(first.detach())
    return model


@pytest.mark.slow
@pytest.mark.parametrize("call", [12, 30])
def test_stopped_run_resumes_with_the_history_of_its_optimizer(
    make_toy: Callable[[str], Toy], call: int
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(LBFGS)
    with pytest.raises(RunStopped):
        stopped.run(f"{LBFGS}, {failing(call, 'SIGTERM')}")
    let_it_go_on(stopped)
    stopped.run(LBFGS)
    assert losses(stopped.work_dir) == losses(whole.work_dir)
    assert unequal(saved(whole.work_dir), saved(stopped.work_dir)) == []


def told(**args: Any) -> list[str]:
    config = toy_config(Path("run"), optimizer={"class": torch.optim.LBFGS, "args": {}})
    config["runner"]["args"] |= {"stepping": {"class": Stepping, "args": args}}
    return [str(problem) for problem in rehearsal_problems(config)]


@pytest.mark.parametrize(
    ("args", "key", "words"),
    [
        ({"precision": "float16"}, "precision is 'float16'", "a loss scaler cannot leave out one of them"),
        ({"non_finite": "skip"}, "non_finite is 'skip'", "the weights of before the step are gone"),
    ],
)
def test_what_a_closure_cannot_work_with_is_refused_before_the_run(
    args: dict[str, Any], key: str, words: str
) -> None:
    (said,) = told(**args)
    assert said.startswith(f"runner.args.stepping.args.{key}: expected ")
    assert "LBFGS evaluates the loss several times in a step" in said
    assert words in said


def test_what_a_closure_works_with_is_not_refused() -> None:
    assert told(accumulate_batches=2, clip_norm=1.0, ema_decay=0.9, precision="bfloat16") == []


def test_groups_of_an_optimizer_that_has_one_are_refused_before_the_run() -> None:
    config = toy_config(Path("run"), optimizer={"class": torch.optim.LBFGS, "args": {}})
    config["runner"]["args"]["parameter_groups"] = [{"pattern": "*.bias", "lr": 0.1}]
    (said,) = [str(problem) for problem in rehearsal_problems(config)]
    assert "LBFGS has one group for all parameters" in said


class Closed(torch.optim.SGD):
    """Needs a closure for its one evaluation."""

    def step(self, closure: Any) -> None:  # type: ignore[override]  # what the test is about
        closure()
        super().step()


def test_gradients_of_a_closure_are_clipped(toy: Toy) -> None:
    path = toy.write("epochs=1, scheduler=None")
    path.write_text(
        path.read_text()
        + "from pylon.runners import Stepping\n"
        + "from tests.runners.training.test_closures import Closed\n"
        + "config['optimizer'] = {'class': Closed, 'args': {'lr': 1.0, 'momentum': 0.5}}\n"
        + "config['runner']['args']['stepping'] = {'class': Stepping, 'args': {'clip_norm': 1e-6}}\n"
    )
    from tests.runners.run_directory.test_retention import run_again

    run_again(path)
    moments = saved(toy.work_dir)["optimizer"]["state"].values()
    assert 0 < max(float(one["momentum_buffer"].abs().max()) for one in moments) < 1e-5


class Forgetful(torch.optim.SGD):
    """Needs a closure, and does not call it."""

    def step(self, closure: Any) -> None: ...  # type: ignore[override]  # what the test is about


def test_closure_that_is_not_called_ends_the_run(toy: Toy) -> None:
    path = toy.write()
    path.write_text(
        path.read_text()
        + "from tests.runners.training.test_closures import Forgetful\n"
        + "config['optimizer'] = {'class': Forgetful, 'args': {'lr': 0.1}}\n"
    )
    from tests.runners.run_directory.test_retention import run_again

    with pytest.raises(Exception, match=r"Forgetful\.step has not called its closure"):
        run_again(path)


class Game(torch.nn.Module):
    """A generator and a discriminator of one layer each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.generator, self.discriminator = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)

    def of_discriminator(self, batch: Any) -> torch.Tensor:
        fake = self.generator(batch["noise"]).detach()
        loss: torch.Tensor = (
            self.discriminator(fake).square().mean() - self.discriminator(batch["real"]).mean()
        )
        return loss

    def of_generator(self, batch: Any) -> torch.Tensor:
        self.discriminator.requires_grad_(False)
        loss: torch.Tensor = -self.discriminator(self.generator(batch["noise"])).mean()
        self.discriminator.requires_grad_(True)
        return loss

    def training_loss(self, batch: Any) -> torch.Tensor:
        return self.of_discriminator(batch) + self.of_generator(batch)


def test_groups_in_turns_are_two_optimizers() -> None:
    from pylon.runners.distributed import World
    from pylon.runners.randomness import RandomState
    from pylon.runners.training.stepping import Stepper
    from tests.docs.test_examples import examples

    shown: dict[str, Any] = {}
    exec(compile(examples()["in_turns.py"], "in_turns.py", "exec"), shown)
    cpu, batches = (
        torch.device("cpu"),
        [{"noise": torch.randn(4, 2), "real": torch.rand(4, 2)} for _ in range(5)],
    )
    together, apart = Game(), Game()
    networks = [{"params": list(one.parameters())} for one in (together.discriminator, together.generator)]
    stepper = Stepper(
        Stepping(), task=together, modules=[together], replica=together,  # type: ignore[arg-type]  # it only trains
        optimizer=shown["InTurns"](networks, lr=0.1), average=None, random=RandomState(cpu), device=cpu,
        world=World(),
    )  # fmt: skip
    first = torch.optim.Adam(apart.discriminator.parameters(), lr=0.1)
    second = torch.optim.Adam(apart.generator.parameters(), lr=0.1)
    for batch in batches:
        stepper.step([batch], weight=1.0, dump=lambda content: "", place="")
        for optimizer, loss in ((first, apart.of_discriminator), (second, apart.of_generator)):
            optimizer.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert unequal(together.state_dict(), apart.state_dict()) == []
