"""Several runs from one file, one after another: each of the usual form, in a directory of its own.

    {"work_dir": W, "stages": {"pretrain": {...}, "finetune": {...}}}  ──>  W/pretrain, then W/finetune

What is found, resumed or started is decided for each stage as for a single run, by `run_config` alone.
"""

import gc
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pylon.data.errors import DataError
from pylon.runners.config import apply_overrides, debug_config, problems_of, shown
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.distributed import AgreedStop, World
from pylon.runners.errors import ConfigError, ConfigProblem, PylonError
from pylon.runners.launch.run import Options, Outcome, run_config, with_work_dir
from pylon.runners.run_directory.weights import STAGE_PREFIX
from pylon.runners.signals import StopFlag
from pylon.runners.training.base_evaluator import BaseEvaluator

_NAME = re.compile(r"\w+", re.ASCII)
_FORM = "{'work_dir': ..., 'stages': {name: a configuration, ...}}"
_CHECKPOINT_ARGUMENTS = ("checkpoint", "initial_checkpoint")

Config = dict[str, Any]


def run_stages(stages: dict[str, Config], options: Options, console: Console, world: World) -> Outcome:
    """Run prepared stages one after another, in one directory.

    Raises:
        PylonError: anything that ends a stage before its end, and so all of them.
    """
    results: dict[str, Any] = {}
    flag = StopFlag()
    stop = AgreedStop(flag, world)
    with flag.installed():
        for number, (name, config) in enumerate(stages.items(), start=1):
            console.rule(f"stage {number}/{len(stages)}  {name}")
            try:
                stop.raise_if_signalled()
                outcome = run_config(config, replace(options, stage=name), console, world, flag)
            except (PylonError, DataError) as error:
                error.add_note(f"This was stage {name!r}, {number} of {len(stages)}.")
                raise
            options = replace(options, attempt=outcome.directory.parent)
            results[name] = outcome.result
            # What a stage has left in reference cycles may fill an accelerator that the next one needs.
            gc.collect()
    found = {key: value for result in results.values() for key, value in result.items() if value is not None}
    return Outcome(outcome.directory.parent, {**found, "stages": results})


def prepared_stages(loaded: Config, path: Path, options: Options) -> dict[str, Config]:
    """The stages' configurations: overridden, checked, rehearsed, shortened for --debug; nothing is written.

    Args:
        loaded: what `load_config` gave, with 'stages' in it. A stage's own `work_dir` is ignored.
        path: its file, for errors.
        options: the command line.

    Returns:
        By name, in order; each with the `work_dir` of them all.

    Raises:
        ConfigError: with every problem of every stage.
    """
    config = apply_overrides(_without_directories(loaded), options.overrides, source=path)
    config = with_work_dir(config, options.work_dir)
    problems = list(dict.fromkeys(_problems(config)))
    if problems:
        raise ConfigError(path, problems)
    stages = {name: {**stage, "work_dir": config["work_dir"]} for name, stage in config["stages"].items()}
    return {name: debug_config(stage) for name, stage in stages.items()} if options.debug else stages


def _without_directories(loaded: Config) -> Config:
    stages = loaded["stages"]
    if not isinstance(stages, dict):
        return loaded
    return {
        **loaded,
        "stages": {
            name: {key: value for key, value in stage.items() if key != "work_dir"}
            if isinstance(stage, dict)
            else stage
            for name, stage in stages.items()
        },
    }


def _problems(config: Config) -> Iterator[ConfigProblem]:
    for key in config:
        if key not in {"work_dir", "stages"}:
            yield ConfigProblem(
                str(key), shown(config[key]), f"expected {_FORM}; a value of one stage is stages.NAME.{key}"
            )
    stages = config["stages"]
    if not isinstance(stages, dict) or not stages:
        yield ConfigProblem("stages", shown(stages), f"expected {_FORM}")
        return
    earlier: list[str] = []
    for name, stage in stages.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield ConfigProblem("stages", shown(name), "expected a name of letters, digits and underscores")
        elif not isinstance(stage, dict):
            yield ConfigProblem(f"stages.{name}", shown(stage), "expected a configuration, a dict")
        else:
            yield from _stage_problems(config, name, earlier)
            earlier.append(name)


def _stage_problems(config: Config, name: str, earlier: list[str]) -> Iterator[ConfigProblem]:
    stage = config["stages"][name]
    if "work_dir" in stage:
        yield ConfigProblem(
            f"stages.{name}.work_dir", shown(stage["work_dir"]), "is given by the work_dir of all: remove it"
        )
    shared = {"work_dir": config["work_dir"]} if "work_dir" in config else {}
    for problem in list(problems_of({**stage, **shared})) or rehearsal_problems(stage):
        in_stage = problem.key_path != "work_dir"
        yield replace(problem, key_path=f"stages.{name}.{problem.key_path}") if in_stage else problem
    for argument, value in references(stage):
        key_path = f"stages.{name}.runner.args.{argument}"
        meant = value.removeprefix(STAGE_PREFIX).partition("/")[0]
        if meant not in earlier:
            names = ", ".join(f"{STAGE_PREFIX}{one}" for one in earlier)
            expected = f"expected an earlier stage, of: {names}" if earlier else "there is no stage before it"
            yield ConfigProblem(key_path, repr(value), expected)
        elif _is_evaluation(config["stages"][meant]):
            yield ConfigProblem(key_path, repr(value), f"{meant} trains nothing, so it leaves no checkpoint")


def references(config: Config) -> Iterator[tuple[str, str]]:
    """Runner arguments that mean a run directory next to this one: name and value."""
    runner = config.get("runner")
    arguments = runner.get("args") if isinstance(runner, dict) else None
    for name in _CHECKPOINT_ARGUMENTS:
        value = arguments.get(name) if isinstance(arguments, dict) else None
        if isinstance(value, str) and value.startswith(STAGE_PREFIX):
            yield name, value


def _is_evaluation(stage: Config) -> bool:
    runner = stage.get("runner")
    cls = runner.get("class") if isinstance(runner, dict) else None
    return isinstance(cls, type) and issubclass(cls, BaseEvaluator)
