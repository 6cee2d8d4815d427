"""Print a table: `OMP_NUM_THREADS=1 python -m benchmarks.examples`, two minutes on quiet cores.

`--data-layer`: what a datapoint costs alone, ten seconds.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.examples.data_layer import seconds_per_datapoint
from benchmarks.examples.lines import SHARED, lines_of_example, lines_of_peer
from benchmarks.examples.starts import first_start
from benchmarks.monitors.tables import table

_STARTS = 3


_DATA_LAYER = ("example", "torch's loader, us a datapoint", "Pylon's", "added")
_OTHERS = ("start to the first step, s beyond imports", "lines of code", "Lightning", "Hugging Face Trainer")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examples", description=__doc__)
    parser.add_argument("--data-layer", action="store_true", help="what a datapoint costs alone")
    if parser.parse_args(arguments).data_layer:
        print(table(_DATA_LAYER, [data_layer(name) for name in SHARED]))
        return
    print(table((*_DATA_LAYER, *_OTHERS), [row(name) for name in SHARED]))


def data_layer(name: str) -> list[str]:
    """What a datapoint of an example costs."""
    by_torch, by_pylon = seconds_per_datapoint(name)
    return [name, *(f"{1e6 * value:.0f}" for value in (by_torch, by_pylon, by_pylon - by_torch))]


def row(name: str) -> list[str]:
    """The figures of an example."""
    with tempfile.TemporaryDirectory(prefix="pylon-examples-") as folder:
        starts = [first_start(f"configs/examples/{name}.py", Path(folder, str(n))) for n in range(_STARTS)]
    peers = [lines_of_peer(trainer, name) for trainer in ("lightning", "transformers")]
    beyond = statistics.median(start.beyond_imports_s for start in starts)
    return [
        *(*data_layer(name), f"{beyond:.2f}"),
        *(str(lines_of_example(name)), *("-" if lines is None else str(lines) for lines in peers)),
    ]


if __name__ == "__main__":
    main()
