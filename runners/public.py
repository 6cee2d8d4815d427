"""The public names of `pylon.runners`, which gives them out from here."""

from pylon.runners.config import HandedOn, evaluation_of
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.models import load_model
from pylon.runners.run_directory.retention import Retention
from pylon.runners.training.base_evaluator import BaseEvaluator
from pylon.runners.training.base_runner import BaseRunner
from pylon.runners.training.base_trainer import BaseTrainer
from pylon.runners.training.context import RunContext
from pylon.runners.training.early_stopping import EarlyStopping
from pylon.runners.training.evaluation import Batch, Task
from pylon.runners.training.step_options import Stepping
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
    "Checkpointing",
    "EarlyStopping",
    "HandedOn",
    "Retention",
    "RunContext",
    "Stepping",
    "SupervisedSingleTask",
    "SupervisedSingleTaskEvaluator",
    "SupervisedSingleTaskTrainer",
    "Task",
    "evaluation_of",
    "load_model",
]
