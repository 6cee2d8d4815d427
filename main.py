"""`python main.py ARGUMENTS` from a clone is `pylon train ARGUMENTS`."""

import sys

from pylon import command


def main(arguments: list[str] | None = None) -> int:
    """Run each configuration file and return the exit code."""
    return command.main(["train", *(sys.argv[1:] if arguments is None else arguments)])


# Worker processes import this module again when they start.
if __name__ == "__main__":
    sys.exit(main())
