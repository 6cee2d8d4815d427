"""One configuration file to one finished run: check, claim the directory, build, run, note how it ended."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pylon.data.errors import DataError
from pylon.masking import masked, secret_values
from pylon.runners.config import (
    apply_overrides,
    build,
    check_config,
    debug_config,
    differences,
    to_json,
)
from pylon.runners.config.rehearsal import rehearse
from pylon.runners.devices import select_device
from pylon.runners.distributed import AgreedStop, World
from pylon.runners.errors import (
    ConfigError,
    ConfigProblem,
    ReadOnlyError,
    RunDirectoryError,
)
from pylon.runners.launch.changes import check_against_former, is_finished_run_of
from pylon.runners.launch.ending import state_noted
from pylon.runners.launch.environment import is_restart_of
from pylon.runners.launch.former_ending import report_former_ending
from pylon.runners.launch.header import write_header
from pylon.runners.logs import logging_to, warnings_of_rank
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.weights import warn_of_other_checkpoint
from pylon.runners.seeds import resolve_seeds
from pylon.runners.signals import StopFlag
from pylon.runners.training.context import RunContext
from pylon.storage import refuse_planted, with_home

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The command line, for one configuration file.

    Attributes:
        overrides: `key.path=value` each.
        debug: a short run into a directory of its own.
        work_dir: in place of the configuration's.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        fresh: start over in a new directory.
        stage: the run is one of several stages, in a folder of this name inside the directory of them all.
        attempt: that directory, if an earlier stage has chosen it; None: chosen as for a single run.
        rehearsal: try a batch of each pass before the first step.
        notify: addresses that alerts are sent to.
    """

    overrides: tuple[str, ...] = field(default=())
    debug: bool = False
    work_dir: Path | None = None
    device: str = "auto"
    fresh: bool = False
    stage: str | None = None
    attempt: Path | None = None
    rehearsal: bool = True
    notify: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its directory and its JSON-ready result."""

    directory: Path
    result: dict[str, Any]


def run_config(
    config: dict[str, Any], options: Options, console: Console, world: World, flag: StopFlag | None = None
) -> Outcome:
    """Run a prepared configuration, resume it, or find it finished.

    Args:
        config: what `prepared_config` gave.
        options: the command line.
        console: receives progress and log lines.
        world: the ranks that do the run together, each of which calls this.
        flag: receives stop requests; None: a flag of this run's own.

    Raises:
        PylonError: anything that ends the run before its end; `exit_code` gives the kind.
    """
    device = select_device(options.device, local_rank=world.local_rank, ranks=world.size)
    _refuse_different_configs(world.gather(to_json(config)))
    with contextlib.ExitStack() as stack:
        opened: list[RunDirectory] = []
        root = world.on_writer(lambda: _opened_in(stack, opened, options, config))
        if options.stage is not None:
            config = {**config, "work_dir": str(root)}
        directory = opened[0] if world.writes else RunDirectory(root)
        with _usable(directory):
            secrets = secret_values(config)
            stack.enter_context(
                logging_to(directory.log if directory.is_held else None, console, secrets)
                if world.writes
                else warnings_of_rank(world.rank, secrets)
            )
        if directory.passed_over:
            more = f" And {len(directory.passed_over) - 1} more." if len(directory.passed_over) > 1 else ""
            logger.warning("passed over: %s.%s", directory.passed_over[0], more)
        result = world.on_writer(lambda: _begin(directory, config, device, world))
        if result is None:
            context = RunContext(
                config, resolve_seeds(config), directory, device,
                AgreedStop(flag or StopFlag(), world), console, world, options.rehearsal,
                options.notify,
            )  # fmt: skip
            result = _run_in(context)
        return Outcome(root, result)


def with_work_dir(config: dict[str, Any], instead: Path | None) -> dict[str, Any]:
    """The configuration with its run directory as text, `~` as the home directory that it means.

    Args:
        config: may lack `work_dir`, or have something else than a path there, which the check refuses.
        instead: the command line's, in place of the configuration's.
    """
    given = config.get("work_dir") if instead is None else instead
    if not isinstance(given, str | Path):
        return config
    return {**config, "work_dir": str(with_home(given))}


def prepared_config(loaded: dict[str, Any], path: Path, options: Options) -> dict[str, Any]:
    """Override, check, rehearse and shorten for --debug a configuration; nothing is written.

    Args:
        loaded: what `load_config` gave.
        path: its file, for errors.
        options: the command line.

    Raises:
        ConfigError: with every problem found.
    """
    config = apply_overrides(loaded, options.overrides, source=path)
    config = with_work_dir(config, options.work_dir)
    check_config(config, source=path)
    rehearse(config, source=path)
    if options.debug:
        config = debug_config(config)
    return config


def _opened_in(
    stack: contextlib.ExitStack, opened: list[RunDirectory], options: Options, config: dict[str, Any]
) -> Path:
    """Hold the run directory for as long as `stack` is open; the directory goes into `opened`."""
    opened.append(stack.enter_context(_opened(options, config)))
    return opened[0].root


def _refuse_different_configs(of_ranks: list[Any]) -> None:
    """Raise ConfigError, the same on all ranks, if one of them has another configuration."""
    first = of_ranks[0]
    for rank, config in enumerate(of_ranks):
        if json.dumps(config, sort_keys=True) == json.dumps(first, sort_keys=True):
            continue  # also if a NaN makes them differ from themselves
        problems = [
            ConfigProblem(
                path,
                repr(masked(own, path)),
                f"expected {masked(other, path)!r} as on rank 0: give all ranks the same file",
            )
            for path, other, own in differences(first, config)
        ]
        if problems:
            raise ConfigError(f"configuration of rank {rank}", problems)


@contextlib.contextmanager
def _opened(options: Options, config: dict[str, Any]) -> Iterator[RunDirectory]:
    """The run directory, held by this process; not held if it is read-only and its run finished."""
    directory = _chosen_directory(Path(config["work_dir"]), options)
    with _usable(directory):
        if options.stage is not None:
            refuse_planted(directory.root.parent)
    with _usable(directory), contextlib.ExitStack() as stack:
        try:
            stack.enter_context(directory.opened())
        except ReadOnlyError:
            if options.debug or not is_finished_run_of(directory, config):
                raise
        if options.debug and not _is_of_this_torchrun(directory):
            directory.start_debug_over()
        yield directory


def _chosen_directory(work_dir: Path, options: Options) -> RunDirectory:
    if options.attempt is not None:
        return _of_stage(RunDirectory(options.attempt), options)
    newest = _of_stage(RunDirectory.newest_attempt(work_dir), options)
    if options.fresh and not _is_of_this_torchrun(newest):
        return _of_stage(RunDirectory.fresh_attempt(work_dir), options)
    return newest


def _of_stage(attempt: RunDirectory, options: Options) -> RunDirectory:
    return (
        attempt if options.stage is None else RunDirectory(attempt.root / options.stage, attempt.passed_over)
    )


def _is_of_this_torchrun(directory: RunDirectory) -> bool:
    """Whether the directory's last launch is the one after which torchrun has started this one again."""
    launches = directory.launches()
    return bool(launches) and is_restart_of(launches[-1])


@contextlib.contextmanager
def _usable(directory: RunDirectory) -> Iterator[None]:
    """Turn what the disk refuses inside the block into an error of the run directory."""
    try:
        yield
    except DataError:
        raise  # DatasetNotFoundError is an OSError too, but not one of the run directory
    except OSError as error:
        raise RunDirectoryError(
            f"{directory.root}: cannot be used as run directory: {error}. Make room or fix its permissions "
            "and repeat the command, or give another one with --work-dir."
        ) from error


def _begin(
    directory: RunDirectory, config: dict[str, Any], device: torch.device, world: World
) -> dict[str, Any] | None:
    """Check that the directory is this run's and note the launch; the result if the run is finished."""
    with _usable(directory):
        longer = check_against_former(directory, config)
        result = directory.finished_result()
        if result is not None and not longer:
            logger.info(
                "%s: this run is finished (%s); --fresh starts over next to it",
                directory.root,
                _scores(result),
            )
            warn_of_other_checkpoint(config, directory)
            return result
        report_former_ending(directory)
        if result is not None:
            directory.write_state("running")  # before the configuration: a kill between the two loses nothing
        write_header(directory, config, device, world)
        logger.info("run directory: %s", directory.root)
        if directory.missing_features:
            missing = ", no ".join(directory.missing_features)
            logger.warning("%s: its file system has no %s", directory.root, missing)
        return None


def _run_in(context: RunContext) -> dict[str, Any]:
    directory, world = context.directory, context.world
    secrets = secret_values(context.config)
    with context.stop.installed(), state_noted(directory, world, secrets) as life:
        runner = build(context.config["runner"], key_path="runner", context=context)
        result: dict[str, Any] = runner.run()
        world.on_writer(lambda: life.end("finished", result=result))
    logger.info("finished: %s", directory.root)
    return result


def _scores(result: dict[str, Any]) -> str:
    splits = {split: result.get(split) or {} for split in ("validation", "test")}
    return ", ".join(
        f"{split} {name} {'undefined' if value is None else f'{value:.4f}'}"
        for split, scores in splits.items()
        for name, value in scores.items()
    )
