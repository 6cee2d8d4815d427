"""The command line's single run: an error becomes one readable message and an exit code."""

import argparse
import sys

from rich.console import Console

from data.errors import DataError
from runners.errors import PylonError
from runners.launch import Options
from runners.stages import run_stages_or_file
from storage import write_json


def run_command(arguments: argparse.Namespace) -> int:
    """Run one configuration file and return the exit code; what went wrong stands on standard error."""
    options = Options(
        overrides=tuple(arguments.overrides),
        debug=arguments.debug,
        work_dir=arguments.work_dir,
        device=arguments.device,
        fresh=arguments.fresh,
    )
    try:
        outcome = run_stages_or_file(arguments.config_filepath[0], options, Console())
    except PylonError as error:
        return _say(error, error.exit_code)
    except DataError as error:
        return _say(error, 3)
    if arguments.outcome_file is not None:
        write_json(arguments.outcome_file, {"directory": str(outcome.directory), "result": outcome.result})
    return 0


def _say(error: Exception, exit_code: int) -> int:
    lines = [str(error).rstrip(), *getattr(error, "__notes__", ())]
    sys.stderr.write("\n".join(lines) + "\n")
    return exit_code
