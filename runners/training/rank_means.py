"""What each rank has computed from its own batches, made the same on all ranks."""

from collections.abc import Sequence

import torch

from pylon.runners.distributed import World


def average_buffers(world: World, modules: Sequence[torch.nn.Module], share: float) -> None:
    """Let running statistics be those of all ranks' batches, and counters the first rank's, everywhere.

    Args:
        world: the ranks; each must call at the same time.
        modules: whose buffers.
        share: of this rank's batches in the step, 0..1.
    """
    if world.size == 1:
        return
    buffers = [
        buffer
        for module in modules
        for buffer in module.buffers()
        if buffer.numel() and not buffer.is_complex()
    ]
    if not buffers:
        return
    first = float(world.writes)
    # float64 holds counters exactly. Zeros of their own: 0 times a NaN would be NaN.
    parts = [
        buffer.detach().flatten().double() * weight if weight else buffer.new_zeros(buffer.numel()).double()
        for buffer in buffers
        for weight in [share if buffer.is_floating_point() else first]
    ]
    flat = world.add_up(torch.cat(parts))
    means = torch.split(flat, [one.numel() for one in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean.view_as(buffer))


def same_on_all(world: World, parameters: Sequence[torch.nn.Parameter]) -> None:
    """Give every rank the first rank's values."""
    if world.size == 1:
        return
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(world.add_up(parameter if world.writes else torch.zeros_like(parameter)))


def average_gradients(world: World, parameters: Sequence[torch.nn.Parameter]) -> None:
    """Let gradients be the mean over all ranks; one that no rank has stays absent, as in one process.

    Args:
        world: the ranks; each must call at the same time.
        parameters: whose gradients; none of them in a replica, which averages its own.
    """
    if world.size == 1 or not parameters:
        return
    gradients = [one.grad if one.grad is not None else torch.zeros_like(one) for one in parameters]
    present = [one.new_tensor([float(one.grad is not None)]).double() for one in parameters]
    flat = world.add_up(torch.cat([*(one.flatten().double() for one in gradients), *present]))
    counts = flat[-len(parameters) :].tolist()
    sums = torch.split(flat[: -len(parameters)], [one.numel() for one in parameters])
    for parameter, total, count in zip(parameters, sums, counts, strict=True):
        mean = (total / world.size).view_as(parameter).to(parameter.dtype)
        parameter.grad = mean if count else None
