"""One run of a comparison: its story, configuration, hardware and curves, read once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.recorder.history import History, LaunchRow, MarkRow, Sample, SeriesKey, StepWindow, open_history
from pylon.recorder.report.charts.specs import assigned, is_limit
from pylon.recorder.report.charts.training import step_samples, wait_samples
from pylon.recorder.report.conclusion import last_seen_of
from pylon.recorder.report.figures import merged
from pylon.recorder.report.story import Story, facts, read_story
from pylon.storage import parsed_json

# Enough for a chart, and bounded for a run of weeks; of many runs each has less.
MOST_BUCKETS = 1000
LEAST_BUCKETS = 100
_OF_ALL = 8000
# Charts of hardware that are compared; of each device the values are summed up.
_HARDWARE = ("gpu-use", "gpu-memory", "gpu-power", "cpu", "cpu-run", "memory-run")


@dataclass(frozen=True, slots=True)
class Contender:
    """One run of a comparison.

    Attributes:
        story: of its newest launch.
        configuration: value by key path; empty if none was recorded.
        hardware: of the machine, value by key path.
        start: how it was started: command, folder, machine, interpreter, commit, number of ranks.
        windows: steps of all launches, by seconds of running since the first began.
        marks: likewise.
        usage: by chart, its title, unit, and readings by seconds of running.
        steps: how many were taken up to where the newest launch with a step came; None: not known.
        last_loss: of the last step that has reported one, maybe NaN; None: not known.
    """

    story: Story
    configuration: dict[str, str]
    hardware: dict[str, str]
    start: dict[str, str] = field(default_factory=dict)
    windows: tuple[StepWindow, ...] = ()
    marks: tuple[MarkRow, ...] = ()
    usage: dict[str, tuple[str, str, tuple[Sample, ...]]] = field(default_factory=dict)
    elapsed_s: float = 0.0
    steps: int | None = None
    last_loss: float | None = None

    def total(self, chart: str) -> Sample | None:
        """All readings of a chart as one; None: there are none."""
        return merged(self.usage[chart][2]) if chart in self.usage else None

    @property
    def step(self) -> Sample | None:
        """The step time over all steps."""
        return merged(step_samples(self.windows))

    @property
    def wait_share(self) -> float | None:
        """The part of the step time that was spent waiting for data."""
        step, wait = self.step, merged(wait_samples(self.windows))
        return None if step is None or wait is None or step.mean <= 0 else wait.mean / step.mean


def buckets_for(runs: int) -> int:
    """How finely each of so many runs is read."""
    return max(LEAST_BUCKETS, min(MOST_BUCKETS, _OF_ALL // runs))


def read_contender(path: Path, buckets: int = MOST_BUCKETS) -> Contender:
    """Read a record for a comparison.

    Args:
        path: of the record.
        buckets: how many its figures are read in; its steps in three times as many.

    Raises:
        HistoryError: it cannot be read.
        ReportError: nothing is recorded in it yet.
    """
    with open_history(path) as history:
        story = read_story(history, path)
        spans = list(_spans(history, story))
        elapsed_s = sum(end - begin for _, begin, end, _ in spans)
        per_launch = max(50, buckets // len(spans))
        windows: list[StepWindow] = []
        marks: list[MarkRow] = []
        for identity, begin, end, offset in spans:
            shift = offset - begin
            windows += [
                _shifted(w, shift) for w in history.windows(identity, begin, end + 1.0, 3 * per_launch)
            ]
            marks += [
                MarkRow(mark.launch, mark.t + shift, mark.kind, mark.detail)
                for mark in history.marks(identity, {"score", "epoch"})
            ]
        return Contender(
            story=story,
            configuration=flat_values(story.launch.configuration),
            hardware=flat_values(story.launch.hardware),
            start=_start(story),
            windows=tuple(windows),
            marks=tuple(marks),
            usage=_usage(history, spans, per_launch),
            elapsed_s=elapsed_s,
            steps=_steps_taken(history, story.launch.kind),
            last_loss=_last_loss(history),
        )


def _steps_taken(history: History, kind: str) -> int | None:
    """The count that the newest step's number stands for: a resumed run takes some steps a second time."""
    firsts, last = [], None
    for launch in history.launches():
        windows = history.windows(launch.id or 0, buckets=1)
        firsts += [one.first_step for one in windows if one.first_step is not None]
        last = max((one.last_step for one in windows if one.last_step is not None), default=last)
    # A runner counts from 0. A loop of one's own does if its record has a step 0, and else from 1.
    from_zero = kind == "runner" or 0 in firsts
    return None if last is None else last + from_zero


def _last_loss(history: History) -> float | None:
    losses = (history.last_loss(launch.id or 0) for launch in reversed(history.launches()))
    return next((loss for loss in losses if loss is not None), None)


def _start(story: Story) -> dict[str, str]:
    named, launch = dict(facts(story)), story.launch
    found: dict[str, str] = {}
    found |= {name: named[name] for name in ("command", "folder", "host", "git") if name in named}
    found |= {"python": launch.python} if launch.python else {}
    # A wrapped command starts its ranks itself, as torchrun does: how many is not recorded.
    ranks = launch.ranks or (None if launch.kind == "wrapper" else 1)
    return found | ({} if ranks is None else {"ranks": str(ranks)})


def _spans(history: History, story: Story) -> Iterator[tuple[int, float, float, float]]:
    """Of each launch: number, begin, end, and the running time before it."""
    launches = history.launches()
    offset = 0.0
    for place, launch in enumerate(launches):
        begin, end = launch.began_at, _end(history, launch, launches[place + 1 :], story)
        yield launch.id or 0, begin, end, offset
        offset += end - begin


def _end(history: History, launch: LaunchRow, later: Sequence[LaunchRow], story: Story) -> float:
    if launch.id == story.launch.id:
        return story.end
    ending = history.ending(launch.id or 0)
    return last_seen_of(history, launch, later) if ending is None else max(launch.began_at, ending.at)


def _shifted(window: StepWindow, shift: float) -> StepWindow:
    moved = {name: getattr(window, name) for name in StepWindow.__slots__}
    return StepWindow(**{**moved, "t": window.t + shift})


def _usage(
    history: History, spans: list[tuple[int, float, float, float]], buckets: int
) -> dict[str, tuple[str, str, tuple[Sample, ...]]]:
    usage = {}
    for spec, members in assigned(history.series()):
        local = [key for key in members if key.server == "localhost" and not is_limit(key)]
        if spec.id not in _HARDWARE or not local:
            continue
        # Of several figures of one chart the first is the one that its title means.
        chosen = [key for key in local if key.name == local[0].name]
        samples: list[Sample] = []
        for _, begin, end, offset in spans:
            samples += _over_devices(history, chosen, (begin, end), buckets, offset - begin)
        usage[spec.id] = (spec.title, chosen[0].unit, tuple(samples))
    return usage


def _over_devices(
    history: History, keys: list[SeriesKey], span: tuple[float, float], buckets: int, shift: float
) -> list[Sample]:
    """The readings of all devices together: the least, the mean, the greatest of each moment."""
    by_time: dict[float, list[Sample]] = {}
    for key in keys:
        for sample in history.samples(key, span[0], max(span[1], span[0] + 1.0), buckets):
            by_time.setdefault(sample.t, []).append(sample)
    together = [one for _, samples in sorted(by_time.items()) if (one := merged(samples)) is not None]
    return [Sample(one.t + shift, one.width, *one[2:]) for one in together]


def flat_values(text: str | None) -> dict[str, str]:
    """The values of JSON by key path, each as JSON."""
    try:
        value = parsed_json(text) if text else {}
    except ValueError:
        return {}
    return dict(_flat("", value)) if value and isinstance(value, dict) else {}


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), one)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for place, one in enumerate(value):
            yield from _flat(f"{path}.{place}", one)
    else:
        yield path, json.dumps(value, ensure_ascii=False)
