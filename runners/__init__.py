"""Runs: configuration to trainer or evaluator, checkpoints, the run directory, and what people see of it."""

from pylon import require_namespace as _require_namespace
from pylon.runners.config import evaluation_of
from pylon.runners.run_directory.retention import Retention
from pylon.runners.training.base_evaluator import BaseEvaluator
from pylon.runners.training.base_runner import BaseRunner, RunContext
from pylon.runners.training.base_trainer import BaseTrainer
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Batch, Task
from pylon.runners.training.stepping import Stepping
from pylon.runners.training.supervised import (
    SupervisedSingleTask,
    SupervisedSingleTaskEvaluator,
    SupervisedSingleTaskTrainer,
)

__all__ = [
    "BaseEvaluator",
    "BaseRunner",
    "BaseTrainer",
    "Batch",
    "EarlyStopping",
    "Retention",
    "RunContext",
    "Stepping",
    "SupervisedSingleTask",
    "SupervisedSingleTaskEvaluator",
    "SupervisedSingleTaskTrainer",
    "Task",
    "evaluation_of",
]

_require_namespace(__name__)
