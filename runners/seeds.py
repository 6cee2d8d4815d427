"""All seeds of a run, from one number or as the configuration lists them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seeds:
    """Every seed of a run, each 0 <= seed < 2**63.

    Attributes:
        init: of the model's initial weights.
        train: per epoch, of order, augmentation and everything random in training.
        val: per epoch, of the validation pass.
        test: of the test pass.
    """

    init: int
    train: Sequence[int]
    val: Sequence[int]
    test: int


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed for one purpose, from the one seed of a run.

    The first 31 bits of SHA-256 (FIPS 180-4) over 'seed/purpose/number': the same on every machine
    and version, and independent of how many epochs there are, so that a run can be made longer.

    Args:
        seed: the run's seed.
        purpose: 'init', 'train', 'val' or 'test'.
        number: the epoch.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def resolve_seeds(config: Mapping[str, Any]) -> Seeds:
    """The seeds of a checked configuration: those it lists, or all derived from its `seed`."""
    epochs = range(config.get("epochs", 0))
    if "seed" not in config:
        return Seeds(
            init=config["init_seed"],
            train=tuple(config.get("train_seeds", ())),
            val=tuple(config.get("val_seeds", ())),
            test=config["test_seed"],
        )
    seed: int = config["seed"]
    return Seeds(
        init=derive_seed(seed, "init"),
        train=tuple(derive_seed(seed, "train", epoch) for epoch in epochs),
        val=tuple(derive_seed(seed, "val", epoch) for epoch in epochs),
        test=derive_seed(seed, "test"),
    )


def with_recorded_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its one `seed` replaced by the seeds that follow from it."""
    if "seed" not in config:
        return dict(config)
    seeds = resolve_seeds(config)
    rest = {key: value for key, value in config.items() if key != "seed"}
    listed: dict[str, int | list[int]] = {"init_seed": seeds.init, "test_seed": seeds.test}
    if "epochs" in config:
        listed |= {"train_seeds": list(seeds.train), "val_seeds": list(seeds.val)}
    return {**rest, **listed}
