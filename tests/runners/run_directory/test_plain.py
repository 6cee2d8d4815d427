"""What a run saves can be read back: NumPy's numbers as Python's, anything else refused before a step."""

import io
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.runners.errors import TrainingError
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers

NUMPY_COSINE = "scheduler={'class': NumPyCosine, 'args': {}}"
NUMPY_METRIC = (
    "metric={'class': NumPyMetric, 'args': {'num_classes': 2, 'class_names': ['unchanged', 'changed']}}"
)
EARLY = (
    "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', 'log_every_steps': 2, "
    "'early_stopping': {'class': EarlyStopping, 'args': {'patience': 9}}}}"
)


class Part:
    """A part of a run with a given state."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Unpicklable:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("it does not want to")


def written_and_read(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(checkpoint.content_of({"part": Part(state)}, Progress()), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)["parts"]["part"]["state"]


@pytest.mark.slow
@pytest.mark.parametrize("changes", [NUMPY_COSINE, f"{NUMPY_METRIC}, {EARLY}"], ids=["scheduler", "metric"])
def test_run_with_numbers_of_numpy_resumes_to_the_same_bits(
    make_toy: Callable[[str], Toy], changes: str
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(changes)
    with pytest.raises(TrainingError):
        stopped.run(f"{failing(7, 'raise')}, {changes}")
    assert (stopped.work_dir / "epoch_1" / "checkpoint.pt").exists()
    let_it_go_on(stopped)
    stopped.run(changes)
    assert "after 2 finished epochs" in (stopped.work_dir / "train.log").read_text()
    assert not list(stopped.work_dir.glob("epoch_*/*.damaged"))
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_state_that_cannot_be_read_back_ends_the_run_before_its_first_step(toy: Toy) -> None:
    with pytest.raises(TrainingError, match=r"\(CountingCriterion\).*_extra_state\.counts\.0 of type numpy"):
        toy.run("criterion={'class': CountingCriterion, 'args': {}}")
    assert json.loads((toy.work_dir / "state.json").read_text())["state"] == "failed"
    assert not list(toy.work_dir.glob("epoch_*"))
    assert not (toy.work_dir / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.arange(3), "numpy.ndarray"),
        (np.float32(0.1), "numpy.float32"),
        (Path("a"), "pathlib"),
        (frozenset({1}), "builtins.frozenset"),
        (range(3), "builtins.range"),
        (lambda: 1, "builtins.function"),
        (io.StringIO(), "_io.StringIO"),
        (Unpicklable(), "Unpicklable"),
    ],
)
def test_what_cannot_be_read_back_is_refused_with_its_owner_key_path_and_type(value: Any, kind: str) -> None:
    with pytest.raises(TrainingError) as raised:
        checkpoint.content_of({"scheduler": Part({"a": [1, (2, value)], "b": 3})}, Progress())
    assert "scheduler (Part): its state holds scheduler.state.a.1.1 of type" in str(raised.value)
    assert kind in str(raised.value)
    assert "leave it out of its state_dict()" in str(raised.value)


def test_state_that_refers_to_itself_is_refused() -> None:
    state: list[Any] = []
    state.append(state)
    with pytest.raises(TrainingError, match=r"scheduler \(Part\): .*refers to itself"):
        checkpoint.content_of({"scheduler": Part(state)}, Progress())


def test_numbers_of_numpy_become_pythons_with_the_same_bits() -> None:
    number = np.float64(0.1) * 3
    state = {"a": [number, (np.int64(2), np.bool_(True))], np.str_("b"): Counter({np.int64(3): 1})}
    back = written_and_read(state)
    assert back == {"a": [0.1 * 3, (2, True)], "b": Counter({3: 1})}
    assert [type(back["a"][0]), type(back["a"][1][0]), type(back["a"][1][1])] == [float, int, bool]
    assert type(state["a"][0]) is np.float64, "the part's own state stays as it was"


def test_versions_of_a_module_travel_with_a_state_that_is_converted() -> None:
    state = OrderedDict({"w": torch.ones(2), "_extra_state": np.float64(2.0)})
    state._metadata = {"": {"version": 7}}  # type: ignore[attr-defined]
    back = written_and_read(state)
    assert list(back) == ["w", "_extra_state"]
    assert back._metadata == {"": {"version": 7}}
    assert type(back["_extra_state"]) is float


def test_state_without_numpy_is_not_copied() -> None:
    state = {"a": [1.0, torch.ones(2)], "b": OrderedDict({"c": (1, 2)})}
    content = checkpoint.content_of({"part": Part(state)}, Progress())
    assert content["parts"]["part"]["state"] is state


def test_checking_the_state_of_a_model_of_30_mb_takes_under_a_fifth_of_a_second() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(280, 280) for _ in range(100)))
    parts = {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}
    checkpoint.content_of(parts, Progress())
    started = time.perf_counter()
    checkpoint.content_of(parts, Progress())
    assert time.perf_counter() - started < 0.2
