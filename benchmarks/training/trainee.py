"""A training process that is not Pylon's: `python -m benchmarks.training.trainee NAME CONFIG ...`."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from benchmarks.training import loops
from benchmarks.training.workloads import PlainPairs, SmallPairs
from pylon.data import collate
from pylon.data.sampler import EpochSampler
from pylon.runners.config import build, load_config
from pylon.runners.randomness import seed_all
from pylon.runners.seeds import resolve_seeds

_LOOPS = {
    "hand-written": loops.hand_written,
    "Pylon's data": loops.hand_written,
    "accelerate": loops.accelerate,
    "lightning": loops.lightning,
    "saved by hand": loops.saved_by_hand,
    "skipped by hand": loops.skipped_by_hand,
}


def parts_of(config: dict[str, Any], steps: int, folder: Path, *, own_data: bool) -> loops.Parts:
    """The parts that Pylon builds from this configuration, with the weights and the order of its first epoch.

    Args:
        config: a training configuration.
        steps: how many steps are taken.
        folder: where logs go.
        own_data: take Pylon's loader and dataset where torch's own give the same batches.
    """
    seeds = resolve_seeds(config)
    seed_all(seeds.init)
    model, criterion = build(config["model"]), build(config["criterion"])
    loader = _loader(config, seeds.train[0], own_data=own_data)
    seed_all(seeds.train[0])
    return loops.Parts(
        model, criterion, lambda weights: build(config["optimizer"], params=weights), loader, steps, folder
    )


def _loader(config: dict[str, Any], seed: int, *, own_data: bool) -> "DataLoader[loops.Batch]":
    dataset, args = build(config["train_dataset"]), config["train_dataloader"]["args"]
    if own_data:
        loader = build(config["train_dataloader"], dataset=dataset)
        loader.set_epoch_seed(seed)
        return loader
    sampler = EpochSampler(len(dataset), shuffle=args["shuffle"])
    sampler.set_epoch_seed(seed)
    common = {name: args[name] for name in ("batch_size", "drop_last", "num_workers") if name in args}
    if isinstance(dataset, SmallPairs):
        return DataLoader(PlainPairs(dataset), sampler=[one.index for one in sampler], **common)
    # Augmentation follows from the seed in the index: these datapoints only Pylon's dataset gives.
    return DataLoader(dataset, sampler=list(sampler), collate_fn=collate, **common)


def main(arguments: list[str] | None = None) -> int:
    """Train."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.trainee", description=__doc__)
    parser.add_argument("name", choices=_LOOPS)
    parser.add_argument("config", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("number", type=int, nargs="?", help="steps between saves, or steps to skip")
    options = parser.parse_args(arguments)
    loop = _LOOPS[options.name]
    if options.number is not None:
        loop = partial(loop, **{"done" if loop is loops.skipped_by_hand else "every_steps": options.number})
    own_data = options.name == "Pylon's data"
    loop(parts_of(load_config(options.config), options.steps, options.folder, own_data=own_data))
    return 0


if __name__ == "__main__":
    main()
