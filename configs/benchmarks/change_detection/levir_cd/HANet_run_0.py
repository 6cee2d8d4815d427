"""HANet on LEVIR-CD, run 0 of 3."""

from pylon.configs.common.benchmarks import levir_cd_run
from pylon.models import HANet

config = levir_cd_run(HANet, run=0)
