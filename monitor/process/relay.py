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

# Soon after the start every report is passed on at once; later at most one copy per interval.
_EAGER_FOR_S = 2.0
_EAGER_STEP_S = 0.05
_STEPS_PER_INTERVAL = 16
_SHORTEST_STEP_S = 0.01
_LONGEST_STEP_S = 0.5
# Somewhat less than one: the copy shall not drift behind the reports, or it would miss some.
_SPACING = 0.9
_LATEST = 0.95


def relay(output: FrameWriter, interval_s: float, notices: Notices, context: WorkerContext) -> None:
    """Send what is new in the Manager dict, until the end is asked for."""
    started_s = time.monotonic()
    step_s = max(_SHORTEST_STEP_S, min(interval_s / _STEPS_PER_INTERVAL, _LONGEST_STEP_S))
    seen_s = 0.0
    reports = ManagerReports(context.manager, context.heartbeat)
    sender = _Sender(output)
    context.heartbeat.ready_s = started_s
    while True:
        now = time.monotonic()
        context.heartbeat.alive_s = now
        eager = now - started_s < _EAGER_FOR_S
        published_s = notices.published_s
        # Workers that tick together report within moments of each other: one copy for all of them.
        # Of many workers one has always just reported: that wait has an end.
        settled = eager or now - published_s >= step_s or now - seen_s >= _LATEST * interval_s
        try:
            if published_s > seen_s and settled and (eager or now - seen_s >= _SPACING * interval_s):
                sender.take(reports.copy())
                seen_s = now
            sender.send()
        except (ManagerGoneError, OSError) as error:
            context.heartbeat.last_word = (ProcessFailure.MANAGER_GONE.value, str(error))
            os._exit(1)
        wait_s = min(step_s, _EAGER_STEP_S) if eager else step_s
        if shall_end(context, 0.0 if sender.wait_while_busy(wait_s) else wait_s):
            os._exit(0)


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
