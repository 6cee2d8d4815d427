"""The ranks' group on the device (NCCL on CUDA): one rank, and runs of as many ranks as there are GPUs."""

import copy
import os

import torch
import torch.distributed as dist

from pylon.runners.distributed.process_group import ProcessGroupWorld
from pylon.runners.distributed.world import World
from tests.gpu.outcomes import Report, Setting
from tests.runners.distributed.ranks import free_port, variables_of
from tests.shutdown.resume import Attack

_MOST_RANKS = 8
_KILLS = 2


def run(setting: Setting) -> Report:
    """The part: the runs of several ranks first, as they are forks of a process that has not used CUDA."""
    ranks = min(len(setting.machine.uuids), _MOST_RANKS) if setting.device == "cuda" else 1
    report = Report()
    if ranks > 1:
        attack = Attack(
            setting.root, setting.seed, sigterm=0, stop_within_s=60, changes={}, ranks=ranks,
            device=setting.device,
        )  # fmt: skip
        tally = attack.run(_KILLS, 0.5 * setting.seconds / 60)
        report.expect(tally.runs > 0, f"{ranks} ranks: no run was compared")
        report.failures += [f"{ranks} ranks: {line}" for line in tally.found[:10]]
    device = torch.device("cuda", 0) if setting.device == "cuda" else torch.device("cpu")
    os.environ.update(variables_of(1, free_port())[0])
    world = ProcessGroupWorld(device, 0)
    try:
        expected = "nccl" if device.type == "cuda" else "gloo"
        report.expect(dist.get_backend() == expected, f"backend {dist.get_backend()}, expected {expected}")
        report.failures += wrong_sums(world, device)
    finally:
        world.close()
    more = f", {ranks} ranks killed and resumed to the same bits" if ranks > 1 else "; one GPU: one rank only"
    report.figure = f"{expected}: one rank's sum and gradients are its own{more}"
    return report


def wrong_sums(world: World, device: torch.device) -> list[str]:
    """What is wrong with the sums and mean gradients of a group of one: they are what went in."""
    failures = []
    numbers = torch.arange(1.0, 1001.0, device=device)
    if not torch.equal(world.add_up(numbers.clone()), numbers):
        failures.append("the sum over one rank is not its own number")
    torch.manual_seed(0)
    alone = torch.nn.Linear(64, 8).to(device)
    model = copy.deepcopy(alone)
    replica = world.replicate(model, find_unused_parameters=False)
    inputs = torch.randn(16, 64, device=device)
    alone(inputs).square().mean().backward()
    replica(inputs).square().mean().backward()
    for (name, one), other in zip(alone.named_parameters(), model.parameters(), strict=True):
        if other.grad is None or not torch.equal(one.grad, other.grad):
            failures.append(f"the mean gradient of {name} over one rank is not its own")
    return failures
