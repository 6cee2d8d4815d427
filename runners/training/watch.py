"""What observes a run while it goes: the monitor of this machine, the record, and the display."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pylon.monitor import SystemMonitor
from pylon.recorder.channel import Sender
from pylon.runners.outputs.display import Display, Status, opened_display
from pylon.runners.training.context import RunContext
from pylon.runners.training.recording import recorded

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """The monitor, the record and the display of a run.

    Attributes:
        monitor: of this machine, None without one.
        display: shows how far the run is.
        sender: takes what is recorded.
    """

    monitor: SystemMonitor | None
    display: Display
    sender: Sender

    def show(self, status: Status) -> None:
        """Show `status` with the monitor's newest figures; the caller has asked `display.due()`."""
        if self.monitor is not None:
            status = replace(status, monitor=self.monitor.latest().as_record())
        self.display.show(status)


@contextlib.contextmanager
def watched(context: RunContext, monitor: SystemMonitor | None) -> Iterator[Watch]:
    """Run the block recorded, with the display open and the monitor started, which stops whatever happens."""
    with contextlib.ExitStack() as stack:
        if monitor is not None:
            stack.callback(monitor.stop)
        sender = stack.enter_context(recorded(context, monitor))
        if monitor is not None:
            monitor = _started(monitor)
        yield Watch(monitor, stack.enter_context(opened_display(context.console)), sender)


def _started(monitor: SystemMonitor) -> SystemMonitor | None:
    try:
        monitor.start()
    except (OSError, RuntimeError) as error:
        # No room for one more process or thread: a reason to train unwatched, not to not train.
        logger.warning("the run continues without its monitor, which could not be started: %s", error)
        return None
    return monitor
