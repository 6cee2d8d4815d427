"""A CPUMonitor whose readings take long, for hitting its process in the middle of one."""

import time

from pylon import monitor

# Set by the training process before the monitor is made; travels as the argument's default would not.
READING_S = 0.0


class CPUMonitor(monitor.CPUMonitor):
    """Reads as its namesake does, and takes its time."""

    def __init__(self, *args: object, reading_s: float | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._reading_s = READING_S if reading_s is None else reading_s
        if reading_s is None:
            # In the monitor's own process this module is imported anew.
            self._made_with = (args, {**kwargs, "reading_s": READING_S})

    def _update_single_server(self, server: str) -> monitor.CPUStatus:
        status = super()._update_single_server(server)
        time.sleep(self._reading_s)
        return status
