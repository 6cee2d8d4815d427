"""How torch's workers are asked to end, if one of them was killed while it held the event's lock."""

import threading
from typing import Any

from pylon.threads import started

_SET_WITHIN_S = 1.0


class DoneEvent:
    """Takes the place of the event of torch's iterator in the process that reads from the workers.

    Each worker asks for the event again and again, under a lock that all processes share. One that is killed
    there keeps it, and whoever asks next waits without a limit. Only this process sets it, so it knows.

    Args:
        event: of torch's iterator, which the workers have.
    """

    def __init__(self, event: Any) -> None:  # noqa: ANN401 - of multiprocessing, of one of three contexts
        self._event = event
        self._was_set = False

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._was_set

    def set(self) -> None:
        """Set the workers' event, or give that up after 1 s: who waits for the lost lock has to be killed."""
        self._was_set = True
        setting = threading.Thread(target=self._event.set, name="loader end", daemon=True)
        if started(setting):
            setting.join(_SET_WITHIN_S)
        else:
            self._event.set()
