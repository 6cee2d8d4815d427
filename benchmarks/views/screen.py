"""`pylon watch` with invented servers: what a process of its own runs to be measured."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from pylon.monitor import MonitorHealth, Observation, SystemSnapshot
from pylon.views.sources.board import RunBoard
from pylon.views.terminal.app import WatchApp
from pylon.views.terminal.feed import Feed
from tests.monitor.statuses import seen
from tests.views.terminal.invented import system

_PICTURES = 4


@dataclass
class Invented:
    """Servers whose figures are other ones at each look; made before, so that inventing costs nothing."""

    servers: int
    gpus: int
    _made: Iterator[SystemSnapshot] = field(init=False)

    def __post_init__(self) -> None:
        self._made = itertools.cycle([system(self.servers, self.gpus, tick) for tick in range(_PICTURES)])

    def latest(self) -> SystemSnapshot:
        """All servers, just read."""
        made = next(self._made)

        def fresh(one: Observation) -> Observation:
            return seen(one.status, 0.2, trouble=one.trouble)

        cpu = {name: fresh(one) for name, one in made.cpu.items()}
        return SystemSnapshot(1, cpu, {name: fresh(one) for name, one in made.gpu.items()})

    def health(self) -> dict[str, MonitorHealth]:
        """Nothing is wrong."""
        return {}


def main() -> None:
    """Show them until q is pressed."""
    servers, gpus, interval_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    monitor = Invented(servers, gpus)
    names = [f"dgx{number:03d}" for number in range(servers)]
    WatchApp(Feed(monitor, names, RunBoard([]), interval_s)).run(mouse=False)


if __name__ == "__main__":
    main()
