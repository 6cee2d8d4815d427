"""What every rank must have alike, as numbers are added up by their place: parameters and datapoints."""

import torch

from pylon.runners.distributed import World
from pylon.runners.errors import TrainingError

_FIX = (
    "Make them in one order in each process: a set of text has another order in each one, and so may a "
    "folder's listing on each machine. Use a list, or sorted()."
)


def refuse_other_parameters(world: World, key: str, module: torch.nn.Module) -> None:
    """Raise TrainingError on all ranks if one of them has other parameters or buffers, or another order.

    Gradients are averaged, and weights and buffers sent, by place: each would go to another one.
    """
    if world.size == 1:
        return
    named = [*module.named_parameters(), *module.named_buffers()]
    of_ranks = world.gather([f"{name} {tuple(one.shape)}" for name, one in named])
    for rank, names in enumerate(of_ranks):
        if names != of_ranks[0]:
            pairs = zip([*names, "none"], [*of_ranks[0], "none"], strict=False)
            other, first = next(pair for pair in pairs if pair[0] != pair[1])
            raise TrainingError(f"{key}: rank {rank} has {other} where rank 0 has {first}. {_FIX}")


def refuse_other_datapoints(world: World, key: str, fingerprint: str) -> None:
    """Raise TrainingError on all ranks if the dataset of one of them lists other datapoints.

    Ranks share the batches by number: some datapoints would be used twice, others never.
    """
    if world.size == 1:
        return
    of_ranks = world.gather(fingerprint)
    for rank, other in enumerate(of_ranks):
        if other != of_ranks[0]:
            raise TrainingError(f"{key}: rank {rank} has {other}, and rank 0 has {of_ranks[0]}. {_FIX}")
