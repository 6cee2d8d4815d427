"""One run on many devices: ranks, their shares of the data, and what they agree on."""

from pylon.runners.distributed.agreement import AgreedStop
from pylon.runners.distributed.generators import AllGenerators, rank_seed
from pylon.runners.distributed.launched import launched_as
from pylon.runners.distributed.machines import OtherMachines
from pylon.runners.distributed.process_group import opened_world
from pylon.runners.distributed.shares import TrainingShare, evaluation_share
from pylon.runners.distributed.world import World, check_averaged, without_averaging

__all__ = [
    "AgreedStop",
    "AllGenerators",
    "OtherMachines",
    "TrainingShare",
    "World",
    "check_averaged",
    "evaluation_share",
    "launched_as",
    "opened_world",
    "rank_seed",
    "without_averaging",
]
