"""HANet on AirChange, run 0 of 3."""

from pylon.configs.common.benchmarks import air_change_run
from pylon.models import HANet

config = air_change_run(HANet, run=0)
