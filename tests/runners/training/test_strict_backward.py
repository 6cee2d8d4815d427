"""Backward passes by deterministic kernels where there are some, and what an operation without one means."""

import json
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pylon.runners.randomness import deterministic_kernels
from pylon.runners.training import parts
from pylon.runners.training.strict_backward import StrictBackward
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.runners.toy import ToyModel

ERROR = (
    "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True)'."
)


def warns_only() -> bool:
    return torch.is_deterministic_algorithms_warn_only_enabled()


def test_mode_is_strict_around_a_backward_pass_alone() -> None:
    strict = StrictBackward(wanted=True)
    with deterministic_kernels(True):
        with strict.mode():
            assert not warns_only()
        assert warns_only()
        with pytest.raises(ValueError, match="as before"), strict.mode():
            raise ValueError("as before")
        assert warns_only()


@pytest.mark.parametrize(("wanted", "deterministic"), [(False, True), (True, False)])
def test_mode_changes_nothing_if_it_is_not_wanted_or_determinism_is_not(
    wanted: bool, deterministic: bool
) -> None:
    with deterministic_kernels(deterministic):
        before = warns_only()
        with StrictBackward(wanted=wanted).mode():
            assert warns_only() == before
            assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_other_errors_are_none_of_it() -> None:
    strict = StrictBackward(wanted=True)
    assert not strict.gives_up(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert strict.state_dict() == {"strict": True}


def test_operation_without_a_deterministic_kernel_ends_the_mode_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strict = StrictBackward(wanted=True)
    with caplog.at_level(logging.WARNING):
        assert strict.gives_up(RuntimeError(ERROR))
    assert "upsample_bilinear2d_backward_out_cuda has no deterministic kernel" in caplog.text
    assert not strict.gives_up(RuntimeError(ERROR))
    with deterministic_kernels(True), strict.mode():
        assert warns_only()
    resumed = StrictBackward(wanted=True)
    resumed.load_state_dict(strict.state_dict())
    assert not resumed.gives_up(RuntimeError(ERROR))


class Unrepeatable(torch.autograd.Function):
    """What torch does on CUDA where an operation has no deterministic kernel."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, held: "Kept | None") -> torch.Tensor:
        ctx.held = held
        return features.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        if torch.are_deterministic_algorithms_enabled() and not warns_only():
            raise RuntimeError(ERROR)
        return gradient, None


class Kept:
    """What an operation keeps for its backward pass."""


@pytest.fixture
def unrepeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps on the CPU are strict as those on a GPU are, and the model's are unrepeatable."""
    plain = ToyModel.forward

    kept: list[weakref.ref[Kept]] = []

    def forward(self: ToyModel, *args: Any, **kwargs: Any) -> torch.Tensor:
        assert not any(one() is not None for one in kept), "the memory of a former step is still taken"
        logits: torch.Tensor = plain(self, *args, **kwargs)
        held = Kept()
        kept.append(weakref.ref(held))
        return Unrepeatable.apply(logits, held if self.training else None)

    monkeypatch.setattr(ToyModel, "forward", forward)
    steps = parts.Stepper

    def strict(*args: Any, deterministic: bool, **kwargs: Any) -> parts.Stepper:
        made = steps(*args, deterministic=deterministic, **kwargs)
        made._strict = StrictBackward(wanted=deterministic)
        return made

    monkeypatch.setattr(parts, "Stepper", strict)


@pytest.mark.usefixtures("unrepeatable")
def test_step_that_is_not_repeatable_is_taken_all_the_same(toy: Toy) -> None:
    run_again(toy.write(""))
    lines = (toy.work_dir / "metrics.jsonl").read_text().splitlines()
    assert lines
    assert all(math.isfinite(json.loads(line)["loss"]) for line in lines)
    assert (toy.work_dir / "train.log").read_text().count("has no deterministic kernel") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("unrepeatable")
def test_run_that_redid_a_step_resumes_to_the_same_bits(make_toy: Callable[[str], Toy]) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run_again(whole.write(""))
    with pytest.raises(Exception, match="SIGTERM"):
        run_again(stopped.write(failing(8, "SIGTERM")))
    let_it_go_on(stopped)
    run_again(stopped.write(""))
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert (stopped.work_dir / "train.log").read_text().count("has no deterministic kernel") == 1
