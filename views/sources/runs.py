"""A run as it is now: the newest launch of its record in a few figures."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylon.recorder.history import AlertRow, EndingRow, History, LaunchRow, MarkRow, StepWindow, detail_of
from pylon.recorder.report.conclusion import concluded, last_seen_of
from pylon.recorder.report.words import cause_line, verdict_title

# Figures of a run are of so many of its last seconds; a step that takes longer is in the last window.
_RECENT_S = 30.0
_EPOCHS_FOR_PACE = 5
_MOST_ALERTS = 20


@dataclass(frozen=True, slots=True)
class RunNow:
    """The newest launch of a record. What is not known is None.

    Attributes:
        path: of the record.
        launch: its row.
        launches: how many the record has.
        ending: how it ended, as recorded or concluded now; None while it runs.
        cause: of the end, in words; empty while it runs.
        last_seen: Unix time of the newest entry.
        epoch, epochs: the epoch under way, counted from 0, and how many are planned.
        step: the newest step that was finished.
        step_at: Unix time of its end.
        loss: mean over the newest seconds, if these have a step.
        non_finite: how many losses of these seconds were NaN or infinite.
        step_s, wait_s: mean time of a step, and of its wait for data, over these seconds.
        steps_per_s: how fast steps go.
        end_expected_at: Unix time; of runs whose epochs are planned.
        score: name and value of the newest validation's score.
        verdict: the newest bottleneck in words.
        checkpoint_at: Unix time of the newest checkpoint.
        alerts: those that hold, and the newest of those that have passed, the newest first.
        doing: 'training', 'validation' or 'checkpoint' while it runs.
    """

    path: Path
    launch: LaunchRow
    launches: int
    ending: EndingRow | None
    cause: str
    last_seen: float
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    step_at: float | None = None
    loss: float | None = None
    non_finite: int | None = None
    step_s: float | None = None
    wait_s: float | None = None
    steps_per_s: float | None = None
    end_expected_at: float | None = None
    score: tuple[str, float] | None = None
    verdict: str | None = None
    checkpoint_at: float | None = None
    alerts: tuple[AlertRow, ...] = ()
    doing: str | None = None

    @property
    def name(self) -> str:
        """A name for headings."""
        return self.launch.name or self.path.parent.name

    @property
    def state(self) -> str:
        """'running', or the state of its ending."""
        return "running" if self.ending is None else self.ending.state

    @property
    def alerts_now(self) -> tuple[AlertRow, ...]:
        """Alerts that hold."""
        return tuple(one for one in self.alerts if one.until is None) if self.ending is None else ()


def read_run(history: History, path: Path) -> RunNow | None:
    """What is known of the newest launch; None: none is recorded yet.

    The cost does not grow with the run, but for a look at all its marks for a kind that it has none of.

    Args:
        history: the record.
        path: where it is.

    Raises:
        HistoryError: it cannot be read.
    """
    launches = history.launches()
    if not launches:
        return None
    launch = launches[-1]
    number = launch.id or 0
    last_seen = last_seen_of(history, launch, ())
    ending = history.ending(number) or concluded(launch, last_seen, path)
    at = last_seen if ending is None else ending.at
    recent = history.windows(number, since=at - _RECENT_S, buckets=1)
    epochs = history.newest_marks(number, "epoch", _EPOCHS_FOR_PACE + 1)
    began = detail_of(epochs[-1]) if epochs else {}
    verdicts = history.newest_verdicts(number, 1)
    checkpoints = history.newest_marks(number, "checkpoint_end")
    last = history.newest_window(number, least_steps=1)
    return RunNow(
        path=path,
        launch=launch,
        launches=len(launches),
        ending=ending,
        cause="" if ending is None else _cause(ending),
        last_seen=last_seen,
        epoch=_epoch(began, last),
        epochs=_whole(began.get("epochs")),
        step=None if last is None else last.last_step,
        step_at=None if last is None else last.t + last.width,
        end_expected_at=_expected_end(epochs) if ending is None else None,
        score=_score(history.newest_marks(number, "score")),
        verdict=verdict_title(verdicts[-1].name) if verdicts else None,
        checkpoint_at=checkpoints[-1].t if checkpoints else None,
        alerts=tuple(reversed(history.newest_alerts(number, _MOST_ALERTS))),
        doing=_doing(history, number) if ending is None else None,
        **_pace(recent[-1] if recent else None),
    )


def _pace(recent: StepWindow | None) -> dict[str, Any]:
    """Loss and times of the newest seconds; without a step in them, no speed is known."""
    if recent is None:
        return {}
    return {
        "loss": recent.loss_mean,
        "non_finite": recent.non_finite,
        "step_s": recent.step_mean,
        "wait_s": recent.wait_mean,
        "steps_per_s": recent.n / recent.width if recent.width > 0 else None,
    }


def _epoch(began: dict[str, Any], last: StepWindow | None) -> int | None:
    known = _whole(began.get("epoch", began.get("number")))
    return last.epoch if known is None and last is not None else known


def _expected_end(epochs: Sequence[MarkRow]) -> float | None:
    """From the pace of the last epochs, validation and saving included."""
    if len(epochs) < 2:
        return None
    newest = detail_of(epochs[-1])
    number, planned = _whole(newest.get("epoch")), _whole(newest.get("epochs"))
    if number is None or planned is None:
        return None
    each_s = (epochs[-1].t - epochs[0].t) / (len(epochs) - 1)
    return epochs[-1].t + each_s * (planned - number)


def _score(marks: Sequence[MarkRow]) -> tuple[str, float] | None:
    detail = detail_of(marks[-1]) if marks else {}
    name, value = detail.get("name"), detail.get("value")
    if not isinstance(name, str) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return name, float(value)


def _doing(history: History, launch: int) -> str:
    for what in ("checkpoint", "validation"):
        began = history.newest_marks(launch, f"{what}_begin")
        ended = history.newest_marks(launch, f"{what}_end")
        if began and (not ended or ended[-1].t < began[-1].t):
            return what
    return "training"


def _cause(ending: EndingRow) -> str:
    return cause_line(ending.cause, ending.certainty, ending.exit_code, ending.signal)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def silent_s(run: RunNow) -> float:
    """Seconds since anything was recorded."""
    return max(0.0, time.time() - run.last_seen)
