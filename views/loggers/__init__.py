"""Loggers: what a run's record is sent to. No library of one is imported by this package.

    history.sqlite ── entries ──> forward ── link ──> worker: a Logger, in a process of its own

contract    what a logger is
entries     the next part of a record
position    how far it is sent
forward     sends, waits, tries again
link, worker     the logger's process, from both sides
start       the process that follows a run
tensorboard, wandb, mlflow, trackio     one logger each
"""

from pylon.views.loggers.contract import End, Entry, Logger, LoggerError, Picture, Run, Scalars
from pylon.views.loggers.mlflow import MLflowLogger
from pylon.views.loggers.tensorboard import TensorBoardLogger
from pylon.views.loggers.trackio import TrackioLogger
from pylon.views.loggers.wandb import WandbLogger

__all__ = [
    "End",
    "Entry",
    "Logger",
    "LoggerError",
    "MLflowLogger",
    "Picture",
    "Run",
    "Scalars",
    "TensorBoardLogger",
    "TrackioLogger",
    "WandbLogger",
]
