"""Pylon's SystemMonitor in the same training run."""

from pylon.monitor import SystemMonitor
from tests.shutdown.subjects.training import HUNG_AFTER_S, INTERVAL_S, options, train


class Pylon:
    """SystemMonitor with its defaults."""

    def __init__(self, *, gpu: bool) -> None:
        self._monitor = SystemMonitor(interval_s=INTERVAL_S, gpu=gpu)
        self._gpu = gpu
        self.start, self.stop = self._monitor.start, self._monitor.stop

    def sampled(self) -> bool:
        snapshot = self._monitor.latest()
        seen = [snapshot.cpu.get("localhost"), *([snapshot.gpu.get("localhost")] if self._gpu else [])]
        return all(one is not None and one.current is not None for one in seen)

    def hung(self) -> bool:
        servers = [server for one in self._monitor.health().values() for server in one.servers.values()]
        return self.sampled() and any((server.busy_for_s or 0.0) > HUNG_AFTER_S for server in servers)


if __name__ == "__main__":
    chosen = options()
    train(Pylon(gpu=chosen.gpu), chosen)
