"""A script that defines monitors where no other process can import them, and goes on training."""

import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pylon.monitor import BaseMonitor, MonitorClassError
from tests.faults.environments.common import descriptors, new_monitor, ready, say, watch
from tests.faults.environments.own_monitors import AlwaysSeven


class InMain(BaseMonitor[int]):
    def _update_single_server(self, server: str) -> int:
        return 7


class MainArgument:
    """Can be pickled here, and not be found by the one who unpickles it."""


def main() -> None:
    class InFunction(BaseMonitor[int]):
        def _update_single_server(self, server: str) -> int:
            return 7

    before = descriptors()
    monitors: dict[str, BaseMonitor[Any]] = {
        "in main": InMain(),
        "in function": InFunction(),
        "lambda": AlwaysSeven(lambda: 7),
        "thread": AlwaysSeven(threading.Lock()),
        "generator": AlwaysSeven(value for value in range(3)),
        "argument of main": AlwaysSeven(MainArgument()),
    }
    for case, one in monitors.items():
        try:
            one.start()
            refused, text = None, ""
        except MonitorClassError as error:
            refused, text = type(error).__name__, str(error)
        except Exception as error:  # noqa: BLE001 - what else it is, the test tells
            refused, text = type(error).__name__, str(error)
        say("case", case=case, refused=refused, text=text, state=one.health().state.value)
        one.latest()
        one.stop()
    left = sorted(set(descriptors()) - set(before))
    say("after", left=left, threads=[one.name for one in threading.enumerate()])


class InheritedInMain(type(new_monitor())):  # type: ignore[misc]
    """What it runs are classes of the package: where it stands itself does not matter."""


if __name__ == "__main__":
    if sys.argv[1] == "inherited":
        inherited = InheritedInMain(interval_s=0.1, gpu=False)
        inherited.start()
        ready(inherited)
        inherited.stop()
    else:
        main()
        monitor = watch()
        ready(monitor)
        monitor.stop()
