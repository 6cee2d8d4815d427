"""A training run that does nothing, for the subjects of the demonstrations: only its monitor differs.

On standard output a JSON line each: 'started' once the monitor was started, 'ready' once what
`--until` names has come, 'ending' after the last step.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

INTERVAL_S = 1.0
# Longer than any reading that still comes back in a demonstration.
HUNG_AFTER_S = 0.5
STEP_S = 0.005
# Looking for the end shall not stand in the CPU time that is counted meanwhile.
LOOK_EVERY_S = 0.1


class Watching(Protocol):
    """What a training run does with its monitor."""

    def start(self) -> None:
        """Begin to read."""

    def stop(self) -> None:
        """End it, as its author meant it."""

    def sampled(self) -> bool:
        """Whether there is a first sample."""

    def hung(self) -> bool:
        """Whether a reading is under way that does not end."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, required=True, help="a file 'end' beside it ends the run")
    parser.add_argument("--until", choices=("started", "sampled", "hung"), default="sampled")
    parser.add_argument("--wait", action="store_true", help="train on until the file 'end' is there")
    parser.add_argument(
        "--unstopped", action="store_true", help="leave the monitor to the interpreter's exit"
    )
    parser.add_argument("--gpu", action="store_true", help="read the GPU driver too")
    parser.add_argument("--quiet", action="store_true", help="say nothing after 'started'")
    return parser.parse_args()


def train(monitor: Watching, chosen: argparse.Namespace) -> None:
    """Start the monitor, train until it is time, and stop the monitor if that is asked for."""
    monitor.start()
    say("started")
    reached = {"started": lambda: True, "sampled": monitor.sampled, "hung": monitor.hung}[chosen.until]
    while not reached():
        time.sleep(STEP_S)
    if not chosen.quiet:
        say("ready")
    while chosen.wait and not chosen.record.with_name("end").exists():
        time.sleep(LOOK_EVERY_S)
    if not chosen.quiet:
        say("ending")
    if not chosen.unstopped:
        monitor.stop()


def say(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()
