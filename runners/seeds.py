"""All seeds of a run, from one number or as the configuration lists them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pylon.runners.keys import SEED_KEYS


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
    """The configuration with the seeds that follow from its one `seed`, next to that."""
    if "seed" not in config:
        return dict(config)
    return {**_without_lists(config), **_following(config)}


def without_recorded_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without the seeds that follow from its `seed`: only what a person wrote."""
    follow = "seed" in config and all(
        config.get(key, value) == value for key, value in _following(config).items()
    )
    return _without_lists(config) if follow else dict(config)


def with_seed_of(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the `seed` of another one in place of the seeds that it lists, for a comparison.

    If they do not follow from that, a text takes its place. Run directories of version 0.2 list all seeds,
    and not the one that they follow from.
    """
    if "seed" not in other or "seed" in config or not any(key in config for key in SEED_KEYS):
        return dict(config)
    following = _following({**config, "seed": other["seed"]})
    same = all(config.get(key) == value for key, value in following.items())
    another = f"(seeds listed one by one, init_seed {config.get('init_seed')})"
    return {**_without_lists(config), "seed": other["seed"] if same else another}


def _following(config: Mapping[str, Any]) -> dict[str, Any]:
    """The seeds that follow from `seed`, as a configuration lists them."""
    epochs = config.get("epochs", 0)
    if type(epochs) is not int:
        return {}  # such as in a file that was edited; the check reports it
    seeds = resolve_seeds({"seed": config["seed"], "epochs": epochs})
    listed: dict[str, Any] = {"init_seed": seeds.init, "test_seed": seeds.test}
    if "epochs" in config:
        listed |= {"train_seeds": list(seeds.train), "val_seeds": list(seeds.val)}
    return listed


def _without_lists(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in SEED_KEYS}
