"""A user's monitor in a module of its own."""

from pylon.monitor import BaseMonitor


class AlwaysSeven(BaseMonitor[int]):
    """Takes any argument, and reads 7."""

    def __init__(self, thing: object = None, *, interval_s: float = 0.1, join_timeout_s: float = 1.0) -> None:
        super().__init__(interval_s=interval_s, join_timeout_s=join_timeout_s)
        self.thing = thing

    def _update_single_server(self, server: str) -> int:
        return 7
