"""The ranks of a run: what they do together, and what only one of them does.

One process is the usual run: every method below then acts for a world of one, and costs nothing.
`ProcessGroupWorld` is the same for the ranks that torchrun started.
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar

import torch

from pylon.runners.errors import TrainingError

T = TypeVar("T")


class World:
    """The only rank of a run.

    Attributes:
        rank: number of this process among all, 0 <= rank < size.
        local_rank: its number on its machine.
        size: how many there are.
        machines: how many machines they are on.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    machines: int = 1

    @property
    def writes(self) -> bool:
        """Whether this rank is the one that writes the run's files."""
        return self.rank == 0

    @property
    def watches(self) -> bool:
        """Whether this rank is the one of its machine that starts the monitor."""
        return self.local_rank == 0

    def on_writer(self, action: Callable[[], T]) -> T:
        """Do `action` on the writing rank and return its result on all; what it raises ends all.

        Args:
            action: its result is of what `wire` sends: plain values, paths and tensors.
        """
        return action()

    def together(self, action: Callable[[], T]) -> T:
        """Do `action` on each rank and return each its own result; what one of them raises ends all."""
        return action()

    def gather(self, value: T, *, others_as_text: bool = False) -> list[T]:
        """Each rank's value, in order, on all.

        Args:
            value: of what `wire` sends: plain values, paths and tensors, which arrive on the CPU.
            others_as_text: send the text of what cannot be sent itself.
        """
        del others_as_text
        return [value]

    def maximum(self, values: list[int]) -> list[int]:
        """The largest of all ranks' values, place by place."""
        return values

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of all ranks' tensors, the same bits on all, in place."""
        return tensor

    def replicate(self, model: torch.nn.Module, *, find_unused_parameters: bool) -> torch.nn.Module:
        """The model as it is trained: its gradients become the mean over all ranks in the backward pass."""
        del find_unused_parameters
        return model

    def explain(self, error: BaseException) -> BaseException:
        """The cause of an error: a PeerLostError if it comes from another rank's end."""
        return error

    def report(self, error: BaseException) -> None:
        """Report to the other ranks why this one ends, for their own errors, and leave them."""

    def is_reported_by_writer(self, error: BaseException) -> bool:
        """Whether the writing rank reports to the user what ended this one."""
        del error
        return False

    def close(self) -> None:
        """Leave the other ranks."""


def without_averaging(replica: torch.nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """The context of one of several backward passes of a step: only the last one averages gradients."""
    if last or not isinstance(replica, torch.nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = replica.no_sync()
    return context


def check_averaged(replica: torch.nn.Module) -> None:
    """Make sure, after a step's last backward pass, that every rank's gradients have become their mean.

    torch itself looks for it in the next forward pass only, when the step is taken and perhaps saved; and
    if another rank waits for the gradients that are missing here, the two would never meet again.

    Raises:
        TrainingError: parameters of the model got no gradient, for which the run is not configured.
    """
    if not isinstance(replica, torch.nn.parallel.DistributedDataParallel):
        return
    try:
        replica._check_reducer_finalized()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        parameters = replica.module.named_parameters()
        unused = [name for name, one in parameters if one.requires_grad and one.grad is None]
        names = ", ".join(unused[:10]) + (", ..." if len(unused) > 10 else "")
        raise TrainingError(
            f"model: {names or 'some parameters'} got no "
            "gradient in a step, so the ranks' gradients could not be averaged. If that is as it should be, "
            "give Stepping find_unused_parameters=True; else let the loss depend on all of the model."
        ) from error
