"""The verdict over facts, live or from a record."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from pylon.recorder.history import History, MarkRow, SeriesKey, StepWindow, VerdictRow
from pylon.recorder.verdict.figures import NAMES, Facts, Stretch
from pylon.recorder.verdict.rules import LEAST_S, LEAST_STEPS, RULES, Finding

# One live verdict is over so much time at least, and over so much at most if steps are few.
_EVERY_S = 60.0
_PATIENCE_S = 600.0

NOT_ENOUGH = "not_enough_data"
NONE_FOUND = "none_found"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What held a run back.

    Attributes:
        name: memory_pressure, throttled, input_bound, checkpoint_bound, validation_bound, cpu_bound,
            gpu_idle, gpu_busy, none_found or not_enough_data.
        level: 'high' or 'moderate'; '' for the last two.
        evidence: sentences with the figures.
        advice: what to do; '' if there is nothing.
        runner_up: the next rule that applies.
        step_s: the mean time of a step.
        step_s_if_cured: an estimate of it without the bottleneck.
        facts: what it was judged by.
    """

    name: str
    level: str
    evidence: tuple[str, ...]
    advice: str
    runner_up: str | None
    step_s: float | None
    step_s_if_cured: float | None
    facts: Facts

    def row(self, launch: int, t: float, width: float) -> VerdictRow:
        """It as a row of the record, of the time from `t` on."""
        evidence = json.dumps(
            {"level": self.level, "sentences": self.evidence, "advice": self.advice, "step_s": self.step_s}
        )
        return VerdictRow(launch, t, width, self.name, evidence, self.runner_up, self.step_s_if_cured)


def judge(facts: Facts) -> Verdict:
    """The first of the rules that apply at the highest level, and the next one."""
    if facts.steps < LEAST_STEPS or facts.elapsed_s < LEAST_S:
        text = (
            f"{facts.steps} steps in {facts.elapsed_s:.0f} s after the warm-up; "
            f"a verdict needs {LEAST_STEPS} steps and {LEAST_S:.0f} s."
        )
        return Verdict(NOT_ENOUGH, "", (text,), "", None, facts.step_s, None, facts)
    found = [one for one in (rule(facts) for rule in RULES) if one is not None]
    ordered: list[Finding] = sorted(found, key=lambda one: -one.level)
    if not ordered:
        text = f"No rule applies: the mean step took {facts.step_s or 0:.3f} s."
        return Verdict(NONE_FOUND, "", (text,), "", None, facts.step_s, None, facts)
    first = ordered[0]
    runner_up = ordered[1].name if len(ordered) > 1 else None
    return Verdict(
        first.name,
        first.level.name.lower(),
        first.evidence,
        first.advice,
        runner_up,
        facts.step_s,
        first.step_s_if_cured,
        facts,
    )


class LiveVerdict:
    """The verdict while a run goes on: about one a minute, over the time since the one before.

    A validation may fill a minute: time outside of training is measured over the whole launch.

    Args:
        launch: its number.
    """

    def __init__(self, launch: int) -> None:
        self._launch = launch
        self._stretch = Stretch()
        self._whole = Stretch()
        self._began: float | None = None
        self._last: Verdict | None = None

    def add_mark(self, mark: MarkRow) -> None:
        """Add a mark, before the readings and windows of its tick."""
        self._stretch.add_mark(mark)
        self._whole.add_mark(mark)

    def add_window(self, window: StepWindow) -> None:
        """Add the steps of a tick."""
        self._stretch.add_window(window)
        self._whole.add_window(window)

    def add_readings(self, t: float, readings: Iterable[tuple[SeriesKey, float | None, str | None]]) -> None:
        """Add readings, as `HistoryWriter.sample` takes them."""
        self._stretch.add_readings(t, ((key, value, 1) for key, value, _ in readings))

    def due(self, t: float) -> VerdictRow | None:
        """The verdict at `t`, as a row; None while there is too little to judge by, or it is too soon."""
        if self._began is None:
            self._began = t
        facts, whole = self._stretch.facts(), self._whole.facts()
        if t - self._began < _EVERY_S or (facts.steps < LEAST_STEPS and t - self._began < _PATIENCE_S):
            return None
        self._last = judge(
            dataclasses.replace(
                facts,
                whole_s=whole.elapsed_s,
                validation_s=whole.validation_s,
                checkpoint_s=whole.checkpoint_s,
            )
        )
        row = self._last.row(self._launch, self._began, t - self._began)
        self._stretch = self._stretch.following()
        self._began = t
        return row

    @property
    def last(self) -> Verdict | None:
        """The newest verdict; None before the first."""
        return self._last


def of_history(history: History, launch: int, since: float = -math.inf, until: float = math.inf) -> Verdict:
    """The verdict over a part of a record, or over a whole launch."""
    marks = history.marks(launch)
    windows = history.windows(launch, since, until)
    times = [*(one.t for one in windows), *(one.t for one in marks if since <= one.t < until)]
    if not times:
        return judge(Facts())
    first, last = max(min(times), since), min(max(times) + 1, until)
    keys = [key for key in history.series() if key.server == "localhost" and key.name in NAMES]
    entries: list[tuple[float, int, object]] = [(one.t, 0, one) for one in marks if first <= one.t < last]
    entries += [(one.t, 1, one) for one in windows]
    for key in keys:
        for sample in history.readings(key, first, last):
            # The mean of bit masks is none.
            if key.unit != "bits" or sample.min == sample.max:
                entries.append((sample.t, 2, (key, sample.mean, sample.n)))
    stretch = Stretch()
    for t, _, entry in sorted(entries, key=lambda one: one[:2]):
        if isinstance(entry, MarkRow):
            stretch.add_mark(entry)
        elif isinstance(entry, StepWindow):
            stretch.add_window(entry)
        elif isinstance(entry, tuple):
            stretch.add_readings(t, [entry])
    return judge(stretch.facts())
