"""Values that only their class can judge: what is cheap to build is built once before any run begins.

What it makes is thrown away. Models, datasets, loaders and monitors may be large, or touch files and
processes: they are built when their run begins, and so is whatever has one of them in its arguments.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from pylon.data import BaseDataset
from pylon.metrics import as_metric
from pylon.monitor import SystemMonitor
from pylon.runners.config import Node, build, children, defaults_of, is_node, refusal
from pylon.runners.config.contracts import check_score
from pylon.runners.config.groups import KEY as GROUPS_KEY
from pylon.runners.config.groups import Entry, form_problems, named_argument, option_problems, options_of
from pylon.runners.config.optimizers import optimizer_problems
from pylon.runners.config.schedules import mode_problems, schedule_problems
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.randomness import generators_kept

_HEAVY = (torch.nn.Module, Dataset, DataLoader, SystemMonitor)


def rehearse(config: dict[str, Any], source: Path | str) -> None:
    """Find the values that a checked configuration's classes refuse; generators are left as they were.

    Args:
        config: what `check_config` has passed.
        source: the file, for the error.

    Raises:
        ConfigError: with every problem found.
    """
    problems = rehearsal_problems(config)
    if problems:
        raise ConfigError(source, problems)


def rehearsal_problems(config: dict[str, Any]) -> list[ConfigProblem]:
    """The values that a checked configuration's classes refuse; generators are left as they were."""
    problems = list(_split_problems(config))
    # The run itself gives the warnings.
    with generators_kept(torch.device("cpu")), warnings.catch_warnings(action="ignore"):
        _rehearse_runner(config["runner"], problems)
        _rehearse_metric(config, problems)
        _built(config.get("criterion"), "criterion", problems)
        _built(config.get("loggers"), "loggers", problems)
        problems.extend([*optimizer_problems(config), *schedule_problems(config)])
        _rehearse_optimizer(config, problems)
    return problems


def _rehearse_runner(runner: Node, problems: list[ConfigProblem]) -> None:
    """What is inside its arguments, and what the class refuses of them together (`check_arguments`)."""
    cls, arguments, before = runner["class"], runner["args"], len(problems)
    built = {
        name: _built(value, f"runner.args.{name}", problems)
        for name, value in arguments.items()
        if not _holds(value, _HEAVY)
    }
    check = getattr(cls, "check_arguments", None)
    if check is not None and len(problems) == before:
        _collected(lambda: _judged(runner, lambda: check({**defaults_of(cls), **built})), problems)


def _judged(node: Node, check: Callable[[], None]) -> None:
    """Let `check` judge the arguments of the runner as its constructor would."""
    try:
        check()
    except (TypeError, ValueError) as error:
        raise ConfigError("configuration", [refusal(node, "runner", error)]) from error


def _rehearse_metric(config: dict[str, Any], problems: list[ConfigProblem]) -> None:
    runner = config["runner"]
    metric, score = _built(config.get("metric"), "metric", problems), runner["args"].get("score")
    judged = "metric" in getattr(runner["class"], "REQUIRED_KEYS", ())
    if judged and metric is not None and isinstance(score, str):
        before, metric = len(problems), as_metric(metric)
        _collected(lambda: check_score(metric, score), problems)
        if len(problems) == before:
            problems.extend(mode_problems(config, metric.direction(score)))


def _rehearse_optimizer(config: dict[str, Any], problems: list[ConfigProblem]) -> None:
    """The optimizer on one parameter in place of the model's, and the scheduler on it."""
    node = config.get("optimizer")
    if node is None:
        return
    found: list[ConfigProblem] = []
    optimizer = _rehearsed_optimizer(node, "optimizer", found)
    entries = config["runner"]["args"].get("parameter_groups") or []
    if optimizer is not None:
        _rehearse_groups(node, optimizer, entries, problems)
    # A list may have a value for each group, and how many there are follows from the model.
    if optimizer is not None and not (entries and _holds_list(config.get("scheduler"))):
        _built(config.get("scheduler"), "scheduler", found, optimizer=optimizer)
    # A user's own optimizer may refuse the one parameter, or group parameters by what they are: then
    # only what it reports of a configured argument is true of the model's parameters too.
    general = node["class"].__module__.partition(".")[0] == "torch"
    problems.extend(one for one in found if general or one.key_path not in {"optimizer", "scheduler"})


def _rehearsed_optimizer(node: Node, key_path: str, problems: list[ConfigProblem]) -> Any:  # noqa: ANN401 - any class
    parameter, argument = torch.nn.Parameter(torch.zeros(1, 1)), named_argument(node["class"])
    given: Any = parameter if argument == "params" else ("weight", parameter)
    return _built(node, key_path, problems, **{argument: iter([given])})


def _rehearse_groups(
    node: Node, optimizer: torch.optim.Optimizer, entries: Sequence[Entry], problems: list[ConfigProblem]
) -> None:
    """The optimizer with the values of each group as its own: torch does not check a group's values."""
    found = [*form_problems(entries, node["class"])] or [*option_problems(entries, optimizer)]
    problems.extend(found)
    for number, entry in enumerate([] if found else entries):
        with_its_values = {**node, "args": {**node["args"], **options_of(entry)}}
        if node["class"].__module__.partition(".")[0] == "torch":
            _rehearsed_optimizer(with_its_values, f"{GROUPS_KEY}.{number}", problems)


def _holds_list(node: Node | None) -> bool:
    return node is not None and any(isinstance(value, list | tuple) for value in node["args"].values())


def _built(node: Any, key_path: str, problems: list[ConfigProblem], **injected: object) -> Any:  # noqa: ANN401 - any configured class
    """The node, built; None if there is none, it was refused, or something in its arguments is heavy."""
    if _holds(node["args"] if is_node(node) else node, _HEAVY):
        return None
    return _collected(lambda: build(node, key_path, **injected), problems)


def _collected(action: Callable[[], Any], problems: list[ConfigProblem]) -> Any:  # noqa: ANN401 - any result
    """What `action` gives; None if it fails, with the problems of a ConfigError added to `problems`."""
    try:
        return action()
    except ConfigError as error:
        problems.extend(error.problems)
    except Exception:  # noqa: BLE001 - of any class, such as for a file that an earlier stage makes; the run reports it
        return None
    return None


def _holds(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether `value` is, or has in it, a node of one of `kinds`."""
    # A function may give anything.
    if is_node(value) and (not isinstance(value["class"], type) or issubclass(value["class"], kinds)):
        return True
    return any(_holds(element, kinds) for _, element in children(value))


def _split_problems(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    for key in ("train_dataset", "val_dataset", "test_dataset"):
        node = config.get(key)
        if node is None:
            continue
        cls, split = node["class"], node["args"].get("split")
        splits = (
            getattr(cls, "SPLITS", None) if isinstance(cls, type) and issubclass(cls, BaseDataset) else None
        )
        if isinstance(split, str) and isinstance(splits, tuple | list) and split not in splits:
            names = ", ".join(map(str, splits))
            yield ConfigProblem(
                f"{key}.args.split", repr(split), f"expected a split of {cls.__name__}: {names}"
            )
