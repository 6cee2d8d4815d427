"""One run on many devices: ranks, their shares of the data, and what they agree on."""

from runners.distributed.agreement import AgreedStop
from runners.distributed.generators import AllGenerators, rank_seed
from runners.distributed.machines import OtherMachines
from runners.distributed.process_group import launched_as, opened_world
from runners.distributed.shares import TrainingShare, evaluation_share
from runners.distributed.world import World, check_averaged, without_averaging

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
