"""An optimizer keeps its state by the place of each parameter: a model in another order is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress


def parts_of(*names: str) -> dict[str, Any]:
    """As a model has that iterates over a set of text; with the momentum of one step."""
    model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in names})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for number, name in enumerate(sorted(names)):
        for parameter in model[name].parameters():
            parameter.grad = torch.full_like(parameter, float(number))
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


def saved(path: Path, parts: dict[str, Any]) -> Path:
    checkpoint.write(path, checkpoint.content_of(parts, Progress(epoch=1)))
    return path


def test_model_with_its_parameters_in_another_order_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint.pt", parts_of("a", "b"))
    with pytest.raises(RunDirectoryError) as raised:
        checkpoint.load(path, parts_of("b", "a"))
    assert "model: has the same parameters in another order: 'b.weight' is where 'a.weight' was" in str(
        raised.value
    )
    assert str(raised.value).endswith("use a list): a.weight, b.weight.")
    checkpoint.load(path, parts_of("a", "b"))


def test_weights_alone_are_loaded_in_any_order(tmp_path: Path) -> None:
    parts = parts_of("a", "b")
    other = {"model": parts_of("b", "a")["model"]}
    checkpoint.load(saved(tmp_path / "checkpoint.pt", parts), other)
    assert torch.equal(other["model"]["a"].weight, parts["model"]["a"].weight)


def test_other_parameters_are_named_as_before(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint.pt", parts_of("a", "b"))
    with pytest.raises(RunDirectoryError, match=r'Missing key\(s\) in state_dict: "c.weight"'):
        checkpoint.load(path, parts_of("a", "c"))
