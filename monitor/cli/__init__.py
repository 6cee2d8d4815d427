"""The monitors on the command line: `pylon once|watch|free`, on this machine or on a fleet.

once    show all servers once
watch   show them again and again: on a terminal in place, elsewhere line by line
free    name the servers and GPUs that a job can take now
"""

import argparse

from pylon.monitor.cli import free, once, watch
from pylon.monitor.cli.commands import EXIT_CODES


def main(arguments: list[str] | None = None) -> int:
    """The command line of `python -m monitor`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m monitor",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (once, watch, free):
        command.add_parser(subparsers)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code
