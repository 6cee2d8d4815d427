"""The two benchmarks as functions of model and run, so that their files hold no more than that."""

from typing import Any

from pylon.configs.common.change_detection import AIR_CHANGE_WEIGHTS, change_detection
from pylon.configs.common.datasets import air_change, dataset_root, levir_cd, loaders

Node = dict[str, Any]

# Run k of every model has the same seed, so that models are compared on the same crops.
_SEEDS = (20230801, 20230802, 20230803)


def air_change_run(model: type, run: int) -> Node:
    """Run `run` of `model` on AirChange: crops of 112 pixels, the test area on tiles of the same size.

    HANet's attention looks along whole rows and columns, so it is tested at the length it was trained at.
    """
    return change_detection(
        work_dir=f"logs/change_detection/air_change/{model.__name__}_run_{run}",
        seed=_SEEDS[run],
        model={"class": model, "args": {}},
        data=air_change(dataset_root("air_change")) | loaders(batch_size=4),
        class_weights=AIR_CHANGE_WEIGHTS,
        tile_size=112,
        tile_overlap=32,
    )


def levir_cd_run(model: type, run: int) -> Node:
    """Run `run` of `model` on LEVIR-CD: random crops of 256 pixels, whole images on tiles of 256."""
    return change_detection(
        work_dir=f"logs/change_detection/levir_cd/{model.__name__}_run_{run}",
        seed=_SEEDS[run],
        model={"class": model, "args": {}},
        data=levir_cd(dataset_root("levir_cd")) | loaders(batch_size=8),
        tile_size=256,
        tile_overlap=64,
    )
