"""What a record holds, as its writer takes it and its readers give it. Unknown is None, never 0.

Times are seconds of a steady wall clock: Unix time when the launch began, and monotonic seconds since.
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class LaunchRow:
    """One start of a program that is recorded.

    Attributes:
        began_at: Unix time.
        kind: 'runner', 'wrapper', 'callback' or 'loop'.
        name: of the run; None: it has none.
        host, boot_id: where it runs; the boot id changes with each start of the machine.
        pid, start_ticks: the process, and when the kernel started it: a pid alone may be another one's later.
        rank, ranks: of a distributed run.
        command: JSON list, masked.
        working_directory: where it was started.
        python: version and path of the interpreter.
        cgroup: JSON: path, version, limits, counts of kills at the begin.
        configuration: JSON, masked; None for a program without one.
        configuration_digest: of the configuration.
        git, hardware: JSON.
        id: number in the record; None until the writer gives it one.
    """

    began_at: float
    kind: str
    name: str | None = None
    host: str | None = None
    boot_id: str | None = None
    pid: int | None = None
    start_ticks: int | None = None
    rank: int | None = None
    ranks: int | None = None
    command: str | None = None
    working_directory: str | None = None
    python: str | None = None
    cgroup: str | None = None
    configuration: str | None = None
    configuration_digest: str | None = None
    git: str | None = None
    hardware: str | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class EndingRow:
    """How a launch ended.

    Attributes:
        launch: its number.
        at: when.
        state: finished, failed, stopped, killed, crashed, hung or unknown.
        cause: clean, exception, cuda_oom, cgroup_oom, host_oom, own_stop, sigterm, sigint, sigkill, segfault,
            abort, bus_error, exit_code, non_finite, gpu_lost, disk_full, hang, reboot, recorder_lost or
            not_observable.
        certainty: confirmed, likely or not_observable.
        source: who reports it: 'program', 'parent', 'kernel', 'recorder' or 'next reader'.
        exit_code, signal: None if there was none or it is unknown.
        evidence: JSON list of objects with text, kind and value.
        advice: what to do.
        last_lines: of its error output.
        traceback: the last one.
    """

    launch: int
    at: float
    state: str
    cause: str
    certainty: str
    source: str
    exit_code: int | None = None
    signal: int | None = None
    evidence: str | None = None
    advice: str | None = None
    last_lines: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """A figure that is recorded over time.

    Attributes:
        server: 'localhost', or the name under which another machine is watched.
        device: '' for the host; a GPU's UUID or index, a disk, a network card.
        name: such as 'gpu_utilization'.
        unit: 'percent', 'bytes', 'watts', 'celsius', 'bytes_per_second', 'count', ...
        scope: what it describes: 'host', 'cgroup', 'process' or 'device'.
    """

    server: str
    device: str
    name: str
    unit: str = ""
    scope: str = ""


class Sample(NamedTuple):
    """Readings of one figure between `t` and `t + width`; a single reading has the width 0."""

    t: float
    width: float
    n: int
    min: float
    mean: float
    max: float


class Gap(NamedTuple):
    """Why a figure has no readings between `t` and `until`; until None: it was so when the record ended."""

    t: float
    until: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class StepWindow:
    """Training steps that ended between `t` and `t + width`, in seconds; `wait` is for data alone.

    Attributes:
        n: how many steps.
        loss_n: how many finite losses the figures come from.
        non_finite: how many were NaN or infinite; None if no loss is reported.
    """

    launch: int
    t: float
    width: float
    n: int
    first_step: int | None = None
    last_step: int | None = None
    epoch: int | None = None
    step_min: float | None = None
    step_mean: float | None = None
    step_max: float | None = None
    wait_min: float | None = None
    wait_mean: float | None = None
    wait_max: float | None = None
    loss_min: float | None = None
    loss_mean: float | None = None
    loss_max: float | None = None
    loss_n: int | None = None
    non_finite: int | None = None


@dataclass(frozen=True, slots=True)
class MarkRow:
    """Something that happened at one time. `detail` is JSON or None."""

    launch: int
    t: float
    kind: str
    detail: str | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A rule that was broken from `since` to `until`; until None: it was so when the record ended."""

    launch: int
    rule: str
    severity: str
    since: float
    text: str
    until: float | None = None
    value: float | None = None
    threshold: float | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What held the run back between `t` and `t + width`.

    Attributes:
        name: the bottleneck.
        evidence: JSON list of sentences.
        runner_up: the next rule that applies; None: there is none.
        step_s_if_cured: the step time without the bottleneck; None if it cannot be estimated.
    """

    launch: int
    t: float
    width: float
    name: str
    evidence: str | None = None
    runner_up: str | None = None
    step_s_if_cured: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process that used a GPU or held memory, as seen from `since` to `until`.

    Attributes:
        until: when it was not there any more; None: it was there when the record ended.
        user: None: not known.
        command: masked, or the name alone; None: not shown to this user.
        role: 'run': of the run; 'gpu': another user of a GPU; 'host': another process of the machine.
        device: UUID of the GPU; '' for the machine's memory.
        memory_bytes: the most that it was seen to hold, of the GPU's memory or resident; None: not known.
    """

    launch: int
    pid: int
    since: float
    until: float | None = None
    user: str | None = None
    command: str | None = None
    role: str | None = None
    device: str = ""
    memory_bytes: int | None = None
