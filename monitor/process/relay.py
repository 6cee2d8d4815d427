"""The relay process: copies the Manager dict once per interval and sends it to the training process.

It exists to be replaceable: it may wait for a Manager that does not answer, so that nobody else has to.
"""

import os
import time

from monitor.process.messages import FrameWriter
from monitor.process.worker import ALIVE_S, PUBLISHING_SINCE_S, Surroundings, shall_end
from monitor.transport.manager import connect_reports

# The first reports come soon after the start: they are fetched more often than later ones.
_EAGER_STEP_S = 0.05
_EAGER_FOR_S = 2.0


def relay(output: FrameWriter, interval_s: float, around: Surroundings) -> None:
    """Send a copy of all reports whenever they have changed, until the end is asked for."""
    started_s = time.monotonic()
    sent: dict[str, object] = {}
    all_reports = None
    while True:
        now = time.monotonic()
        around.heartbeat[ALIVE_S] = around.heartbeat[PUBLISHING_SINCE_S] = now
        try:
            if all_reports is None:
                all_reports = connect_reports(around.manager)
            reports = dict(all_reports.copy())  # type: ignore[attr-defined]  # a DictProxy
            around.heartbeat[PUBLISHING_SINCE_S] = 0.0
            if reports != sent and output.write(reports):
                sent = reports
        except (EOFError, OSError):
            os._exit(1)
        eager = interval_s > _EAGER_STEP_S and now - started_s < _EAGER_FOR_S
        if shall_end(around, _EAGER_STEP_S if eager else interval_s):
            os._exit(0)
