"""FC-EF on AirChange, run 0 of 3."""

from pylon.configs.common.benchmarks import air_change_run
from pylon.models import FCEF

config = air_change_run(FCEF, run=0)
