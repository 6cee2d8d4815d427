"""The rules: what each is called, how grave it is, how long it must hold, and its thresholds."""

from typing import NamedTuple


class Rule(NamedTuple):
    """A rule.

    Attributes:
        name: as in the record.
        severity: 'info', 'warning' or 'critical'.
        for_s: how long it must be broken before that counts.
        clear_s: how long it must be kept before it counts as kept.
    """

    name: str
    severity: str
    for_s: float = 0.0
    clear_s: float = 0.0


STUCK = Rule("stuck", "critical")
DIED = Rule("died", "critical")
MEMORY_RUNS_OUT = Rule("memory_runs_out", "critical", 10.0, 60.0)
DISK_FILLS = Rule("disk_fills", "critical", 60.0, 300.0)
GPU_LOST = Rule("gpu_lost", "critical")
GPU_THROTTLED = Rule("gpu_throttled", "warning", 30.0, 120.0)
GPU_TOO_HOT = Rule("gpu_too_hot", "warning", 30.0, 120.0)
XID = Rule("xid", "critical")
SERVER_UNREACHABLE = Rule("server_unreachable", "warning", 60.0, 10.0)
LOSS_NON_FINITE = Rule("loss_non_finite", "critical", 0.0, 60.0)
LOSS_DIVERGING = Rule("loss_diverging", "warning", 60.0, 60.0)
STEP_TIME_DOUBLED = Rule("step_time_doubled", "warning", 60.0, 60.0)
VERDICT_CHANGED = Rule("verdict_changed", "info")

RULES = (
    *(STUCK, DIED, MEMORY_RUNS_OUT, DISK_FILLS, GPU_LOST, GPU_THROTTLED, GPU_TOO_HOT, XID),
    *(SERVER_UNREACHABLE, LOSS_NON_FINITE, LOSS_DIVERGING, STEP_TIME_DOUBLED, VERDICT_CHANGED),
)

# Time left until a limit: bad below the first, clear above the second.
MEMORY_LEFT_S = (600.0, 1200.0)
# With less than this used, a trend to the limit is a start-up, not a leak.
MEMORY_USED_LEAST = 0.6
MEMORY_USED = (0.97, 0.95)
DISK_LEFT_S = (3600.0, 7200.0)
DISK_FREE_BYTES = (500e6, 1000e6)
# Data-centre cards slow down between 83 and 93 degrees Celsius; that a card is at its own limit is seen as
# throttling, which has its own rule.
GPU_CELSIUS = (90.0, 85.0)
# Share of the last half minute with clocks lowered for heat or by the power brake.
THROTTLED_SHARE = (0.5, 0.1)
STEP_RATIO = (2.0, 1.5)
