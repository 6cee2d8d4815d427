"""Print a table: `OMP_NUM_THREADS=1 python -m benchmarks.examples`, two minutes on quiet cores."""

import statistics
import tempfile
from pathlib import Path

from benchmarks.examples.data_layer import seconds_per_datapoint
from benchmarks.examples.lines import SHARED, lines_of_example, lines_of_peer
from benchmarks.examples.starts import first_start
from benchmarks.monitors.tables import table

_STARTS = 3


def main() -> None:
    """Measure and print."""
    rows = [row(name) for name in SHARED]
    head = (
        *("example", "torch's loader, us a datapoint", "Pylon's", "added"),
        *("start to the first step, s beyond imports", "lines of code", "Lightning", "Hugging Face Trainer"),
    )
    print(table(head, rows))


def row(name: str) -> list[str]:
    """The figures of an example."""
    by_torch, by_pylon = seconds_per_datapoint(name)
    with tempfile.TemporaryDirectory(prefix="pylon-examples-") as folder:
        starts = [first_start(f"configs/examples/{name}.py", Path(folder, str(n))) for n in range(_STARTS)]
    microseconds = [f"{1e6 * value:.0f}" for value in (by_torch, by_pylon, by_pylon - by_torch)]
    peers = [lines_of_peer(trainer, name) for trainer in ("lightning", "transformers")]
    beyond = statistics.median(start.beyond_imports_s for start in starts)
    return [
        *(name, *microseconds, f"{beyond:.2f}"),
        *(str(lines_of_example(name)), *("-" if lines is None else str(lines) for lines in peers)),
    ]


if __name__ == "__main__":
    main()
