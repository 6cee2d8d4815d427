"""FC-Siam-conc on AirChange, run 2 of 3."""

from configs.common.benchmarks import air_change_run
from models import FCSiamConc

config = air_change_run(FCSiamConc, run=2)
