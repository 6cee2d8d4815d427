"""FC-EF on LEVIR-CD, run 2 of 3."""

from configs.common.benchmarks import levir_cd_run
from models import FCEF

config = levir_cd_run(FCEF, run=2)
