"""The processes that send a run's record to its loggers."""

import logging

from pylon.runners.config.loggers import KEY
from pylon.runners.training.context import RunContext
from pylon.views.loggers.names import name_of
from pylon.views.loggers.start import follow_run

logger = logging.getLogger(__name__)


def start_loggers(context: RunContext, since: float, *, joined: bool) -> None:
    """Start them, if this rank writes the record that they follow; they end by themselves, after the run.

    Args:
        context: of the run.
        since: Unix time before the record's present launch.
        joined: whether the run is in the record of another program, such as `pylon run`.
    """
    if context.world.rank != 0 or not context.config.get(KEY):
        return
    if joined:
        logger.warning("loggers: this run is in the record of the program that has started it. Send that one")
        return
    for node in context.config.get(KEY) or ():
        follow_run(context.directory.root, name_of(node["class"]), node["args"], since)
