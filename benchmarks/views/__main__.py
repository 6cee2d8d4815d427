"""Measure the parts and print a table of each. See the package's docstring."""

import argparse
import importlib
from collections.abc import Sequence

from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine

_PARTS = ("metrics", "web", "terminal", "peers")


def main(words: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--quick", action="store_true", help="two servers: does it still run?")
    options = parser.parse_args(words)
    print(machine())
    for part in options.parts:
        module = importlib.import_module(f"benchmarks.views.{part}")
        print(f"\n{module.__doc__.partition(chr(10))[0]}\n")
        print(table(module.HEADS, module.rows(quick=options.quick)))


if __name__ == "__main__":
    main()
