"""FC-EF on LEVIR-CD, run 0 of 3."""

from pylon.configs.common.benchmarks import levir_cd_run
from pylon.models import FCEF

config = levir_cd_run(FCEF, run=0)
