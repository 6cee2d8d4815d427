"""The test pass of the demo run alone, with the weights of its best epoch."""

from pylon.configs.benchmarks.change_detection.demo.HANet_run_0 import config as training
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of

config = evaluation_of(
    training,
    SupervisedSingleTaskEvaluator,
    checkpoint=f"{training['work_dir']}/checkpoint_best.pt",
)
