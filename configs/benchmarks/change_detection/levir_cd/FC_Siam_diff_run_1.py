"""FC-Siam-diff on LEVIR-CD, run 1 of 3."""

from pylon.configs.common.benchmarks import levir_cd_run
from pylon.models import FCSiamDiff

config = levir_cd_run(FCSiamDiff, run=1)
