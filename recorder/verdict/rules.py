"""The rules of the verdict, in order: each looks at the facts alone, and gives what it found, with evidence.

A rule finds something at one of two levels, high or moderate. The verdict is the first of those at the higher
level; the runner-up is the next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from pylon.recorder.verdict.figures import Facts


class Level(IntEnum):
    """How much it holds the run back."""

    MODERATE = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        name: the bottleneck.
        level: how much it holds the run back.
        evidence: sentences with the figures.
        advice: what to do.
        step_s_if_cured: the time of a step without it; None if it cannot be estimated.
    """

    name: str
    level: Level
    evidence: tuple[str, ...]
    advice: str
    step_s_if_cured: float | None = None


# Below these there is no verdict: a mean of fewer steps says more of chance than of the run.
LEAST_STEPS = 20
LEAST_S = 20.0

# Shares of the step time, as TensorFlow's profiler classifies input: tensorflow.org/guide/profiler,
# "Input-pipeline analyzer": moderately from 5 %, highly from 20 %.
_WAIT = (0.05, 0.20)
# Some task of the group waited for memory. The kernel's own example reacts at 15 % of a 1 s window for `some`
# (Documentation/accounting/psi.rst, "150000 1000000").
_MEMORY_PRESSURE = (5.0, 15.0)
# Near the limit the page cache goes first, which slows the reading of data; ours.
_MEMORY_USED = (95.0, 98.0)
# Periods in which the quota ran out; ours: one in ten is noticed, one in four is a quarter of the time.
_CPU_THROTTLED = (10.0, 25.0)
# Readings with lowered clocks; ours. Heat and the power brake are faults at any time.
_GPU_THROTTLED = (0.10, 0.40)
# The power limit is in force on most GPUs that are busy: it counts when clocks are well below the maximum.
_POWER_CAPPED = 0.5
_POWER_CAPPED_CLOCKS = (0.85, 0.65)
# Time outside of training; ours.
_VALIDATION = (0.20, 0.40)
_CHECKPOINT = (0.05, 0.20)
# A kernel ran in so much of the time (nvmlUtilization_t). SageMaker's LowGPUUtilization takes 70 for low.
_GPU_BUSY = (70.0, 90.0)
_GPU_IDLE = (70.0, 40.0)
# Of a core: one thread that computes all the time. Python's interpreter runs one thread at a time.
_CORE = 90.0
_RUN_CORE = 85.0
# On a machine that is full, a run that gets less than a core may want more; below this it hardly computes.
_SHARED_CORE = 40.0
# Of what it may use.
_CPU = (75.0, 90.0)


def memory_pressure(facts: Facts) -> Finding | None:
    """Memory is short: tasks wait for it, or it is nearly used up."""
    levels = (
        _above(facts.memory_pressure_percent, _MEMORY_PRESSURE),
        _above(facts.memory_percent, _MEMORY_USED),
    )
    level = max((one for one in levels if one is not None), default=None)
    if level is None:
        return None
    evidence = []
    if facts.memory_percent is not None:
        whose = "control group" if facts.memory_scope == "cgroup" else "machine"
        evidence.append(f"{facts.memory_percent:.0f} % of the memory of the {whose} was used.")
    if facts.memory_pressure_percent is not None:
        evidence.append(f"Tasks waited for memory {facts.memory_pressure_percent:.0f} % of the time.")
    advice = "Use fewer loader workers or smaller batches, or raise the memory limit"
    return Finding("memory_pressure", level, tuple(evidence), advice)


def throttled(facts: Facts) -> Finding | None:
    """Something lowers the speed on purpose: heat, a power limit, or a CPU quota."""
    found = [one for one in (_gpu_throttled(facts), _power_capped(facts), _quota(facts)) if one is not None]
    return max(found, key=lambda one: one.level, default=None)


def _gpu_throttled(facts: Facts) -> Finding | None:
    heat, brake = facts.gpu_thermal_share or 0.0, facts.gpu_brake_share or 0.0
    level = _above(max(heat, brake), _GPU_THROTTLED)
    if level is None:
        return None
    why = "for heat" if heat >= brake else "by the power brake or the hardware"
    evidence = [f"GPU clocks were lowered {why} in {100 * max(heat, brake):.0f} % of the readings."]
    evidence += _clocks(facts)
    advice = "Look at fans, air flow and power supply" if heat >= brake else "Look at the power supply"
    return Finding("throttled", level, tuple(evidence), advice, _at_full_clock(facts))


def _power_capped(facts: Facts) -> Finding | None:
    if (facts.gpu_power_share or 0.0) < _POWER_CAPPED:
        return None
    level = _below(facts.gpu_clock_share, _POWER_CAPPED_CLOCKS)
    if level is None:
        return None
    evidence = (
        f"GPU clocks were lowered for the power limit in {100 * (facts.gpu_power_share or 0):.0f} % of the "
        "readings.",
        *_clocks(facts),
    )
    return Finding("throttled", level, evidence, "Raise the power limit of the GPU", _at_full_clock(facts))


def _quota(facts: Facts) -> Finding | None:
    level = _above(facts.throttled_percent, _CPU_THROTTLED)
    if level is None:
        return None
    evidence = (
        f"The CPU quota of the control group ran out in {facts.throttled_percent:.0f} % of its periods."
    )
    return Finding("throttled", level, (evidence,), "Raise the CPU limit, or use fewer loader workers")


def input_bound(facts: Facts) -> Finding | None:
    """Steps wait for their data."""
    share = facts.wait_share
    level = _above(share, _WAIT)
    if level is None or share is None or facts.step_s is None or facts.wait_s is None:
        return None
    times = f"{_seconds(facts.wait_s)} of {_seconds(facts.step_s)}"
    evidence = [f"A step waited {times} for its data: {100 * share:.0f} %."]
    if facts.run_cpu_percent is not None:
        evidence.append(f"The run used {facts.run_cpu_percent / 100:.1f} CPU cores.")
    if facts.io_pressure_percent is not None and facts.io_pressure_percent >= 10:
        evidence.append(f"Tasks waited for disks {facts.io_pressure_percent:.0f} % of the time.")
    advice = "Use more loader workers, cheaper transforms, or data that is nearer or smaller"
    return Finding("input_bound", level, tuple(evidence), advice, facts.step_s * (1 - share))


def checkpoint_bound(facts: Facts) -> Finding | None:
    """Saving takes much of the time."""
    return _outside("checkpoint_bound", facts, facts.checkpoint_s, _CHECKPOINT, "Save less often")


def validation_bound(facts: Facts) -> Finding | None:
    """Validation takes much of the time."""
    advice = "Validate less often, or on fewer examples"
    return _outside("validation_bound", facts, facts.validation_s, _VALIDATION, advice)


def cpu_bound(facts: Facts) -> Finding | None:
    """The CPU computes all the time, on all cores or on the one that a single thread can use."""
    if facts.gpus and (facts.gpu_percent is None or facts.gpu_percent >= _GPU_BUSY[1]):
        return None
    used = max((one for one in (facts.cpu_percent, facts.group_cpu_percent) if one is not None), default=None)
    run = facts.run_cpu_percent
    level = _above(used, _CPU)
    if level is not None and run is not None and run >= _RUN_CORE:
        evidence = f"{used:.0f} % of the CPU was used; the run used {run / 100:.1f} cores."
        advice = "Use more cores, or move work to a GPU"
        return Finding("cpu_bound", level, (evidence,), advice, _if_gpu_were_busy(facts))
    if level is Level.HIGH and run is not None and run >= _SHARED_CORE:
        evidence = (
            f"{used:.0f} % of the CPU was used; the run got {run / 100:.1f} cores, others had the rest."
        )
        advice = "Run it alone, or with fewer other programs"
        return Finding("cpu_bound", Level.MODERATE, (evidence,), advice, _if_gpu_were_busy(facts))
    core = facts.busiest_core_percent
    if core is None or run is None or core < _CORE or run < _RUN_CORE:
        return None
    # Whether a thread of the run is on that core is not known: that is likely if it uses as much as one core.
    level = Level.HIGH if facts.gpus and (facts.gpu_percent or 0) < _GPU_IDLE[1] else Level.MODERATE
    evidence = (
        f"The busiest core was at {core:.0f} %, and the run used {run / 100:.1f} cores: one thread is full."
    )
    advice = (
        "Move work out of the main thread: loader workers, larger batches, torch.compile, fewer .item() calls"
    )
    return Finding("cpu_bound", level, (evidence, *_busy(facts)), advice, _if_gpu_were_busy(facts))


def gpu_busy(facts: Facts) -> Finding | None:
    """GPUs compute nearly all the time: that is what they are for."""
    level = _above(facts.gpu_percent, _GPU_BUSY) if facts.gpus else None
    if level is None:
        return None
    evidence = list(_busy(facts))
    if facts.gpu_power_percent is not None:
        evidence.append(f"They drew {facts.gpu_power_percent:.0f} % of their power limit.")
    advice = "Mixed precision, larger batches, a faster model or more GPUs make it faster"
    if facts.gpu_power_percent is not None and facts.gpu_power_percent < 50:
        advice = "Kernels run all the time but draw little power: larger batches or fused operations help"
    return Finding("gpu_busy", level, tuple(evidence), advice)


def gpu_idle(facts: Facts) -> Finding | None:
    """GPUs wait between kernels, and not for data, saves or validation."""
    level = _below(facts.gpu_percent, _GPU_IDLE) if facts.gpus else None
    if level is None:
        return None
    advice = (
        "Look at what the main thread does between steps: .item(), prints, small kernels, synchronisation"
    )
    return Finding("gpu_idle", level, _busy(facts), advice, _if_gpu_were_busy(facts))


RULES: tuple[Callable[[Facts], Finding | None], ...] = (
    memory_pressure,
    throttled,
    input_bound,
    checkpoint_bound,
    validation_bound,
    cpu_bound,
    gpu_idle,
    gpu_busy,
)


def _above(value: float | None, levels: tuple[float, float]) -> Level | None:
    if value is None or value < levels[0]:
        return None
    return Level.HIGH if value >= levels[1] else Level.MODERATE


def _below(value: float | None, levels: tuple[float, float]) -> Level | None:
    if value is None or value >= levels[0]:
        return None
    return Level.HIGH if value < levels[1] else Level.MODERATE


def _outside(
    name: str, facts: Facts, seconds: float, levels: tuple[float, float], advice: str
) -> Finding | None:
    share = seconds / facts.whole_s if facts.whole_s > 0 else 0.0
    level = _above(share, levels)
    if level is None:
        return None
    what = {"checkpoint_bound": "Saves", "validation_bound": "Validation"}[name]
    evidence = f"{what} took {_seconds(seconds)} of {_seconds(facts.whole_s)}: {100 * share:.0f} %."
    return Finding(name, level, (evidence,), advice)


def _busy(facts: Facts) -> tuple[str, ...]:
    if not facts.gpus or facts.gpu_percent is None:
        return ()
    which = "The GPU" if facts.gpus == 1 else f"The {facts.gpus} GPUs"
    return (f"{which} computed {facts.gpu_percent:.0f} % of the time.",)


def _clocks(facts: Facts) -> list[str]:
    if facts.gpu_clock_share is None:
        return []
    return [f"Its clock was at {100 * facts.gpu_clock_share:.0f} % of the maximum."]


def _at_full_clock(facts: Facts) -> float | None:
    """An estimate from below: what does not depend on the clock does not get faster."""
    if facts.step_s is None or facts.gpu_clock_share is None or facts.gpu_percent is None:
        return None
    computing = min(1.0, facts.gpu_percent / 100)
    return facts.step_s * (1 - computing * (1 - min(1.0, facts.gpu_clock_share)))


def _if_gpu_were_busy(facts: Facts) -> float | None:
    if not facts.gpus or facts.step_s is None or facts.gpu_percent is None:
        return None
    return facts.step_s * min(1.0, facts.gpu_percent / 100)


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
