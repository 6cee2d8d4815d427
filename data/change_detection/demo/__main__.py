"""`python -m pylon.data.change_detection.demo --root DIR [--seed S]`: write the demo data set.

Exit codes: 0 it is there, 2 the command line is wrong, 3 it could not be written.
"""

import argparse
import logging
import sys
from pathlib import Path

from pylon.data.change_detection.demo.write import write_demo
from pylon.data.errors import DataError

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pylon.data.change_detection.demo",
        description="Write a made-up data set of twelve image pairs in AirChange's layout.",
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it (default: 0)")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"--seed: {options.seed}, expected 0 or more")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        written = write_demo(options.root, options.seed)
    except (DataError, OSError) as error:
        sys.stderr.write(f"demo data: {error}\n")
        return 3
    logger.info("demo data: %s %s", options.root, "written" if written else "is there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
