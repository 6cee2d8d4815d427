"""Runs: configuration to trainer or evaluator, checkpoints, the run directory, and what people see of it."""

from runners.base_evaluator import BaseEvaluator
from runners.base_runner import BaseRunner, RunContext
from runners.base_trainer import BaseTrainer
from runners.config import evaluation_of
from runners.early_stopping import EarlyStopping
from runners.evaluation import Batch, Task
from runners.retention import Retention
from runners.stepping import Stepping
from runners.supervised import (
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
