"""Everything that can be checked before anything is built: all problems of a configuration at once."""

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch.utils.data import IterableDataset

from pylon.data import DataLoader, why_not_map_style
from pylon.metrics import BaseMetric, is_of_torchmetrics
from pylon.runners.config.groups import named_argument
from pylon.runners.config.loggers import logger_problems
from pylon.runners.config.node import children, is_named_function, why_not_found
from pylon.runners.config.schedules import is_schedule
from pylon.runners.config.signatures import argument_problems, shown
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.keys import COMMON_KEYS, NULLABLE_KEYS, SEED_KEYS, unknown_name

# What the runner gives to a class besides its configured arguments, by top-level key.
_INJECTED = {
    "runner": frozenset({"context"}),
    "scheduler": frozenset({"optimizer"}),
    **{f"{split}_dataloader": frozenset({"dataset"}) for split in ("train", "val", "test")},
}
# What the runner takes each of them for, by top-level key.
_BASES: dict[str, type] = {
    "model": torch.nn.Module,
    "criterion": torch.nn.Module,
    "metric": BaseMetric,
    "optimizer": torch.optim.Optimizer,
    **{f"{split}_dataloader": DataLoader for split in ("train", "val", "test")},
}
_DATASETS = frozenset({"train_dataset", "val_dataset", "test_dataset"})
# Exactly these: `config.json` would give back an enumeration's member, say, as a plain number.
_PLAIN = frozenset({type(None), bool, int, str})
_SEED_LIMIT = 2**63


def check_config(config: dict[str, Any], source: Path | str) -> None:
    """Find everything that is wrong with a loaded configuration, without building anything.

    Args:
        config: as loaded, overrides done.
        source: the file, for the error.

    Raises:
        ConfigError: with every problem: its key path, the value seen, what was expected.
    """
    problems = list(problems_of(config))
    if problems:
        raise ConfigError(source, problems)


def problems_of(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    """Everything that is wrong with a loaded configuration."""
    for key in ("runner", "work_dir"):
        if key not in config:
            yield ConfigProblem(key, None, "is missing; every configuration needs it")
    required, optional = _keys_of(config)
    yield from _key_problems(config, required, optional)
    if "work_dir" in config and not _is_directory_name(config["work_dir"]):
        yield ConfigProblem(
            "work_dir", shown(config["work_dir"]), "expected the path of a directory, ending in its name"
        )
    if "epochs" in config and not _is_int(config["epochs"], 1, _SEED_LIMIT):
        yield ConfigProblem("epochs", shown(config["epochs"]), "expected a whole number from 1 on")
    yield from _seed_problems(config, per_epoch="epochs" in required)
    for key, value in config.items():
        if key in {"work_dir", "epochs", "seed", *SEED_KEYS}:
            continue
        if value is None and key in optional | NULLABLE_KEYS:
            continue
        if key == "loggers":
            yield from _logger_problems(config)
            continue
        # What else would be expected of a key that is not taken is no help.
        known = not required or key in COMMON_KEYS | required | optional
        yield from _node_problems(value, key, _injected_into(value, key), must_be_node=known)
        yield from _base_problems(value, key)


def _logger_problems(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    loggers = config["loggers"]
    if isinstance(loggers, list | tuple):
        for number, one in enumerate(loggers):
            yield from _node_problems(one, f"loggers.{number}", must_be_node=True)
    yield from logger_problems(config)


def _injected_into(value: Any, key: str) -> frozenset[str]:  # noqa: ANN401 - any configuration value
    cls = value.get("class") if isinstance(value, dict) else None
    if key == "optimizer" and isinstance(cls, type):
        return frozenset({named_argument(cls)})
    return _INJECTED.get(key, frozenset())


def _base_problems(value: Any, key: str) -> Iterator[ConfigProblem]:  # noqa: ANN401 - any configuration value
    cls = value.get("class") if isinstance(value, dict) else None
    if isinstance(cls, type) and (expected := unfit(cls, key)):
        yield ConfigProblem(f"{key}.class", cls.__name__, expected)


def unfit(cls: type, key: str) -> str:
    """What the runner expects of a top-level entry in place of `cls`; '' if it can use it."""
    if key in _DATASETS:
        return "" if issubclass(cls, IterableDataset) else why_not_map_style(cls)
    base = _BASES.get(key)
    if base is None or issubclass(cls, base) or (key == "metric" and is_of_torchmetrics(cls)):
        return ""
    return f"expected a {base.__name__}: let the class inherit from it"


def _keys_of(config: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The keys that the configured runner needs and may have; none if there is no runner."""
    runner = config.get("runner")
    cls = runner.get("class") if isinstance(runner, dict) else None
    return getattr(cls, "REQUIRED_KEYS", frozenset()), getattr(cls, "OPTIONAL_KEYS", frozenset())


def _key_problems(
    config: dict[str, Any], required: frozenset[str], optional: frozenset[str]
) -> Iterator[ConfigProblem]:
    if not required:
        if "runner" in config:
            yield ConfigProblem(
                "runner", shown(config["runner"]), "expected {'class': a trainer or evaluator, 'args': {...}}"
            )
        return
    accepted = COMMON_KEYS | required | optional
    for key in [key for key in config if key not in accepted]:
        yield ConfigProblem(
            str(key), shown(config[key]), unknown_name("the configuration", str(key), sorted(accepted))
        )
    for key in sorted(required - config.keys()):
        yield ConfigProblem(key, None, f"is missing; {config['runner']['class'].__name__} needs it")
    if config.get("test_dataset") is not None and config.get("test_dataloader") is None:
        yield ConfigProblem("test_dataloader", None, "is missing, but there is a test_dataset")


def _seed_problems(config: dict[str, Any], *, per_epoch: bool) -> Iterator[ConfigProblem]:
    listed = [key for key in SEED_KEYS if key in config]
    if "seed" in config and listed:
        yield ConfigProblem(
            "seed", shown(config["seed"]), f"expected either `seed` or {', '.join(listed)}, not both"
        )
        return
    singles = ["seed"] if "seed" in config else ["init_seed", "test_seed"]
    lists = ["train_seeds", "val_seeds"] if per_epoch and "seed" not in config else []
    if "seed" not in config and not listed:
        yield ConfigProblem("seed", None, f"is missing; expected `seed`, or {', '.join(singles + lists)}")
        return
    for key in [*singles, *lists]:
        if key not in config:
            yield ConfigProblem(key, None, "is missing; the other seeds are listed one by one")
        elif key in singles and not _is_seed(config[key]):
            yield ConfigProblem(key, shown(config[key]), "expected a whole number from 0 to 2**63 - 1")
        elif key in lists:
            yield from _seed_list_problems(config, key)


def _seed_list_problems(config: dict[str, Any], key: str) -> Iterator[ConfigProblem]:
    seeds, epochs = config[key], config.get("epochs")
    if not isinstance(seeds, list | tuple) or not all(map(_is_seed, seeds)):
        yield ConfigProblem(key, shown(seeds), "expected a list of whole numbers from 0 to 2**63 - 1")
    elif len(seeds) != epochs:
        yield ConfigProblem(key, f"{len(seeds)} seeds", f"expected one per epoch, and epochs is {epochs!r}")


def _node_problems(
    value: Any,  # noqa: ANN401 - any configuration value
    key_path: str,
    injected: frozenset[str] = frozenset(),
    *,
    must_be_node: bool = False,
) -> Iterator[ConfigProblem]:
    if isinstance(value, dict) and ("class" in value or must_be_node):
        if key_path.startswith("scheduler.") and is_schedule(value):
            injected = _INJECTED["scheduler"]
        yield from _shape_problems(value, key_path)
        cls, arguments = value.get("class"), value.get("args")
        if (
            isinstance(cls, type | FunctionType)
            and isinstance(arguments, dict)
            and all(isinstance(key, str) for key in arguments)
        ):
            yield from argument_problems(
                cls, arguments, injected, f"{key_path}.args", forwards=key_path == "runner"
            )
        for key, element in children(arguments):
            yield from _node_problems(element, f"{key_path}.args.{key}")
    elif must_be_node:
        yield ConfigProblem(key_path, shown(value), "expected {'class': X, 'args': {...}}")
    elif type(value) in {dict, list, tuple}:
        if isinstance(value, dict):
            yield from _dict_key_problems(value, key_path)
        for key, element in children(value):
            yield from _node_problems(element, f"{key_path}.{key}")
    elif isinstance(value, FunctionType):
        if problem := why_not_found(value):
            yield ConfigProblem(key_path, value.__qualname__, problem)
    elif not _is_plain(value):
        yield ConfigProblem(
            key_path,
            shown(value),
            "expected a number, text, list, dict or function, or {'class': X, 'args': {...}}",
        )


def _dict_key_problems(value: dict[Any, Any], key_path: str) -> Iterator[ConfigProblem]:
    if is_named_function(value):
        yield ConfigProblem(
            key_path,
            shown(value),
            "expected another key: `config.json` writes functions so. Name it otherwise",
        )
    for key in [key for key in value if type(key) is not str]:
        yield ConfigProblem(
            f"{key_path}.{key}",
            None,
            f"has the {type(key).__name__} {shown(key)} as its key, expected text: `config.json` would give "
            "it back as text. Use text, or a list in place of the dict",
        )


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or isinstance(value, Path) or (type(value) is float and math.isfinite(value))


def _shape_problems(node: dict[str, Any], key_path: str) -> Iterator[ConfigProblem]:
    for key in [key for key in node if key not in {"class", "args"}]:
        yield ConfigProblem(f"{key_path}.{key}", shown(node[key]), "expected only 'class' and 'args' here")
    if "class" not in node:
        yield ConfigProblem(f"{key_path}.class", None, "is missing")
    elif not isinstance(node["class"], type | FunctionType):
        yield ConfigProblem(
            f"{key_path}.class",
            shown(node["class"]),
            "expected a class or a function, not an object or a name",
        )
    elif inspect.isabstract(node["class"]):
        yield ConfigProblem(f"{key_path}.class", node["class"].__name__, _what_is_abstract(node["class"]))
    elif problem := why_not_found(node["class"]):
        yield ConfigProblem(f"{key_path}.class", node["class"].__qualname__, problem)
    if "args" not in node:
        yield ConfigProblem(f"{key_path}.args", None, "is missing; expected a dict, {} if there are none")
    elif not isinstance(node["args"], dict) or not all(isinstance(key, str) for key in node["args"]):
        yield ConfigProblem(f"{key_path}.args", shown(node["args"]), "expected a dict of arguments by name")


def _what_is_abstract(cls: Any) -> str:  # noqa: ANN401 - a class
    names = sorted(getattr(cls, "__abstractmethods__", ()))
    owners = {name: next(one for one in reversed(cls.__mro__) if name in vars(one)) for name in names}
    missing = ", ".join(f"{name} (required by {owner.__name__})" for name, owner in owners.items())
    return f"is abstract: it has no {missing}. Define what is missing in {cls.__name__}"


def _is_directory_name(value: object) -> bool:
    # Attempts and debug runs are next to the directory; their names begin with its name.
    return isinstance(value, str) and bool(value.strip()) and Path(value).name not in {"", ".."}


def _is_int(value: object, low: int, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < limit


def _is_seed(value: object) -> bool:
    return _is_int(value, 0, _SEED_LIMIT)
