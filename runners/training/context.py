"""What the launcher gives to every runner in addition to its configured arguments."""

from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from pylon.runners.distributed import AgreedStop, World
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.seeds import Seeds


@dataclass(frozen=True)
class RunContext:
    """What the launcher gives to every runner in addition to its configured arguments.

    Attributes:
        config: the checked configuration.
        seeds: every seed of the run.
        directory: where the run leaves its files; held by the one rank that writes.
        device: where the model and each batch go.
        stop: whether a signal has asked the run to stop, and whether all ranks have agreed on it.
        console: where progress is shown.
        world: the ranks of the run; one if it has one process.
        rehearsal: whether a batch of each pass is tried before the first step.
        notify: addresses that alerts are sent to.
    """

    config: dict[str, Any]
    seeds: Seeds
    directory: RunDirectory
    device: torch.device
    stop: AgreedStop
    console: Console
    world: World
    rehearsal: bool = True
    notify: tuple[str, ...] = ()
