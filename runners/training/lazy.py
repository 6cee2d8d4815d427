"""Lazy layers (torch.nn.LazyLinear and the like): one batch gives them their shapes before a training."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from pylon.runners.errors import TrainingError
from pylon.runners.training.evaluation import Batch, Task

_NAMED = 5


def initialise_lazy(
    modules: Sequence[torch.nn.Module], make_task: Callable[[], Task], first_batch: Callable[[], Batch]
) -> None:
    """Let the lazy layers see one batch; nothing happens if there are none.

    It is predicted in evaluation mode, which changes no running statistics and draws no random numbers but
    the layers' first values. If a layer is used in training alone, a loss is computed too.

    Args:
        modules: the model, then the criterion.
        make_task: gives the task that uses them.
        first_batch: gives a batch, the same one on every rank and in every launch.

    Raises:
        TrainingError: a layer is used by neither.
    """
    lazy = [one for module in modules for one in module.modules() if isinstance(one, LazyModuleMixin)]
    if not lazy:
        return
    batch, task, was_training = first_batch(), make_task(), [module.training for module in modules]
    for module in modules:
        module.eval()
    task.predict(batch)
    for module, training in zip(modules, was_training, strict=True):
        module.train(training)
    if _uninitialised(modules):
        _train_once(modules, task, batch, lazy)
    if left := _uninitialised(modules):
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        raise TrainingError(
            f"lazy layers have no shape yet after predict() and training_loss() of {type(task).__name__}: "
            f"{', '.join(left[:_NAMED])}{more}. Use them there, or give their sizes in the constructor."
        )


def _train_once(
    modules: Sequence[torch.nn.Module], task: Task, batch: Batch, lazy: Sequence[torch.nn.Module]
) -> None:
    """Compute a loss, and leave running statistics as they were."""
    kept = [(one, one.clone()) for module in modules for one in module.buffers() if not is_lazy(one)]
    task.training_loss(batch)
    with torch.no_grad():
        for buffer, value in kept:
            buffer.copy_(value)
    for layer in lazy:
        if isinstance(layer, torch.nn.modules.batchnorm._NormBase):
            layer.reset_running_stats()


def _uninitialised(modules: Sequence[torch.nn.Module]) -> list[str]:
    return [
        f"{type(module).__name__}.{name}"
        for module in modules
        for name, value in itertools.chain(module.named_parameters(), module.named_buffers())
        if is_lazy(value)
    ]
