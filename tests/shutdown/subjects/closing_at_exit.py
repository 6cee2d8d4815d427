"""A training script that holds its monitor in a global and leaves the monitor's end to `__del__`."""

from tests.shutdown.subjects.self_closing import SelfClosingMonitor
from tests.shutdown.subjects.training import options, train

if __name__ == "__main__":
    chosen = options()
    monitor = SelfClosingMonitor(chosen.record.with_name("summary.csv"), gpu=chosen.gpu)
    train(monitor, chosen)
