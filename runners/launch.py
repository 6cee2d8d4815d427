"""One configuration file to one finished run: check, claim the directory, build, run, note how it ended."""

import contextlib
import errno
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from logging.handlers import WatchedFileHandler
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
from runners.environment import describe
from runners.errors import ConfigError, PylonError, RunDirectoryError, RunStopped, TrainingError
from runners.outputs.display import console_handler
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


def run_file(path: Path, options: Options, console: Console) -> Outcome:
    """Run the configuration in `path`, or go on with it, or find it finished.

    Args:
        path: a configuration file, or the `config.json` of a run directory.
        options: the command line.
        console: where progress and log lines are shown.

    Raises:
        PylonError: anything that ends the run short of its end; `exit_code` says of what kind.
    """
    config = prepared_config(path, options)
    device = select_device(options.device)
    work_dir = Path(config["work_dir"])
    directory = (
        RunDirectory.fresh_attempt(work_dir) if options.fresh else RunDirectory.newest_attempt(work_dir)
    )
    try:
        with directory.opened():
            if options.debug:
                directory.start_debug_over()
            with logging_to(directory.log, console):
                return _run_in(directory, config, device, console)
    except DataError:
        raise  # DatasetNotFoundError is an OSError too, but not one of the run directory
    except OSError as error:
        raise RunDirectoryError(
            f"{directory.root}: cannot be used as run directory: {error}. Make room or mend its permissions "
            "and repeat the command, or give another one with --work-dir."
        ) from error


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


def select_device(name: str) -> torch.device:
    """The device of a `--device` argument; 'auto' is the first CUDA device where there is one.

    Raises:
        ConfigError: the name is none of the four forms, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError.single("--device", name, "auto, cpu, cuda or cuda:N") from None
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError.single("--device", name, "auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError.single("--device", name, f"one of the {count} CUDA devices that torch finds here")
    return device


class _LogFile(WatchedFileHandler):
    """A log file that loses records on a full disk, instead of failing: the run itself tells why it ends.

    One that is removed is begun anew.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the record where the disk refuses it; anything else is a bug to be shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, whatever it still holds."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send log records to `console` and to the file `path` inside the block; warnings are records too."""
    root = logging.getLogger()
    former_level = root.level
    to_file = _LogFile(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_console = console_handler(console)
    to_console.setLevel(logging.INFO)
    handlers = [to_file, to_console]
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logger.setLevel(logging.DEBUG)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(former_level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _run_in(
    directory: RunDirectory, config: dict[str, Any], device: torch.device, console: Console
) -> Outcome:
    _refuse_other_config(directory, config)
    state = directory.read_json(directory.state) or {}
    if state.get("state") == "finished":
        logger.info(
            "%s: this run is finished (%s); --fresh starts over beside it",
            directory.root,
            _scores(state["result"]),
        )
        return Outcome(directory.root, state["result"])
    _write_header(directory, config, device)
    logger.info("run directory: %s", directory.root)
    stop = StopFlag()
    with stop.installed(), _state_noted(directory):
        seeds = resolve_seeds(config)
        runner = build(
            config["runner"],
            key_path="runner",
            context=RunContext(config, seeds, directory, device, stop, console),
        )
        result = runner.run()
        directory.write_state("finished", result=result)
    logger.info("finished: %s", directory.root)
    return Outcome(directory.root, result)


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


def _write_header(directory: RunDirectory, config: dict[str, Any], device: torch.device) -> None:
    write_json(directory.config, to_json(config))
    launches = (directory.read_json(directory.environment) or {"launches": []})["launches"]
    write_json(directory.environment, {"launches": [*launches, describe(device)]})


@contextlib.contextmanager
def _state_noted(directory: RunDirectory) -> Iterator[None]:
    """Keep `state.json` true: running inside the block, and after it how the run ended.

    What the run did not expect (a bug in a dataset, out of memory, a full disk) becomes an error
    of our own; its traceback goes to the run's log.
    """
    directory.write_state("running")
    try:
        yield
    except RunStopped as stopped:
        _note(directory, "preempted", signal=stopped.signal_name)
        logger.warning(
            "%s: stopped by %s; the same command goes on with it", directory.root, stopped.signal_name
        )
        raise
    except KeyboardInterrupt:
        _note(directory, "preempted", signal="SIGINT")
        raise
    except (PylonError, DataError) as error:
        _note(directory, "failed", error=str(error))
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {_last_line(error)}"
        _note(directory, "failed", error=said)
        logger.debug("unexpected error", exc_info=True)
        if isinstance(error, OSError) and _is_of_the_disk(error, directory):
            raise RunDirectoryError(
                f"{error}. The last finished epoch is kept: make room and repeat the command."
            ) from error
        raise TrainingError(f"{said}\nThe traceback is in {directory.log}") from error


def _is_of_the_disk(error: OSError, directory: RunDirectory) -> bool:
    return error.errno in _DISK_ERRORS or str(error.filename).startswith(str(directory.root))


def _scores(result: dict[str, Any]) -> str:
    splits = {split: result.get(split) or {} for split in ("validation", "test")}
    return ", ".join(
        f"{split} {name} {'undefined' if value is None else f'{value:.4f}'}"
        for split, scores in splits.items()
        for name, value in scores.items()
    )


def _last_line(error: Exception) -> str:
    """What the error says; of a loader worker's, whose text is the worker's whole traceback, its end."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Original Traceback" in text else text


def _note(directory: RunDirectory, state: str, **details: object) -> None:
    try:
        directory.write_state(state, **details)
    except OSError as error:
        # The error that is on its way explains more than a full disk that keeps it from being noted.
        logger.warning("%s: could not be written: %s", directory.state, error)
