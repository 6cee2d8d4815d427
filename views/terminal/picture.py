"""All that is shown, as it was at one moment. A picture never changes once it is made."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pylon.views.sources.board import Runs
from pylon.views.sources.servers import ServerNow


@dataclass(frozen=True)
class Picture:
    """One moment.

    Attributes:
        at: Unix time.
        servers: all servers.
        runs: those below the paths that were given.
        parents: of the processes of this machine that are shown: the pid of each one's parent.
        problem: why there is no newer picture; empty if this is as it should be.
    """

    at: float = field(default_factory=time.time)
    servers: Sequence[ServerNow] = ()
    runs: Runs = field(default_factory=Runs)
    parents: dict[int, int] = field(default_factory=dict)
    problem: str = ""
