"""FC-EF on AirChange, run 2 of 3."""

from configs.common.benchmarks import air_change_run
from models import FCEF

config = air_change_run(FCEF, run=2)
