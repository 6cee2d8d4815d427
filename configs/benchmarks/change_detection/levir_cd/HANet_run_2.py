"""HANet on LEVIR-CD, run 2 of 3."""

from configs.common.benchmarks import levir_cd_run
from models import HANet

config = levir_cd_run(HANet, run=2)
