"""The keys of a configuration, which the runners' classes and the check before torch's import share."""

import difflib
from collections.abc import Sequence

from pylon.runners.errors import ConfigProblem

# They take the place of `seed`.
SEED_KEYS = ("init_seed", "train_seeds", "val_seeds", "test_seed")
COMMON_KEYS = frozenset({"runner", "work_dir", "seed", *SEED_KEYS})

TRAINER_KEYS = frozenset(
    {"epochs", "criterion", "optimizer", "train_dataset", "train_dataloader", "val_dataset", "val_dataloader"}
    | {"model", "metric"}
)
# They must be named, and may be None.
NULLABLE_KEYS = frozenset({"criterion"})
OPTIONAL_TRAINER_KEYS = frozenset({"scheduler", "test_dataset", "test_dataloader", "monitor", "loggers"})

EVALUATOR_KEYS = frozenset({"model", "metric", "test_dataset", "test_dataloader"})
OPTIONAL_EVALUATOR_KEYS = frozenset({"monitor", "loggers"})


def unknown_name(owner: str, name: str, accepted: Sequence[str]) -> str:
    """The advice for a name that `owner` does not take: the nearest right one, else all of them."""
    near = difflib.get_close_matches(name, accepted, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(sorted(accepted))}"
    return f"{owner} does not take it; {hint}"


def absent_name(owner: str, name: str, present: Sequence[str]) -> str:
    """The advice for a name that `owner` does not have: the nearest one that it has, else all of them."""
    near = difflib.get_close_matches(name, present, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {sorted(present)}"
    return f"{owner} has no {name!r}; {hint}"


def split_override(override: str) -> tuple[str, str] | None:
    """The key path and the text of the value of KEY.PATH=VALUE; None if it has not this form."""
    key_path, equals, text = override.partition("=")
    return (key_path, text) if equals and key_path else None


def malformed_override(override: str) -> ConfigProblem:
    """The problem of an override that `split_override` cannot split."""
    return ConfigProblem("--set", repr(override), "expected KEY.PATH=VALUE")
