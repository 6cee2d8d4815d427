"""All rules over what the recorder sees, once per tick: what has begun and what has ended.

windows, marks, readings, verdicts, the end ── add ──> Alerts ── tick ──> changes
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from pylon.recorder.alerts import rules
from pylon.recorder.alerts.alarms import MOST_ALARMS, Alarms, Change
from pylon.recorder.alerts.trends import LossTrend, StepTimes, Trend
from pylon.recorder.history import EndingRow, MarkRow, SeriesKey, StepWindow, VerdictRow, detail_of

_LOCAL = "localhost"
_HOT_BITS = 0x20 | 0x40 | 0x08 | 0x80
_SHARE_OVER_S = 30.0
_NO_VERDICT = frozenset({"not_enough_data", "none_found"})
_NO_ALARM = frozenset({"finished", "stopped"})


@dataclass(slots=True)
class _GPU:
    celsius: float | None = None
    throttled: float = 0.0
    seen: float | None = None
    lost: bool = False


@dataclass(slots=True)
class _Memory:
    used: Trend = field(default_factory=lambda: Trend(300.0))
    limit: float | None = None


class Alerts:
    """The state of every rule of one launch.

    Args:
        launch: its number.
    """

    def __init__(self, launch: int) -> None:
        self._alarms = Alarms(launch)
        self._memory = {"control group": _Memory(), "machine": _Memory()}
        self._disk = Trend(1800.0)
        self._gpus: dict[str, _GPU] = {}
        self._unreachable: dict[str, str] = {}
        self._losses = LossTrend()
        self._steps = StepTimes()
        self._over = False
        self._stuck: str | None = None
        self._non_finite: int | None = None
        self._verdict: str | None = None
        self._new_verdict: str | None = None

    def add_window(self, row: StepWindow) -> None:
        """Add the steps of a tick."""
        if row.n:
            self._stuck = None
            if row.step_mean is not None:
                self._steps.add(row.t, row.n, row.step_mean)
        if row.loss_mean is not None and math.isfinite(row.loss_mean):
            self._losses.add(row.loss_mean)
        if row.non_finite or row.loss_n:
            self._non_finite = row.non_finite or 0

    def add_mark(self, row: MarkRow) -> None:
        """Add a mark; those of kind 'hang' and 'xid' are alerts."""
        detail = detail_of(row)
        if row.kind == "hang":
            step_s = detail.get("step_s")
            usual = f"; a step takes {step_s:.3g} s" if isinstance(step_s, float | int) else ""
            text = f"No step for {detail.get('for_s', 'too many')} s{usual}."
            self._stuck = None if detail.get("ended") else text
        elif row.kind == "xid":
            of = f" of GPU {detail['gpu']}" if detail.get("gpu") else ""
            self._alarms.happened(rules.XID, row.t, f"The driver reported Xid {detail.get('xid')}{of}.")

    def add_readings(self, t: float, readings: Iterable[tuple[SeriesKey, float | None, str | None]]) -> None:
        """Add readings, as `HistoryWriter.sample` takes them."""
        for key, value, reason in readings:
            if key.server != _LOCAL:
                self._add_server(key.server, value, reason)
            elif key.name.startswith("gpu_"):
                self._add_gpu(t, key, value, reason)
            elif value is not None:
                self._add_host(t, key.name, value)

    def add_verdict(self, row: VerdictRow) -> None:
        """Add a verdict; a new bottleneck counts when the next verdict confirms it."""
        if row.name in _NO_VERDICT or row.name == self._verdict:
            self._new_verdict = None
            return
        if self._verdict is not None and row.name != self._new_verdict:
            self._new_verdict = row.name
            return
        if self._verdict is not None:
            text = f"The bottleneck is now {row.name}, before it was {self._verdict}."
            self._alarms.happened(rules.VERDICT_CHANGED, row.t + row.width, text)
        self._verdict, self._new_verdict = row.name, None

    def ended(self, row: EndingRow) -> None:
        """Add the end of the launch: the alert if it was not meant, and the end of all other alerts."""
        self._over = True
        self._alarms.end_all(row.at)
        if row.state not in _NO_ALARM:
            how = f"{row.state}, cause: {row.cause} ({row.certainty})"
            text = f"The run ended: {how}." if row.advice is None else f"The run ended: {how}. {row.advice}"
            self._alarms.happened(rules.DIED, row.at, text)

    def tick(self, t: float) -> list[Change]:
        """What has changed since the last tick."""
        if self._over:
            return self._alarms.changes()
        self._alarms.look(rules.STUCK, "", t, bad=self._stuck is not None, text=self._stuck or "")
        self._look_at_memory(t)
        self._look_at_disk(t)
        self._look_at_gpus(t)
        self._look_at_losses(t)
        self._look_at_steps(t)
        for server, reason in self._unreachable.items():
            text = f"Server {server} cannot be read ({reason})." if reason else ""
            self._alarms.look(rules.SERVER_UNREACHABLE, server, t, bad=bool(reason), text=text)
        return self._alarms.changes()

    def _add_server(self, server: str, value: float | None, reason: str | None) -> None:
        if value is not None:
            self._unreachable[server] = ""
        elif reason in {"unreachable", "hung"} and len(self._unreachable) < MOST_ALARMS:
            self._unreachable[server] = reason

    def _add_gpu(self, t: float, key: SeriesKey, value: float | None, reason: str | None) -> None:
        if key.device not in self._gpus and len(self._gpus) >= MOST_ALARMS:
            return
        gpu = self._gpus.setdefault(key.device, _GPU())
        if value is None:
            gpu.lost = gpu.lost or reason == "lost"
            return
        gpu.lost = False
        if key.name == "gpu_temperature":
            gpu.celsius = value
        elif key.name == "gpu_throttle_reasons":
            part = 1.0 if gpu.seen is None else min(1.0, (t - gpu.seen) / _SHARE_OVER_S)
            gpu.throttled += part * (float(bool(int(value) & _HOT_BITS)) - gpu.throttled)
            gpu.seen = t

    def _add_host(self, t: float, name: str, value: float) -> None:
        machine, group = self._memory["machine"], self._memory["control group"]
        if name == "memory_total":
            machine.limit = value
        elif name == "memory_available" and machine.limit is not None:
            machine.used.add(t, machine.limit - value)
        elif name == "cgroup_memory_limit":
            group.limit = value
        elif name == "cgroup_memory_limit_used":
            group.used.add(t, value)
        elif name == "disk_free":
            self._disk.add(t, value)

    def _look_at_memory(self, t: float) -> None:
        for whose, one in self._memory.items():
            if one.limit is None or one.used.last is None or one.limit <= 0:
                continue
            part, left_s = one.used.last / one.limit, one.used.seconds_to(one.limit)
            soon = left_s is not None and left_s < rules.MEMORY_LEFT_S[0] and part > rules.MEMORY_USED_LEAST
            later = left_s is None or left_s > rules.MEMORY_LEFT_S[1]
            when = f", full in {_span(left_s)} at this rate" if left_s is not None else ""
            self._alarms.look(
                *(rules.MEMORY_RUNS_OUT, whose, t),
                bad=soon or part >= rules.MEMORY_USED[0],
                clear=later and part < rules.MEMORY_USED[1],
                text=f"Memory of the {whose} is {100 * part:.0f} % used{when}.",
                value=one.used.last,
                threshold=one.limit,
            )

    def _look_at_disk(self, t: float) -> None:
        free = self._disk.last
        if free is None:
            return
        left_s = self._disk.seconds_to(0.0)
        when = f", full in {_span(left_s)} at this rate" if left_s is not None else ""
        self._alarms.look(
            *(rules.DISK_FILLS, "", t),
            bad=free < rules.DISK_FREE_BYTES[0] or (left_s is not None and left_s < rules.DISK_LEFT_S[0]),
            clear=free > rules.DISK_FREE_BYTES[1] and (left_s is None or left_s > rules.DISK_LEFT_S[1]),
            text=f"The disk of the run has {free / 1e9:.1f} GB left{when}.",
            value=free,
            threshold=rules.DISK_FREE_BYTES[0],
        )

    def _look_at_gpus(self, t: float) -> None:
        for device, gpu in self._gpus.items():
            self._alarms.look(rules.GPU_LOST, device, t, bad=gpu.lost, text=f"GPU {device} is lost.")
            self._alarms.look(
                *(rules.GPU_THROTTLED, device, t),
                bad=gpu.throttled >= rules.THROTTLED_SHARE[0],
                clear=gpu.throttled < rules.THROTTLED_SHARE[1],
                text=f"Clocks of GPU {device} are lowered for heat or power supply.",
                value=gpu.throttled,
                threshold=rules.THROTTLED_SHARE[0],
            )
            if gpu.celsius is not None:
                self._alarms.look(
                    *(rules.GPU_TOO_HOT, device, t),
                    bad=gpu.celsius >= rules.GPU_CELSIUS[0],
                    clear=gpu.celsius < rules.GPU_CELSIUS[1],
                    text=f"GPU {device} is at {gpu.celsius:.0f} degrees Celsius.",
                    value=gpu.celsius,
                    threshold=rules.GPU_CELSIUS[0],
                )

    def _look_at_losses(self, t: float) -> None:
        if self._non_finite is not None:
            text = "Losses are NaN or infinite."
            self._alarms.look(rules.LOSS_NON_FINITE, "", t, bad=self._non_finite > 0, text=text)
        self._alarms.look(
            *(rules.LOSS_DIVERGING, "", t),
            bad=self._losses.diverges,
            clear=self._losses.is_clear,
            text=f"The loss has risen to {self._losses.value:.4g}, above where it began.",
            value=self._losses.value,
            threshold=self._losses.threshold,
        )

    def _look_at_steps(self, t: float) -> None:
        ratio, last, usual = self._steps.ratio, self._steps.last, self._steps.usual
        if ratio is None or last is None or usual is None:
            return
        self._alarms.look(
            *(rules.STEP_TIME_DOUBLED, "", t),
            bad=ratio >= rules.STEP_RATIO[0],
            clear=ratio < rules.STEP_RATIO[1],
            text=f"A step takes {last:.3g} s, {ratio:.1f} times the usual {usual:.3g} s.",
            value=last,
            threshold=rules.STEP_RATIO[0] * usual,
        )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
