"""Which of several processes this is, as the launchers of distributed training state it."""

from collections.abc import Mapping
from dataclasses import dataclass

# torchrun (also under Lightning and accelerate), Open MPI, MPICH and Intel MPI, Slurm. A batch script under
# Slurm has its variables too, so they come last.
_LAUNCHERS = (
    ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    (
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("SLURM_LOCALID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
)


@dataclass(frozen=True, slots=True)
class Ranks:
    """The place of a process among those that train together.

    Attributes:
        local: number on this machine; 0 records.
        rank: number among all; None for a process alone.
        ranks: how many there are; None for a process alone.
        several_nodes: whether there are more than on this machine.
    """

    local: int = 0
    rank: int | None = None
    ranks: int | None = None
    several_nodes: bool = False


def ranks_of(environment: Mapping[str, str]) -> Ranks:
    """What the launcher states in the environment."""
    for local, rank, ranks, local_ranks in _LAUNCHERS:
        numbers = [_number(environment.get(name)) for name in (local, rank, ranks)]
        if numbers[0] is None or (numbers[2] or 1) < 2:
            continue
        here = _number(environment.get(local_ranks))
        return Ranks(
            local=numbers[0],
            rank=numbers[1],
            ranks=numbers[2],
            several_nodes=here is not None and here < (numbers[2] or 1),
        )
    return Ranks()


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
