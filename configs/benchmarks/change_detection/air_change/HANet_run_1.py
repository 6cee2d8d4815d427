"""HANet on AirChange, run 1 of 3."""

from configs.common.benchmarks import air_change_run
from models import HANet

config = air_change_run(HANet, run=1)
