"""One configuration file to one finished run: check, claim the directory, build, run, note how it ended."""

import contextlib
import errno
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from data.errors import DataError
from runners.base_runner import RunContext
from runners.config import (
    apply_overrides,
    build,
    check_config,
    debug_config,
    differences,
    load_config,
    to_json,
)
from runners.devices import select_device
from runners.distributed import AgreedStop, World
from runners.environment import describe, is_restart_of
from runners.errors import (
    ConfigError,
    ConfigProblem,
    EndedByPeerError,
    PeerLostError,
    PylonError,
    RunDirectoryError,
    RunStopped,
    TrainingError,
)
from runners.logs import logging_to, tracebacks, warnings_of_rank
from runners.run_directory import RunDirectory
from runners.seeds import resolve_seeds
from runners.signals import StopFlag
from storage import write_json

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})

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
    """

    overrides: tuple[str, ...] = field(default=())
    debug: bool = False
    work_dir: Path | None = None
    device: str = "auto"
    fresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its directory and its JSON-ready result."""

    directory: Path
    result: dict[str, Any]


def run_file(path: Path, options: Options, console: Console, world: World | None = None) -> Outcome:
    """Run the configuration in `path`, or go on with it, or find it finished.

    Args:
        path: a configuration file, or the `config.json` of a run directory.
        options: the command line.
        console: where progress and log lines are shown.
        world: the ranks that do the run together, each of which calls this; None: this process alone.

    Raises:
        PylonError: anything that ends the run short of its end; `exit_code` says of what kind.
    """
    world = world or World()
    config = world.together(lambda: prepared_config(path, options))
    device = select_device(options.device, local_rank=world.local_rank, ranks=world.size)
    _refuse_different_configs(world.gather(to_json(config)))
    with contextlib.ExitStack() as stack:
        root = world.on_writer(lambda: stack.enter_context(_opened(options, config)).root)
        directory = RunDirectory(root)
        if world.writes:
            stack.enter_context(logging_to(directory.log, console))
        else:
            stack.enter_context(warnings_of_rank(world.rank))
            console = Console(quiet=True, force_terminal=False)
        finished = world.on_writer(lambda: _begin(directory, config, device, world))
        return Outcome(root, finished or _run_in(directory, config, device, console, world))


def prepared_config(path: Path, options: Options) -> dict[str, Any]:
    """Load, override, shorten for --debug and check a configuration; nothing is built or written.

    Raises:
        ConfigError: with every problem found.
    """
    config = apply_overrides(load_config(path), options.overrides, source=path)
    if options.work_dir is not None:
        config = {**config, "work_dir": str(options.work_dir)}
    check_config(config, source=path)
    if options.debug:
        config = debug_config(config)
    return config


def _refuse_different_configs(of_ranks: list[Any]) -> None:
    """Raise ConfigError, the same on all ranks, where one of them has another configuration."""
    first = of_ranks[0]
    for rank, config in enumerate(of_ranks):
        if json.dumps(config, sort_keys=True) == json.dumps(first, sort_keys=True):
            continue  # also where a NaN makes them differ from themselves
        problems = [
            ConfigProblem(path, repr(own), f"expected {other!r} as on rank 0: give all ranks the same file")
            for path, other, own in differences(first, config)
        ]
        if problems:
            raise ConfigError(f"configuration of rank {rank}", problems)


@contextlib.contextmanager
def _opened(options: Options, config: dict[str, Any]) -> Iterator[RunDirectory]:
    """The run directory, held by this process."""
    work_dir = Path(config["work_dir"])
    directory = RunDirectory.newest_attempt(work_dir)
    if options.fresh and not _is_of_this_torchrun(directory):
        directory = RunDirectory.fresh_attempt(work_dir)
    with _usable(directory), directory.opened():
        if options.debug and not _is_of_this_torchrun(directory):
            directory.start_debug_over()
        yield directory


def _is_of_this_torchrun(directory: RunDirectory) -> bool:
    """Whether the directory's last launch is the one after which torchrun has started this one again."""
    launches = (directory.read_json(directory.environment) or {"launches": []})["launches"]
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
            f"{directory.root}: cannot be used as run directory: {error}. Make room or mend its permissions "
            "and repeat the command, or give another one with --work-dir."
        ) from error


def _begin(
    directory: RunDirectory, config: dict[str, Any], device: torch.device, world: World
) -> dict[str, Any] | None:
    """Check that the directory is this run's and note the launch; the result where the run is finished."""
    with _usable(directory):
        _refuse_other_config(directory, config)
        state = directory.read_json(directory.state) or {}
        if state.get("state") == "finished":
            result: dict[str, Any] = state["result"]
            logger.info(
                "%s: this run is finished (%s); --fresh starts over beside it",
                directory.root,
                _scores(result),
            )
            return result
        _write_header(directory, config, device, world)
        logger.info("run directory: %s", directory.root)
        return None


def _run_in(
    directory: RunDirectory, config: dict[str, Any], device: torch.device, console: Console, world: World
) -> dict[str, Any]:
    flag = StopFlag()
    with flag.installed(), _state_noted(directory, world):
        context = RunContext(
            config, resolve_seeds(config), directory, device, AgreedStop(flag, world), console, world
        )
        runner = build(config["runner"], key_path="runner", context=context)
        result: dict[str, Any] = runner.run()
        world.on_writer(lambda: directory.write_state("finished", result=result))
    logger.info("finished: %s", directory.root)
    return result


def _refuse_other_config(directory: RunDirectory, config: dict[str, Any]) -> None:
    former = directory.read_json(directory.config)
    changed = [] if former is None else differences(former, to_json(config))
    if changed and not directory.has_results():
        # Such as after an error that the changed value mends: there is nothing to mix results up with.
        paths = ", ".join(path for path, _, _ in changed)
        logger.info("changed since a launch that finished no epoch: %s", paths)
    elif changed:
        rows = "\n".join(f"  {path}: was {old!r}, now {new!r}" for path, old, new in changed)
        raise RunDirectoryError(
            f"{directory.root}: holds a run of another configuration:\n{rows}\n"
            "Start over beside it with --fresh, or give another --work-dir."
        )


def _write_header(
    directory: RunDirectory, config: dict[str, Any], device: torch.device, world: World
) -> None:
    write_json(directory.config, to_json(config))
    launches = (directory.read_json(directory.environment) or {"launches": []})["launches"]
    write_json(directory.environment, {"launches": [*launches, describe(device, world.size)]})


@contextlib.contextmanager
def _state_noted(directory: RunDirectory, world: World) -> Iterator[None]:
    """Keep `state.json` true: running inside the block, and after it how the run ended.

    What the run did not expect (a bug in a dataset, out of memory, a full disk) becomes an error
    of our own; its traceback goes to the run's log.
    """
    world.on_writer(lambda: directory.write_state("running"))
    try:
        yield
    except KeyboardInterrupt:
        _note(directory, world, "preempted", signal="SIGINT")
        raise
    except RunStopped as stopped:
        _note(directory, world, "preempted", signal=stopped.signal_name)
        if world.writes:
            logger.warning(
                "%s: stopped by %s; the same command goes on with it", directory.root, stopped.signal_name
            )
        raise
    except EndedByPeerError:
        raise
    except Exception as error:
        said = _understood(world.explain(error), directory)
        unexpected = "".join(traceback.format_exception(error)) if said is not error else ""
        if isinstance(said, PeerLostError):
            unexpected += said.traceback
        if unexpected:
            tracebacks.debug("unexpected error\n%s", unexpected)
        _note(directory, world, "failed", error=str(said).partition("\nThe traceback is in ")[0])
        if said is error:
            raise
        raise said from error


def _understood(error: BaseException, directory: RunDirectory) -> BaseException:
    """An error that the user can read."""
    if isinstance(error, PylonError | DataError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return RunDirectoryError(
            f"{error}. The last finished epoch is kept: make room and repeat the command."
        )
    return TrainingError(f"{type(error).__name__}: {_last_line(error)}\nThe traceback is in {directory.log}")


def _scores(result: dict[str, Any]) -> str:
    splits = {split: result.get(split) or {} for split in ("validation", "test")}
    return ", ".join(
        f"{split} {name} {'undefined' if value is None else f'{value:.4f}'}"
        for split, scores in splits.items()
        for name, value in scores.items()
    )


def _last_line(error: BaseException) -> str:
    """What the error says; of a loader worker's, whose text is the worker's whole traceback, its end."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Original Traceback" in text else text


def _note(directory: RunDirectory, world: World, state: str, **details: object) -> None:
    if not world.writes:
        return
    try:
        directory.write_state(state, **details)
    except OSError as error:
        # The error that is on its way explains more than a full disk that keeps it from being noted.
        logger.warning("%s: could not be written: %s", directory.state, error)
