"""Steps: accumulation, clipping, precision, averaging, and non-finite numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.data import DataLoader
from pylon.runners import Stepping
from pylon.runners.distributed import World
from pylon.runners.errors import RunStopped, TrainingError
from pylon.runners.memory import is_out_of_memory, out_of_memory
from pylon.runners.randomness import RandomState
from pylon.runners.training import training
from pylon.runners.training.stepping import NonFiniteError, Stepper, replay
from pylon.runners.training.supervised import SupervisedSingleTask
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.runners.toy import ToyCriterion, ToyModel
from tests.shutdown.compare_runs import unequal


def configured(toy: Toy, stepping: str, changes: str = "") -> Path:
    path = toy.write(
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', 'log_every_steps': 1, "
        f"'stepping': {{'class': Stepping, 'args': {stepping}}}}}}}, {changes}"
    )
    path.write_text("from pylon.runners import Stepping\n" + path.read_text())
    return path


def parts(toy: Toy) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)["parts"]
    return found


def loader(batch_size: int) -> str:
    return (
        f"train_dataloader={{'class': DataLoader, 'args': {{'batch_size': {batch_size}, 'shuffle': True}}}}"
    )


def stepper_of(
    model: torch.nn.Module, task: Any, optimizer: torch.optim.Optimizer, **options: Any
) -> Stepper:
    """Takes steps of one process on the CPU."""
    cpu = torch.device("cpu")
    return Stepper(
        Stepping(**options), task=task, modules=[model], replica=model, optimizer=optimizer, average=None,
        random=RandomState(cpu), device=cpu, world=World(),
    )  # fmt: skip


def step(stepper: Stepper, batches: list[Any]) -> torch.Tensor:
    """One step, and its loss."""
    loss, _ = stepper.step(batches, weight=1 / len(batches), dump=lambda content, must: "", place="")
    return loss


class MeanLoss:
    """A task whose batch is what a model takes, and whose loss is the mean of what it gives."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def training_loss(self, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = self.model(batch).mean()
        return loss


class Forgetful(torch.optim.SGD):
    """An optimizer that has its own way to forget gradients."""

    forgot = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.forgot += 1
        super().zero_grad(set_to_none)


def test_gradients_are_forgotten_the_optimizers_own_way() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = Forgetful(model.parameters(), lr=0.1)
    step(stepper_of(model, MeanLoss(model), optimizer), [torch.ones(1, 2)])
    assert optimizer.forgot == 1
    patched = torch.optim.SGD(model.parameters(), lr=0.1)
    asked: list[bool] = []
    patched.zero_grad = lambda set_to_none=True: asked.append(set_to_none)  # type: ignore[method-assign]
    step(stepper_of(model, MeanLoss(model), patched), [torch.ones(1, 2)])
    assert asked == [True]


def test_gradients_of_every_group_are_forgotten_of_unused_parameters_too() -> None:
    used, unused = torch.nn.Linear(2, 1, bias=False), torch.nn.Parameter(torch.ones(3))
    unused.grad = torch.ones(3)
    optimizer = torch.optim.SGD([{"params": [unused]}, {"params": used.parameters()}], lr=0.1)
    step(stepper_of(used, MeanLoss(used), optimizer), [torch.ones(1, 2)])
    step(stepper_of(used, MeanLoss(used), optimizer), [torch.ones(1, 2)])
    assert unused.grad is None and torch.equal(unused, torch.ones(3))
    assert torch.equal(used.weight.grad, torch.ones(1, 2))


def test_profiler_sees_batches_and_forgotten_gradients_by_torchs_names() -> None:
    model = torch.nn.Linear(2, 1)
    stepper = stepper_of(model, MeanLoss(model), torch.optim.SGD(model.parameters(), lr=0.1))
    batches = DataLoader(torch.utils.data.TensorDataset(torch.ones(6, 2)), batch_size=2)
    with torch.profiler.profile() as seen:
        for batch in batches:
            step(stepper, [batch["inputs"]])
    counts = {event.key: event.count for event in seen.key_averages()}
    assert counts["Optimizer.zero_grad#SGD.zero_grad"] == 3
    assert sum(n for name, n in counts.items() if name.startswith("enumerate(DataLoader)#")) == 4


@pytest.mark.slow
def test_plain_stepping_has_the_bits_of_none(make_toy: Callable[[str], Toy]) -> None:
    plain, given = make_toy("plain"), make_toy("given")
    plain.run()
    run_again(configured(given, "{}"))
    assert numbers(given.work_dir) == numbers(plain.work_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stepping",
    [
        "{'accumulate_batches': 2, 'clip_norm': 0.05}",
        "{'precision': 'bfloat16', 'ema_decay': 0.5, 'channels_last': True}",
        "{'precision': 'float16', 'non_finite': 'skip'}",
    ],
    ids=["accumulation and clipping", "bfloat16 and average", "float16"],
)
def test_stopped_in_an_epoch_it_goes_on_to_the_same_bits(
    make_toy: Callable[[str], Toy], stepping: str
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run_again(configured(whole, stepping, loader(2)))
    with pytest.raises(RunStopped):
        run_again(configured(stopped, stepping, f"{failing(8, 'SIGTERM')}, {loader(2)}"))
    let_it_go_on(stopped)
    run_again(configured(stopped, stepping, loader(2)))
    assert "resuming after" in (stopped.work_dir / "train.log").read_text()
    assert unequal(parts(whole), parts(stopped)) == []
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_accumulated_batches_make_one_step_also_an_incomplete_last_one(toy: Toy) -> None:
    run_again(configured(toy, "{'accumulate_batches': 4}", loader(2)))
    lines = [json.loads(line) for line in (toy.work_dir / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [
        (epoch, step) for epoch in range(3) for step in (0, 1)
    ]


def test_accumulated_gradient_is_the_mean_of_the_batches_gradients() -> None:
    def gradient(sizes: list[int]) -> torch.Tensor:
        torch.manual_seed(0)
        model, data = torch.nn.Linear(3, 1), torch.randn(8, 3)

        class Mean:
            def training_loss(self, batch: Any) -> torch.Tensor:
                return model(batch["x"]).square().mean()

        batches = [{"x": part} for part in data.split(sizes)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        step(stepper_of(model, Mean(), optimizer), batches)
        assert model.weight.grad is not None
        return model.weight.grad

    assert torch.allclose(gradient([2, 2, 2, 2]), gradient([8]), rtol=1e-5)


class OnGraphs(torch.autograd.Function):
    """Gives loss and gradient in memory that the next call writes into, as CUDA graphs do."""

    memory = torch.zeros(2, 3)

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factors)
        OnGraphs.memory[0, 0] = (weight * factors).sum().detach()
        return OnGraphs.memory[0, :1].detach()[0]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        OnGraphs.memory[1] = torch.nan
        return gradients[0] * ctx.saved_tensors[0], None

    @staticmethod
    def keep(weight: torch.Tensor) -> None:
        """Let the gradient be in that memory, where the next backward pass writes over it."""
        assert weight.grad is not None
        OnGraphs.memory[1] = weight.grad[0]
        weight.grad = OnGraphs.memory[1:]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_cuda_graphs_give_is_kept_before_their_next_run_writes_over_it(count: int) -> None:
    def trained(*, graphs: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
        model = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        if graphs:
            model.weight.register_post_accumulate_grad_hook(OnGraphs.keep)

        class Task:
            def training_loss(self, batch: Any) -> torch.Tensor:
                if not graphs:
                    return (model.weight[0] * batch["x"]).sum()
                loss: torch.Tensor = OnGraphs.apply(model.weight[0], batch["x"])
                return loss

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        stepper = stepper_of(model, Task(), optimizer, compile="reduce-overhead")
        batches = [{"x": torch.full((3,), float(number))} for number in range(1, 4 * count + 1)]
        groups = [batches[begin : begin + count] for begin in range(0, len(batches), count)]
        losses = [step(stepper, group) for group in groups]
        return losses, model.weight.detach()

    (found, weight), (expected, wanted) = trained(graphs=True), trained(graphs=False)
    assert torch.allclose(torch.stack(found), torch.stack(expected))
    assert torch.allclose(weight, wanted)


def test_float16_reads_the_loss_scale_from_its_device_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[float] = []
    get_scale = torch.amp.GradScaler.get_scale
    monkeypatch.setattr(torch.amp.GradScaler, "get_scale", lambda self: read.append(1.0) or get_scale(self))
    model = torch.nn.Linear(3, 1)

    class Task:
        def training_loss(self, batch: Any) -> torch.Tensor:
            return model(batch["x"]).square().mean()

    stepper = stepper_of(model, Task(), torch.optim.SGD(model.parameters(), lr=0.1), precision="float16")
    for _ in range(10):
        step(stepper, [{"x": torch.ones(2, 3)}])
    assert len(read) == 11


def test_clip_value_limits_each_value_of_a_gradient_before_its_length() -> None:
    def moved(**options: Any) -> list[float]:
        model = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

        class Task:
            predict = score = None

            def training_loss(self, batch: Any) -> torch.Tensor:
                loss: torch.Tensor = model(torch.tensor([[-3.0, 0.5]])).sum()
                return loss

        step(stepper_of(model, Task(), optimizer, **options), [{}])
        return [round(value, 4) for value in model.weight.flatten().tolist()]

    assert moved() == [3.0, -0.5]
    assert moved(clip_value=1.0) == [1.0, -0.5]
    assert moved(clip_value=1.0, clip_norm=1.0) == [0.8944, -0.4472]


def test_clipping_bounds_the_length_of_a_step(make_toy: Callable[[str], Toy]) -> None:
    toy = make_toy("clipped")
    sgd = "epochs=1, scheduler=None, optimizer={'class': torch.optim.SGD, 'args': {'lr': 1.0}}"
    run_again(configured(toy, "{'clip_norm': 1e-6}", sgd))
    from pylon.runners.randomness import seed_all
    from pylon.runners.seeds import derive_seed

    seed_all(derive_seed(5, "init"))
    begun = ToyModel().state_dict()
    moved = [parts(toy)["model"][name] - value for name, value in begun.items() if "weight" in name]
    assert 0 < max(float(one.norm()) for one in moved) < 1e-5


def test_average_is_evaluated_saved_and_found_by_an_evaluation_only_run(toy: Toy) -> None:
    from pylon.runners.run_directory.foreign import weights_in
    from pylon.runners.run_directory.weights import load_weights

    run_again(configured(toy, "{'ema_decay': 0.9}"))
    saved = parts(toy)
    average, own = saved["average"]["model"], saved["model"]
    assert not torch.equal(average["layers.0.weight"], own["layers.0.weight"])
    model = ToyModel()
    path = toy.work_dir / "checkpoint_latest.pt"
    load_weights(path, weights_in(path), model, "runner.args.checkpoint")
    assert torch.equal(model.state_dict()["layers.0.weight"], average["layers.0.weight"])


@pytest.mark.parametrize(("option", "mode"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_compiled_model_is_trained_and_the_plain_one_saved(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, option: object, mode: str | None
) -> None:
    compiled: list[torch.nn.Module] = []
    modes = []
    monkeypatch.setattr(
        torch, "compile", lambda model, mode: (compiled.append(model), modes.append(mode)) and model
    )
    run_again(configured(toy, f"{{'compile': {option!r}}}"))
    assert [type(one) for one in compiled] == [ToyModel]
    assert modes == [mode]
    assert "layers.0.weight" in parts(toy)["model"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"accumulate_batches": 0}, {"clip_norm": 0.0}, {"clip_norm": float("nan")}, {"ema_decay": 1.0},
        {"skip_in_a_row": 0}, {"clip_value": -1.0}, {"compile": "fast"},
    ],
)  # fmt: skip
def test_wrong_option_is_refused_by_name(arguments: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}: .*, expected"):
        Stepping(**arguments)


@pytest.mark.slow
def test_skipped_step_leaves_weights_and_running_statistics_and_is_logged(toy: Toy) -> None:
    run_again(configured(toy, "{'non_finite': 'skip'}", failing(5, "nan")))
    lines = [json.loads(line) for line in (toy.work_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["global_step"] for line in lines if line.get("skipped")] == [4]
    assert lines[4]["loss"] is None
    assert all(torch.isfinite(value).all() for value in parts(toy)["model"].values())
    history = json.loads((toy.work_dir / "history.json").read_text())
    assert history[1]["training_loss"] == pytest.approx((lines[3]["loss"] + lines[5]["loss"]) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["raise", "stop", "skip"])
def test_dump_reproduces_the_step(toy: Toy, policy: str) -> None:
    path = configured(toy, f"{{'non_finite': {policy!r}}}", failing(5, "nan"))
    if policy == "skip":
        run_again(path)
    else:
        with pytest.raises(
            NonFiniteError, match=r"epoch 1, step 1: .*reproduces a step in which the loss is nan"
        ):
            run_again(path)
    assert (toy.work_dir / "epoch_1" / "step_1.pt").exists() == (policy == "stop")
    dump = torch.load(toy.work_dir / "non_finite" / "epoch_1_step_1.pt", weights_only=True)
    model, random = ToyModel(), RandomState(torch.device("cpu"))
    sound, broken = ToyCriterion(), ToyCriterion(at_call=1)
    outside = random.state_dict()
    found = {}
    for name, criterion in (("sound", sound), ("broken", broken), ("again", ToyCriterion())):
        task = SupervisedSingleTask(model, criterion, torch.device("cpu"), tile_size=None, tile_overlap=0)
        found[name] = replay(dump, task, [model, criterion], random)
    random.load_state_dict(outside)
    assert found["broken"] != found["broken"]
    assert found["sound"] == found["again"], "dropout and all"


OVERFLOW = """
class Large(ToyCriterion):
    # Its scaled gradients overflow until the loss scale has fallen far enough.
    def forward(self, logits, target):
        return {factor} * super().forward(logits, target)

config['criterion']['class'] = Large
config['runner']['args']['scheduler_interval'] = 'step'
config['scheduler'] = {{'class': torch.optim.lr_scheduler.LinearLR, 'args': {{'total_iters': 8}}}}
config['optimizer'] = {{'class': torch.optim.Adam, 'args': {{'lr': 1e-5}}}}
"""


def overflowing(toy: Toy, factor: float, stepping: str) -> Path:
    path = configured(toy, f"{{'precision': 'float16', {stepping}}}")
    path.write_text(path.read_text() + OVERFLOW.format(factor=factor))
    return path


def test_step_whose_float16_gradients_overflow_is_no_step_of_schedule_and_average(toy: Toy) -> None:
    run_again(overflowing(toy, 50, "'ema_decay': 0.5, 'skip_in_a_row': 20"))
    lines = [json.loads(line) for line in (toy.work_dir / "metrics.jsonl").read_text().splitlines()]
    skipped = [bool(line.get("skipped")) for line in lines]
    assert 2 < sum(skipped) < 9, "the test needs steps that overflow, and others"
    assert skipped == sorted(skipped, reverse=True), "the scale falls until no step overflows"
    saved = parts(toy)
    taken = len(lines) - sum(skipped)
    assert saved["scheduler"]["last_epoch"] == taken
    assert {float(state["step"]) for state in saved["optimizer"]["state"].values()} == {float(taken)}
    assert {line["learning_rate"] for line in lines[: sum(skipped) + 1]} == {lines[0]["learning_rate"]}
    history = json.loads((toy.work_dir / "history.json").read_text())
    assert sum(record.get("skipped_steps", 0) for record in history) == sum(skipped)
    assert "3 of its steps left out" in (toy.work_dir / "train.log").read_text()


def test_average_does_not_move_while_float16_steps_are_left_out(toy: Toy) -> None:
    path = overflowing(toy, 1e30, "'ema_decay': 0.5, 'skip_in_a_row': 20")
    path.write_text(path.read_text() + "config['epochs'] = 1\n")
    result = run_again(path).result
    assert result["skipped_steps"] == 3
    said = "3 of 3 steps were left out, as a number was NaN or infinite: the weights are those that the run"
    assert said in (toy.work_dir / "train.log").read_text()
    saved = parts(toy)
    assert saved["stepping"]["skipped_in_a_row"] == 3
    assert saved["optimizer"]["state"] == {}
    assert float(saved["average"]["model"]["layers.3.num_batches_tracked"]) == 0


def test_too_many_float16_overflows_in_a_row_end_the_run(toy: Toy) -> None:
    with pytest.raises(
        NonFiniteError, match=r"epoch 0, step 2: float16 gradients .* 2 steps before it.*skip_in_a_row"
    ):
        run_again(overflowing(toy, 1e30, "'skip_in_a_row': 2"))


def test_float16_loss_that_is_not_finite_ends_the_run_and_is_no_overflow(toy: Toy) -> None:
    with pytest.raises(TrainingError, match="epoch 0, step 0: the loss is inf"):
        run_again(overflowing(toy, 1e39, ""))


def test_too_many_skipped_in_a_row_end_the_run_and_few_dumps_are_written(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_MOST_DUMPS", 1)
    path = configured(toy, "{'non_finite': 'skip', 'skip_in_a_row': 2}")
    path.write_text(
        path.read_text()
        + "class Always(ToyCriterion):\n"
        + "    def forward(self, logits, target):\n"
        + "        return super().forward(logits, target) * float('inf')\n"
        + "config['criterion']['class'] = Always\n"
    )
    with pytest.raises(NonFiniteError, match="epoch 0, step 2"):
        run_again(path)
    dumps = sorted(one.name for one in (toy.work_dir / "non_finite").iterdir())
    assert dumps == ["epoch_0_step_0.pt", "epoch_0_step_2.pt"], "the first, and that of the end"
    assert "epoch 0, step 1: not written, as" in (toy.work_dir / "train.log").read_text()


def test_non_finite_gradient_is_seen_behind_a_finite_loss(toy: Toy) -> None:
    path = configured(toy, "{'non_finite': 'raise'}")
    path.write_text(
        path.read_text()
        + "class Edge(ToyCriterion):\n"
        + "    def forward(self, logits, target):\n"
        + "        return (logits.sum() * 0).sqrt()\n"
        + "config['criterion']['class'] = Edge\n"
    )
    with pytest.raises(NonFiniteError, match="a gradient is NaN or infinite"):
        run_again(path)


HOLE = """
class Holed(ToyDataset):
    def _load_datapoint(self, annotation):
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        if self.split == 'train' and annotation == 7:
            inputs['img_2'][0, 3, 3] = float('nan')
        return inputs, labels, meta_info

config['train_dataset']['class'] = Holed
"""


@pytest.mark.parametrize(
    "stepping",
    ["{}", "{'non_finite': 'raise'}", "{'precision': 'float16'}"],
    ids=["log", "policy", "float16"],
)
def test_non_finite_input_is_named_with_its_datapoint(toy: Toy, stepping: str) -> None:
    path = configured(toy, stepping)
    path.write_text(path.read_text() + HOLE)
    with pytest.raises(TrainingError, match="epoch 0, step") as caught:
        run_again(path)
    assert "the loss is nan" in str(caught.value)
    assert "inputs['img_2'] of datapoint idx=7 (name=" in str(caught.value)
    assert "learning rate" not in str(caught.value)


def test_learning_rate_that_is_too_high_is_named_and_no_checkpoint_claimed(toy: Toy) -> None:
    sgd = "scheduler=None, optimizer={'class': torch.optim.SGD, 'args': {'lr': 1e30}}"
    with pytest.raises(TrainingError, match=r"epoch 0, step \d: the loss is (nan|inf)") as caught:
        run_again(configured(toy, "{}", sgd))
    assert not list(toy.work_dir.glob("epoch_*/*.pt"))
    assert "checkpoint" not in str(caught.value)
    assert "The inputs of this step are finite. Lower the learning rate" in str(caught.value)


def test_out_of_memory_is_explained_with_the_monitors_figures() -> None:
    class Monitor:
        def latest(self) -> "Monitor":
            return self

        def as_record(self) -> dict[str, Any]:
            return {"memory_used_bytes": 7, "cpu_percent": 3.0, "gpu_memory_used_bytes": None}

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nmore")
    assert is_out_of_memory(error)
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    for raised in (
        "CUDA error: out of memory", "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
    ):  # fmt: skip
        assert is_out_of_memory(RuntimeError(raised)), raised
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    said = str(out_of_memory(error, Monitor(), torch.device("cpu")))  # type: ignore[arg-type]
    assert "Tried to allocate 3 GiB\n" in said
    assert "memory_used_bytes 7." in said
    assert "batch_size" in said
    assert "none" in str(out_of_memory(MemoryError(), None, torch.device("cpu")))


def test_out_of_memory_in_a_step_is_a_message_with_its_fix(toy: Toy) -> None:
    path = toy.write()
    path.write_text(
        path.read_text()
        + "class Greedy(ToyCriterion):\n"
        + "    def forward(self, logits, target):\n"
        + "        return torch.empty(2**58).sum()\n"
        + "config['criterion']['class'] = Greedy\n"
    )
    with pytest.raises(TrainingError, match=r"(?s)Out of memory: .*batch_size"):
        run_again(path)
