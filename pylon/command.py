"""Pylon: train PyTorch models, and watch the hardware of this machine or of many.

Worker processes import this module again when they start, so a command's module is imported only
when that command is given.
"""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pylon import __version__
from pylon.extras import missing_extra
from pylon.links import lost_link
from pylon.open_files import allow_more_open_files
from pylon.signals import begin_with_usual_signals
from pylon.waiting_threads import wait_awake_for_less

if TYPE_CHECKING:
    # argparse has no public name for what `add_subparsers` returns.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@dataclass(frozen=True)
class Command:
    """One command, not imported yet.

    Attributes:
        module: has the function.
        function: takes the subparsers of argparse and adds the command's parser, whose default `run` takes
            the parsed options and returns the exit code.
        summary: one line.
    """

    module: str
    function: str
    summary: str

    def add_to(self, subparsers: "Subparsers") -> None:
        """Import it and add its parser."""
        add_parser: Callable[[Subparsers], object] = getattr(
            importlib.import_module(self.module), self.function
        )
        add_parser(subparsers)


COMMANDS = {
    "new": Command("pylon.runners.launch.new", "add_parser", "write a configuration to start from"),
    "train": Command("pylon.runners.launch.command_line", "add_parser", "train and test by configuration"),
    "run": Command("pylon.recorder.cli.run", "add_parser", "run any command and record what happens to it"),
    "report": Command("pylon.recorder.cli.report", "add_parser", "what happened to a run, and why it ended"),
    "log": Command(
        "pylon.views.cli.log", "add_parser", "send a record to TensorBoard, W&B, MLflow or trackio"
    ),
    "once": Command("pylon.monitor.cli.once", "add_parser", "show the servers once"),
    "watch": Command("pylon.views.cli.watch", "add_parser", "show servers and runs until it is ended"),
    "export": Command("pylon.views.cli.export", "add_parser", "give figures to Prometheus or OpenTelemetry"),
    "serve": Command("pylon.views.cli.serve", "add_parser", "show servers and runs in a browser"),
    "free": Command("pylon.monitor.cli.free", "add_parser", "name the GPUs that a job can take now"),
}
SHELLS = ("bash", "zsh", "fish")
# Commands whose files and libraries need a working folder: torch ends the process without one.
_IN_FOLDER = ("new", "train")
# One reads nothing of it; a command under the other runs, and is not recorded.
_WITHOUT_PROC = ("new", "run")
_PROC = Path("/proc/self/stat")
# What the completion scripts call; not for people.
COMPLETE = "__complete"

_EXAMPLES = """examples:
  pylon new mine
  pylon train --config-filepath mine/run.py
  pylon once
  pylon COMMAND --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except ModuleNotFoundError as error:
        reason = missing_extra(error) or lost_link(error)
        if reason is None:
            raise
        return _refused(str(reason))
    except KeyboardInterrupt:
        return 130


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of the command `name`, without what it needs to run."""
    _, subparsers = _parser(chosen=name)
    parser: argparse.ArgumentParser = subparsers.choices[name]
    return parser


def _run(words: list[str]) -> int:
    if words[:1] == [COMPLETE]:
        from pylon.completion import candidates

        return _written(candidates(words[1:]))
    name = words[0] if words else ""
    if name and name not in COMMANDS and not name.startswith("-"):
        return _refused(f"pylon: {name!r} is no command. {_nearest(name)}")
    # A command under `pylon run` gets the signals as they came; that one looks after itself.
    if name != "run":
        begin_with_usual_signals()
    if name == "train":
        wait_awake_for_less(os.environ)
        allow_more_open_files()
    parser, _ = _parser(chosen=name)
    options = parser.parse_args(words)
    if options.completion is not None:
        from pylon.completion import SCRIPTS

        return _written([SCRIPTS[options.completion]])
    if not name:
        parser.print_help(sys.stderr)
        return 2
    missing = _missing(name)
    if missing is not None:
        return _refused(f"pylon {name}: {missing}")
    code: int = options.run(options)
    return code


def _parser(chosen: str) -> tuple[argparse.ArgumentParser, "Subparsers"]:
    """The parser of the whole line, in which only the chosen command has its options."""
    parser = argparse.ArgumentParser(
        prog="pylon",
        description=(__doc__ or "").partition("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pylon {__version__}")
    parser.add_argument(
        "--completion", choices=SHELLS, help='print a completion script: eval "$(pylon --completion bash)"'
    )
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        if name == chosen:
            command.add_to(subparsers)
        else:
            subparsers.add_parser(name, help=command.summary)
    return parser, subparsers


def _missing(name: str) -> str | None:
    """What a command needs of the system and does not find, with the fix; None if all is there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        if name in _IN_FOLDER:
            return (
                "the working folder no longer exists, expected one: it was removed or replaced. Go to a "
                'folder that exists (cd "$PWD" if it was made again) and repeat the command.'
            )
    if name in _WITHOUT_PROC or sys.platform != "linux" or _PROC.exists():
        return None
    return (
        "/proc is not there, expected the kernel's view of the processes: the figures of this machine and "
        "of a run are read from it. Mount it (mount -t proc proc /proc), or let the container show it."
    )


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    if close:
        return f"Did you mean 'pylon {close[0]}'?"
    return f"Expected one of: {', '.join(COMMANDS)}; 'pylon --help' describes them."


def _written(lines: Sequence[str]) -> int:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _refused(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2
