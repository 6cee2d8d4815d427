"""A training script that starts processes of its own by each method while monitors run."""

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pylon.monitor import SystemMonitor
from tests.faults.environments.common import WATCHED, newer, ready, say, watch


def look(job: tuple[int, Any]) -> int:
    """In a child: it may carry the monitor along, which is inert there."""
    number, monitor = job
    if isinstance(monitor, SystemMonitor):
        sequence = monitor.latest().sequence
        state = monitor.health()["CPUMonitor"].state.value
        monitor.start()
        monitor.stop()
        say("looked", sequence=sequence, state=state)
    say("child", method=multiprocessing.get_start_method(), child_of_trainer=os.getppid() == int(sys.argv[2]))
    return number * number


def main() -> None:
    method = sys.argv[1]
    # Children get the command line of their parent.
    sys.argv[2:] = [str(os.getpid())]
    multiprocessing.set_start_method(method)
    monitor = watch()
    ready(monitor)
    with multiprocessing.Pool(2) as pool:
        squares = pool.map(look, [(number, monitor if WATCHED else None) for number in range(4)], 1)
        newer(monitor)
        sys.stdout.write(f"{squares}\n")
    monitor.stop()


if __name__ == "__main__":
    main()
