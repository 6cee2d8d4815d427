"""How long a schedule of the learning rate is made for, so that a run with it can have more epochs or not."""

from typing import Any

from torch.optim import lr_scheduler

from pylon.runners.config.node import is_node
from pylon.runners.config.signatures import defaults_of
from pylon.runners.errors import ConfigError

# Schedules that end, the argument that holds their steps, and what they do after them.
_ENDING = (
    (lr_scheduler.CosineAnnealingLR, "T_max", "raises the learning rate again"),
    (lr_scheduler.PolynomialLR, "total_iters", "leaves the learning rate at 0"),
    (lr_scheduler.LinearLR, "total_iters", "leaves the learning rate where it has ended"),
)


def end_of(node: dict[str, Any]) -> tuple[int, str] | None:
    """The number of steps after which a schedule is not meant to be used, and what it does then.

    None: it has no such end, as StepLR or a warm-up; or its class is none of torch's.
    """
    cls, arguments = node["class"], {**defaults_of(node["class"]), **node["args"]}
    if issubclass(cls, lr_scheduler.SequentialLR):
        last, begins = end_of(arguments["schedulers"][-1]), max(arguments["milestones"], default=0)
        return None if last is None else (begins + last[0], last[1])
    if issubclass(cls, lr_scheduler.ChainedScheduler):
        return min(filter(None, map(end_of, arguments["schedulers"])), default=None)
    if issubclass(cls, lr_scheduler.OneCycleLR):
        steps = arguments["total_steps"] or arguments["epochs"] * arguments["steps_per_epoch"]
        return steps, f"{cls.__name__} takes {steps} steps and no more"
    for ending, argument, what in _ENDING:
        if issubclass(cls, ending) and not _is_warm_up(cls, arguments):
            steps = arguments[argument]
            return steps, f"{cls.__name__} with {argument}={steps} {what}"
    return None


def refuse_unknown_length(node: dict[str, Any] | None, steps: int | None) -> None:
    """Refuse a schedule that ends, if it advances with each step and how many an epoch has is unknown.

    Args:
        node: of the schedule, None without one.
        steps: of an epoch, None if unknown.

    Raises:
        ConfigError: it ends, perhaps before the run does.
    """
    if steps is not None or node is None or not isinstance(node["class"], type) or end_of(node) is None:
        return
    expected = (
        "'epoch': the schedule ends, and the number of steps in an epoch is unknown. To keep 'step', give "
        "the IterableDataset a __len__, or the run runner.args.max_batches_per_epoch"
    )
    raise ConfigError.single("runner.args.scheduler_interval", "step", expected, "configuration")


def _is_warm_up(cls: type, arguments: dict[str, Any]) -> bool:
    return issubclass(cls, lr_scheduler.LinearLR) and arguments["end_factor"] >= arguments["start_factor"]


def holds_number(value: object, number: int) -> bool:
    """Whether a number is among the arguments of a schedule whose class is none of torch's."""
    if is_node(value):
        own = not value["class"].__module__.startswith("torch.")
        inside = [*value["args"].values()]
        return (own and number in [one for one in inside if type(one) is int]) or holds_number(inside, number)
    return isinstance(value, list | tuple) and any(holds_number(one, number) for one in value)
