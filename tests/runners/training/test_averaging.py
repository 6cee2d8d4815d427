"""The average of a model whose weights have few bits."""

import pytest
import torch
from torch import nn

from pylon.runners.training.averaging import WeightAverage


def average_of(model: nn.Module) -> WeightAverage:
    return WeightAverage(model, 0.999, evaluated=True, build=lambda: model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_average_of_rounded_weights_moves_also_after_a_resume(dtype: torch.dtype) -> None:
    model = nn.Linear(1, 1, bias=False).to(dtype)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average, expected = average_of(model), 1.0
    with torch.no_grad():
        model.weight.fill_(2.0)  # a step of 0.001 is less than half of the distance to the next number
    for step in range(400):
        average.update(model)
        expected += (2.0 - expected) * 0.001
        if step % 100 == 50:  # as a launch that resumes does
            state, average = average.state_dict(), average_of(model)
            average.load_state_dict(state)
    assert average.model.weight.dtype == dtype
    assert float(average.model.weight) == pytest.approx(expected, rel=0.005)


def test_weights_that_are_loaded_before_the_first_step_are_where_the_average_begins() -> None:
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    average = average_of(model)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.model.load_state_dict(model.state_dict())
    average.update(model)
    assert float(average.model.weight) == 3.0
