"""The command line's single run: an error becomes one readable message and an exit code."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from pylon.data.errors import DataError
from pylon.runners.allocator import keep_freed_memory
from pylon.runners.devices import select_device
from pylon.runners.distributed import World, launched_as, opened_world
from pylon.runners.errors import EndedByPeerError, PylonError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options, Outcome
from pylon.storage import write_json


def run_command(arguments: argparse.Namespace) -> int:
    """Run one configuration file and return the exit code; what went wrong is on standard error."""
    options = Options(
        overrides=tuple(arguments.overrides),
        debug=arguments.debug,
        work_dir=arguments.work_dir,
        device=arguments.device,
        fresh=arguments.fresh,
        rehearsal=not arguments.no_rehearsal,
        notify=tuple(arguments.notify),
    )
    try:
        local_rank, ranks = launched_as()
        device = select_device(options.device, local_rank=local_rank, ranks=ranks)
        if device.type == "cpu":
            keep_freed_memory()
        with opened_world(device) as world:
            outcome = _run(arguments.config_filepath[0], options, world)
    except (PylonError, DataError) as error:
        return _reported(error, error.exit_code)
    if arguments.outcome_file is not None:
        write_json(arguments.outcome_file, {"directory": str(outcome.directory), "result": outcome.result})
    return 0


def _run(path: Path, options: Options, world: World) -> Outcome:
    """One run; of several ranks that fail alike only the first one reports it."""
    try:
        return run_file(path, options, Console(quiet=not world.writes), world)
    except (PylonError, DataError) as error:
        world.report(error)
        if world.is_reported_by_writer(error):
            raise EndedByPeerError(error.exit_code) from error
        raise


def _reported(error: Exception, exit_code: int) -> int:
    if str(error):
        lines = [str(error).rstrip(), *getattr(error, "__notes__", ())]
        sys.stderr.write("\n".join(lines) + "\n")
    return exit_code
