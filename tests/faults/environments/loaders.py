"""A training script with DataLoader workers that were forked while monitors ran."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch
from torch.utils.data import DataLoader, Dataset

from tests.faults.environments.common import descriptors, hold, newer, ready, say, watch


class Watched(Dataset):  # type: ignore[type-arg]
    """Holds the monitor, and looks at it in the worker."""

    def __init__(self, monitor: object) -> None:
        self.monitor = monitor
        self.told = False

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> torch.Tensor:
        if not self.told:
            self.told = True
            state = self.monitor.health()["CPUMonitor"].state.value
            sequence = self.monitor.latest().sequence
            self.monitor.stop()
            say("worker", state=state, sequence=sequence, pipes=sorted(descriptors().values()))
        time.sleep(0.002)
        return torch.tensor(index)


def main() -> None:
    before = set(descriptors().values())
    monitor = watch()
    ready(monitor)
    ours = {one for one in descriptors().values() if one.startswith("pipe:")} - before
    loader = DataLoader(
        Watched(monitor), 4, num_workers=2, persistent_workers=True, multiprocessing_context="fork"
    )
    batches = iter(loader)
    next(batches)
    newer(monitor)
    say("training", ours=sorted(ours), workers=[one.pid for one in loader._iterator._workers])  # type: ignore[union-attr]
    hold()
    # In the middle of an epoch: the workers are busy, and alive.
    next(batches)
    if sys.argv[1] == "stopped":
        monitor.stop()
    if sys.argv[1] == "os._exit":
        os._exit(4)


if __name__ == "__main__":
    main()
