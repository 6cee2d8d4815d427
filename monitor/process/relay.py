"""The relay process: copies the Manager dict once per interval and sends it to the training process.

It exists to be replaceable: it may wait for a Manager that does not answer, so that no other process has to.
"""

import os
import select
import time

from pylon.monitor.process.heartbeat import Notices
from pylon.monitor.process.manager import ManagerGoneError, ManagerReports
from pylon.monitor.process.messages import FrameWriter
from pylon.monitor.process.worker import WorkerContext, shall_end
from pylon.monitor.status.failure import ProcessFailure

# Soon after the start every report is passed on almost at once; later at most one copy per interval.
_EAGER_FOR_S = 2.0
_EAGER_STEP_S = 0.05
# Somewhat less than one: the copy shall not drift behind the reports, or it would miss some.
_SPACING = 0.9
# Workers that tick together report within moments of each other: one copy for all of them.
_GATHERED = 1 / 8
_LONGEST_GATHERING_S = 0.5
_LONGEST_SENDING_S = 0.5


def relay(output: FrameWriter, interval_s: float, notices: Notices, context: WorkerContext) -> None:
    """Send what is new in the Manager dict until the end is asked for; sleep until something is published."""
    pace = _Pace(interval_s, time.monotonic())
    reports = ManagerReports(context.manager, context.heartbeat)
    sender = _Sender(output)
    context.heartbeat.ready_s = time.monotonic()
    while True:
        notices.published.clear()
        now = time.monotonic()
        context.heartbeat.alive_s = now
        try:
            if pace.wait_s(notices.published_s, now) == 0:
                sender.take(reports.copy())
                pace.copied_s = now
            sender.send()
        except (ManagerGoneError, OSError) as error:
            context.heartbeat.last_word = (ProcessFailure.MANAGER_GONE.value, str(error))
            os._exit(1)
        wait_s = pace.wait_s(notices.published_s, now)
        # What is due already is not made due sooner by what comes next.
        news = () if wait_s is not None else (notices.published.descriptor,)
        wait_s = interval_s if wait_s is None else max(0.0, now + wait_s - time.monotonic())
        sending = sender.wait_while_busy(min(wait_s, _LONGEST_SENDING_S))
        if shall_end(context, 0.0 if sending else wait_s, *news):
            os._exit(0)


class _Pace:
    """When the next copy is due.

    Args:
        interval_s: between two copies.
        started_s: when the relay began.

    Attributes:
        copied_s: when the newest copy was begun.
    """

    def __init__(self, interval_s: float, started_s: float) -> None:
        self.copied_s = 0.0
        self._interval_s = interval_s
        self._eager_until_s = started_s + _EAGER_FOR_S
        self._noticed_s: float | None = None

    def wait_s(self, published_s: float, now: float) -> float | None:
        """The time until a copy is due, 0 if it is; None: nothing has been published since the last one."""
        if published_s <= self.copied_s:
            self._noticed_s = None
            return None
        if now < self._eager_until_s:
            return max(0.0, self.copied_s + _EAGER_STEP_S - now)
        self._noticed_s = now if self._noticed_s is None else self._noticed_s
        gathered_s = self._noticed_s + min(_GATHERED * self._interval_s, _LONGEST_GATHERING_S)
        return max(0.0, gathered_s - now, self.copied_s + _SPACING * self._interval_s - now)


class _Sender:
    """Sends each monitor's report in a frame of its own, and only what has changed.

    A pipe takes 64 KiB at once: the reports of hundreds of servers take many writes.
    """

    def __init__(self, output: FrameWriter) -> None:
        self._output = output
        self._sent: dict[str, bytes] = {}
        self._waiting: dict[str, bytes] = {}
        self._poll = select.poll()
        self._poll.register(output.descriptor, select.POLLOUT)

    def take(self, reports: dict[str, bytes]) -> None:
        """Have what is new among `reports` sent, in place of older reports that still wait."""
        for name, report in reports.items():
            if report != self._sent.get(name):
                self._waiting[name] = report

    def send(self) -> None:
        """Send as much as the pipe takes now.

        Raises:
            OSError: the pipe is closed.
        """
        self._output.push()
        for name, report in list(self._waiting.items()):
            if not self._output.write({name: report}):
                return
            self._sent[name] = self._waiting.pop(name)

    def wait_while_busy(self, wait_s: float) -> bool:
        """Whether something is left to send; then this has waited until the pipe takes more, or `wait_s`."""
        if not self._waiting and not self._output.unfinished:
            return False
        self._poll.poll(wait_s * 1000)
        return True
