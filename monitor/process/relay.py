"""The relay process: copies the Manager dict once per interval and sends it to the training process.

It exists to be replaceable: it may wait for a Manager that does not answer, so that nobody else has to.
"""

import os
import time

from monitor.failure import ProcessFailure
from monitor.process.heartbeat import Notices
from monitor.process.messages import FrameWriter
from monitor.process.worker import Surroundings, shall_end
from monitor.transport.manager import ManagerGoneError, ManagerReports

# Soon after the start every report is passed on at once; later at most one copy per interval.
_EAGER_FOR_S = 2.0
_EAGER_STEP_S = 0.05
_STEPS_PER_INTERVAL = 8
_SHORTEST_STEP_S = 0.01
_LONGEST_STEP_S = 0.5
# Somewhat less than one: the copy shall not drift behind the reports.
_SPACING = 0.9


def relay(output: FrameWriter, interval_s: float, notices: Notices, around: Surroundings) -> None:
    """Send a copy of all reports when there are new ones, until the end is asked for."""
    started_s = time.monotonic()
    step_s = max(_SHORTEST_STEP_S, min(interval_s / _STEPS_PER_INTERVAL, _LONGEST_STEP_S))
    seen_s = sent_s = 0.0
    reports = ManagerReports(around.manager, around.heartbeat)
    around.heartbeat.ready_s = started_s
    while True:
        now = time.monotonic()
        around.heartbeat.alive_s = now
        eager = now - started_s < _EAGER_FOR_S
        published_s = notices.published_s
        # Workers that tick together report within moments of each other: one copy for all of them.
        settled = eager or now - published_s >= step_s
        if published_s > seen_s and settled and (eager or now - sent_s >= _SPACING * interval_s):
            try:
                if output.write(reports.copy()):
                    seen_s, sent_s = published_s, now
            except (ManagerGoneError, OSError) as error:
                around.heartbeat.last_word = (ProcessFailure.MANAGER_GONE.value, str(error))
                os._exit(1)
        if shall_end(around, min(step_s, _EAGER_STEP_S) if eager else step_s):
            os._exit(0)
