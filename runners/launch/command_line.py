"""`pylon train`: from the words of a command line to runs and one exit code.

Worker processes of a run that `main.py` started import this again: torch is imported inside functions.
"""

import argparse
import os
import sys
from pathlib import Path

from pylon.extras import MissingExtraError, require_training
from pylon.recorder.cli.address import notify_address

_DESCRIPTION = """Train and test what configuration files describe.

The same command resumes an unfinished run and does not repeat a finished one."""

_EPILOG = """examples:
  pylon train --config-filepath run.py
  pylon train --config-filepath run.py --set epochs=3 optimizer.args.lr=0.01 --debug
  torchrun --standalone --nproc-per-node 2 -m pylon train --config-filepath run.py

exit codes (several files: the one that all failed ones share, else 1):
  0    finished, or was finished already
  1    training failed
  2    the command line or a configuration is wrong
  3    data is missing, damaged, or not what the transforms can work on
  4    the run directory, or a checkpoint to start from, cannot be used: in use, of another configuration
       or model, damaged, not writable, disk full
  75   stopped by SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU or SIGHUP; the same command resumes it
  128+N  several files: each failed one was killed by signal N, such as 137 by SIGKILL
  130  ended at once by a second Ctrl-C, or by one before the run began
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `train`."""
    parser = subparsers.add_parser(
        "train",
        help="train and test by configuration",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    _add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run each configuration file and return the exit code."""
    try:
        return _run(options)
    except KeyboardInterrupt:
        sys.stderr.write("Ended at once by Ctrl-C; the last finished epoch, if there is one, is kept.\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    try:
        require_training()
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if len(options.config_filepath) > 1:
        from pylon.runners.launch.several import run_each

        return run_each(options.config_filepath, _forwarded(options), options.work_dir)
    if os.environ.get("WORLD_SIZE", "1") == "1":
        from pylon.runners.errors import ConfigError
        from pylon.runners.source import check_source

        try:
            check_source(options.config_filepath[0], options.overrides)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    # Of the ranks of torchrun, the first one alone reports such an error.
    from pylon.runners.launch.command import run_command

    return run_command(options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-filepath",
        action="extend",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="configuration files, run one after another; may be repeated",
    )
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], dest="overrides", metavar="KEY.PATH=VALUE",
        help="change a value of the configuration, as in --set epochs=3 optimizer.args.lr=0.01",
    )  # fmt: skip
    parser.add_argument(
        "--debug", action="store_true", help="3 epochs of 3 batches, in a directory next to the real one"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="run directory, in place of the configuration's; with several files, its parent",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="cpu, cuda, cuda:N or auto (default): cuda if there is one",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start over in a new directory and keep the old one"
    )
    parser.add_argument(
        "--no-rehearsal", action="store_true", help="do not try a batch of each pass before the first step"
    )
    parser.add_argument(
        "--notify", action="append", default=[], metavar="URL", type=notify_address,
        help="send alerts there too: a webhook, or what apprise knows; may be repeated",
    )  # fmt: skip
    parser.add_argument("--outcome-file", type=Path, help=argparse.SUPPRESS)


def _forwarded(options: argparse.Namespace) -> list[str]:
    """The arguments that each of several runs gets."""
    chosen = {
        "--debug": options.debug, "--fresh": options.fresh, "--no-rehearsal": options.no_rehearsal
    }  # fmt: skip
    flags = [name for name, given in chosen.items() if given]
    overrides = ["--set", *options.overrides] if options.overrides else []
    notified = [word for url in options.notify for word in ("--notify", url)]
    return ["--device", options.device, *flags, *overrides, *notified]
