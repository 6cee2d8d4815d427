"""One optimizer step: accumulation, precision, clipping, averaging, and what a non-finite number means.

batches ── loss (autocast) ── backward ──> gradients ── finite? ── clip ──> optimizer ──> average (EMA)
                                                          └ no: dump, then skip or end
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm

from pylon.runners.config.contracts import check_learnable, checked_loss
from pylon.runners.config.optimizers import closure_problem, needs_closure
from pylon.runners.distributed import World, check_averaged, without_averaging
from pylon.runners.errors import ConfigError, TrainingError
from pylon.runners.randomness import RandomState
from pylon.runners.training.averaging import WeightAverage
from pylon.runners.training.evaluation import Batch, Task
from pylon.runners.training.non_finite import advice, non_finite_inputs
from pylon.runners.training.optimizing import forget_gradients
from pylon.runners.training.rank_means import average_buffers, average_gradients
from pylon.runners.training.step_options import Stepping
from pylon.runners.training.strict_backward import StrictBackward

logger = logging.getLogger(__name__)

# Writes what reproduces a step, if it must or there are few of them; returns which step, and the file.
Dump = Callable[[dict[str, Any], bool], str]


class NonFiniteError(TrainingError):
    """A loss or gradient is NaN or infinite; the weights are those from before the step."""


class Stepper:
    """Takes the steps of a run.

    Attributes:
        task: see below.

    Args:
        options: how.
        task: gives the loss of a batch.
        modules: the model, then everything else whose buffers a forward pass may change.
        replica: the model as `task` calls it.
        learnt: parameters that are trained besides the model's.
        optimizer: of the model's parameters and of these.
        average: takes in the weights after each step; None: no average.
        data: what the batches are of, for an error, as in 'train_dataset (Rows)'.
        random: the generators, noted before each step if a dump may need them.
        device: of the model.
        world: the ranks that take the steps together.
        deterministic: whether a resumed run must give the bits of one that was not interrupted.
    """

    def __init__(
        self,
        options: Stepping,
        *,
        task: Task,
        modules: Sequence[torch.nn.Module],
        replica: torch.nn.Module,
        learnt: Sequence[torch.nn.Parameter] = (),
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        data: str = "train_dataset",
        random: RandomState,
        device: torch.device,
        world: World,
        deterministic: bool = True,
    ) -> None:
        self._options = options
        self.task = task
        self._modules = modules
        self._replica = replica
        self._learnt = learnt
        self._trained = [*modules[0].parameters(), *learnt]
        self._optimizer = optimizer
        self._average = average
        self._data = data
        self._random = random
        self._device = device
        self._world = world
        scaled = options.precision == "float16"
        self._scaler = torch.amp.GradScaler(device.type) if scaled else None
        # After the last step, as far as it is known here: an accelerator is waited for to read it.
        self._scale: float | None = None
        self._skipped_in_a_row = 0
        # A backward pass that fails half-way cannot be repeated where ranks wait for each other's gradients.
        on_one_gpu = device.type != "cpu" and world.size == 1
        self._strict = StrictBackward(wanted=deterministic and on_one_gpu)
        self._by_closure = needs_closure(type(optimizer))
        if problem := closure_problem(type(optimizer), options.precision, options.non_finite):
            raise ConfigError("configuration", [problem])

    def step(self, batches: list[Batch], weight: float, dump: Dump, place: str) -> tuple[torch.Tensor, bool]:
        """Take one step.

        Args:
            batches: this rank's.
            weight: the share of each of them in the step's mean loss, 0..1.
            dump: writes what reproduces a step with a non-finite number; returns which step, and the file.
            place: which step, for an error.

        Returns:
            The mean loss of all ranks' batches, on its device, and whether the step was left out.

        Raises:
            NonFiniteError: the policy ends the run, or too many steps were left out; all is as before it.
            TrainingError: the ranks' gradients could not be averaged.
        """
        if self._by_closure:
            return self._step_by_closure(batches, weight), False
        before = self._before() if self._options.non_finite else None
        loss = self._gradients(batches, weight)
        average_buffers(self._world, self._modules, weight * len(batches))
        if self._scaler is not None:
            self._scaler.unscale_(self._optimizer)
        if before is not None and not self._is_finite(loss):
            self._leave_out(batches, weight, loss, before, dump)
            return loss, True
        self._clip()
        if not self._update_weights():
            self._count_overflow(batches, loss, place)
            return loss, True
        self._skipped_in_a_row = 0
        if self._average is not None:
            self._average.update(self._modules[0])
        return loss, False

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on besides model and optimizer."""
        scaler = None if self._scaler is None else self._scaler.state_dict()
        return {
            "scaler": scaler,
            "skipped_in_a_row": self._skipped_in_a_row,
            "backward": self._strict.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        if self._scaler is not None:
            self._scaler.load_state_dict(state_dict["scaler"])
            self._scale = None
        self._skipped_in_a_row = state_dict["skipped_in_a_row"]
        self._strict.load_state_dict(state_dict.get("backward", {"strict": True}))  # absent before 0.3

    def log_nothing(self) -> None:
        """Leave it to the run's own steps to name an operation that is not deterministic."""
        self._strict.logs = False

    def _gradients(self, batches: list[Batch], weight: float) -> torch.Tensor:
        """The gradients of all ranks' batches, and their mean loss."""
        losses: list[torch.Tensor] | None = None
        try:
            losses = self._losses(batches, weight)
        except RuntimeError as error:
            if not self._strict.gives_up(error):
                raise
        if losses is None:  # not before the error, and with it the memory of its step, is gone
            losses = self._losses(batches, weight)
        loss = self._world.add_up(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
        average_gradients(self._world, self._learnt)
        return loss

    def _losses(self, batches: list[Batch], weight: float) -> list[torch.Tensor]:
        """The loss of each batch; their gradients are added up."""
        forget_gradients(self._optimizer)
        return [
            self._backward(batch, weight, last=number == len(batches))
            for number, batch in enumerate(batches, start=1)
        ]

    def _step_by_closure(self, batches: list[Batch], weight: float) -> torch.Tensor:
        """Let the optimizer ask for loss and gradients as often as it needs; the loss of the first time."""
        losses: list[torch.Tensor] = []

        def evaluated() -> torch.Tensor:
            with torch.enable_grad():  # an optimizer's step is without
                losses.append(self._gradients(batches, weight))
            self._clip()
            return losses[-1]

        self._optimizer.step(evaluated)  # type: ignore[arg-type]  # a tensor of one value does, as torch shows it
        if not losses:
            name = type(self._optimizer).__name__
            raise TrainingError(f"optimizer: {name}.step has not called its closure, so it had no gradient.")
        average_buffers(self._world, self._modules, weight * len(batches))
        if self._average is not None:
            self._average.update(self._modules[0])
        return losses[0]

    def _clip(self) -> None:
        if self._options.clip_value is not None:
            clip_grad_value_(self._trained, self._options.clip_value)
        if self._options.clip_norm is not None:
            clip_grad_norm_(self._trained, self._options.clip_norm)

    def _backward(self, batch: Batch, weight: float, *, last: bool) -> torch.Tensor:
        # The ranks' gradients are averaged, and should be added up: each counts as many times more.
        factor = weight * self._world.size
        with without_averaging(self._replica, last=last):
            owner = f"{type(self.task).__name__}.training_loss"
            with self._autocast():
                loss = checked_loss(self.task.training_loss(batch), owner)
            check_learnable(loss, owner)
            share = loss if factor == 1 else loss * factor
            with self._strict.mode():
                (share if self._scaler is None else self._scaler.scale(share)).backward()  # type: ignore[no-untyped-call]
        if last and self._world.size > 1:
            check_averaged(self._replica)
        loss = loss.detach() if weight == 1 else loss.detach() * weight
        return self._own_memory(loss, last=last) if self._options.with_graphs else loss

    def _own_memory(self, loss: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Keep what the next run of the CUDA graphs would overwrite: the loss, and gradients to add to."""
        if not last:
            for parameter in self._trained:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()
        return loss.clone()

    def _update_weights(self) -> bool:
        """Let the optimizer take the step; whether it did."""
        if self._scaler is None:
            self._optimizer.step()
            return True
        scale = self._scaler.get_scale() if self._scale is None else self._scale
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._scale = self._scaler.get_scale()
        # The scale falls after a step in which a gradient overflowed, and after no other.
        return self._scale >= scale

    def _count_overflow(self, batches: list[Batch], loss: torch.Tensor, place: str) -> None:
        if not bool(torch.isfinite(loss)):
            # No scale makes it finite. Without a policy, the step was not looked at before.
            found = [name for names in self._world.gather(non_finite_inputs(batches)) for name in names]
            raise NonFiniteError(f"{place}: the loss is {float(loss)}. {advice(found, self._data)}")
        if self._skipped_in_a_row < self._options.skip_in_a_row:
            self._skipped_in_a_row += 1
            return
        scale = 0.0 if self._scaler is None else self._scaler.get_scale()
        raise NonFiniteError(
            f"{place}: float16 gradients are NaN or infinite, as in the {self._skipped_in_a_row} steps "
            f"before it, although the loss scale has fallen to {scale:g}; none of these steps has "
            "changed the weights. Use stepping.args.precision='bfloat16' or 'float32', shrink the loss, "
            "or allow more such steps (stepping.args.skip_in_a_row)."
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._options.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, getattr(torch, self._options.precision))

    def _is_finite(self, loss: torch.Tensor) -> bool:
        if not bool(torch.isfinite(loss)):
            return False
        if self._scaler is not None:
            return True  # an overflow of scaled gradients is found by the scaler, and expected
        gradients = [one.grad for one in self._trained if one.grad is not None]
        return bool(torch.isfinite(get_total_norm(gradients)))

    def _before(self) -> tuple[dict[str, Any], list[list[torch.Tensor]]]:
        buffers = [[buffer.clone() for buffer in module.buffers()] for module in self._modules]
        return self._random.state_dict(), buffers

    def _leave_out(
        self,
        batches: list[Batch],
        weight: float,
        loss: torch.Tensor,
        before: tuple[dict[str, Any], list[list[torch.Tensor]]],
        dump: Dump,
    ) -> None:
        generators, buffers = before
        # Running statistics have seen the bad batch, and one NaN in them would stay.
        with torch.no_grad():
            for module, values in zip(self._modules, buffers, strict=True):
                for buffer, value in zip(module.buffers(), values, strict=True):
                    buffer.copy_(value)
        forget_gradients(self._optimizer)
        if self._scaler is not None:
            self._scaler.update()
            self._scale = None
        seen: list[dict[str, Any]] = self._world.gather(
            {"batches": batches, "weight": weight, "random": generators}, others_as_text=True
        )
        leaves_out = self._options.non_finite == "skip"
        ends = not leaves_out or self._skipped_in_a_row >= self._options.skip_in_a_row
        place = dump({"ranks": seen, "modules": [one.state_dict() for one in self._modules]}, ends)
        found = non_finite_inputs(batch for rank in seen for batch in rank["batches"])
        if self._world.writes:
            cause = f". {advice(found, self._data)}" if found else ""
            logger.warning("a loss or gradient is NaN or infinite; what reproduces it: %s%s", place, cause)
        self._skipped_in_a_row += 1
        if not ends:
            return
        if not leaves_out:
            self._random.load_state_dict(generators)
            self._skipped_in_a_row -= 1
        what = "a gradient is NaN or infinite" if bool(torch.isfinite(loss)) else f"the loss is {float(loss)}"
        raise NonFiniteError(f"{place} reproduces a step in which {what}. {advice(found, self._data)}")


def replay(
    dump: dict[str, Any], task: Task, modules: Sequence[torch.nn.Module], random: RandomState
) -> float:
    """The loss of a dumped step, computed again.

    Args:
        dump: what torch.load gives for a file in `non_finite/`.
        task: made with these modules.
        modules: the model, then the criterion; their state becomes that of before the step.
        random: the generators, with those that these hold; so does theirs.
    """
    losses = []
    random.take_in({**dict(zip(("model", "criterion"), modules, strict=False)), "runner": task})
    for rank in dump["ranks"]:
        for module, state in zip(modules, dump["modules"], strict=True):
            module.load_state_dict(state)
            module.train()
        random.load_state_dict(rank["random"])
        losses += [task.training_loss(batch).detach() * rank["weight"] for batch in rank["batches"]]
    return float(torch.stack(losses).sum())
