"""FC-Siam-conc on LEVIR-CD, run 1 of 3."""

from pylon.configs.common.benchmarks import levir_cd_run
from pylon.models import FCSiamConc

config = levir_cd_run(FCSiamConc, run=1)
