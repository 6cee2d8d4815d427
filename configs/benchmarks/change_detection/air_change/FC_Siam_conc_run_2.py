"""FC-Siam-conc on AirChange, run 2 of 3."""

from pylon.configs.common.benchmarks import air_change_run
from pylon.models import FCSiamConc

config = air_change_run(FCSiamConc, run=2)
