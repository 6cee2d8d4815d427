"""What Pylon's loader costs for a datapoint, next to torch's on the same dataset."""

import importlib
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pylon.data import DataLoader

_ROUNDS = 7
_DATAPOINTS = 512


def seconds_per_datapoint(name: str) -> tuple[float, float]:
    """CPU time of this process for a datapoint, by torch's loader and by Pylon's; medians of turns.

    Args:
        name: of the example.
    """
    config = importlib.import_module(f"pylon.configs.examples.{name}").config
    made, given = config["train_dataset"], config["train_dataloader"]["args"]
    dataset = made["class"](**{**made["args"], "count": _DATAPOINTS})
    how = {name: value for name, value in given.items() if name in {"batch_size", "shuffle", "collate_fn"}}
    by_torch: Any = torch.utils.data.DataLoader(dataset, **how)
    by_pylon = DataLoader(dataset, **how)

    def epoch_of_pylon() -> Iterable[Any]:
        by_pylon.set_epoch_seed(1)
        return by_pylon

    turns = [(_measured(lambda: by_torch), _measured(epoch_of_pylon)) for _ in range(_ROUNDS)]
    return statistics.median(one for one, _ in turns), statistics.median(other for _, other in turns)


def _measured(epoch: Callable[[], Iterable[Any]]) -> float:
    begun_s = time.process_time()
    for _ in epoch():
        pass
    return (time.process_time() - begun_s) / _DATAPOINTS
