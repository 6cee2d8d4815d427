"""FC-Siam-diff on AirChange, run 1 of 3."""

from pylon.configs.common.benchmarks import air_change_run
from pylon.models import FCSiamDiff

config = air_change_run(FCSiamDiff, run=1)
