"""What a report has to say of one launch, gathered from its record before any form of it is made."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.endings import advice
from pylon.recorder.history import (
    AlertRow,
    EndingRow,
    History,
    LaunchRow,
    MarkRow,
    ProcessRow,
    VerdictRow,
    json_column,
)
from pylon.recorder.report.conclusion import SILENT_S, concluded, last_seen_of
from pylon.recorder.report.errors import ReportError
from pylon.recorder.report.figures import Figure, hardware_figures, training_figures
from pylon.recorder.report.units import duration_text, time_text
from pylon.recorder.report.words import cause_line, verdict_title
from pylon.recorder.verdict import NOT_ENOUGH, of_history

# The whole record of a longer launch takes too long to judge.
_SHORT_S = 900.0
_OF_MEMORY = frozenset({"cgroup_oom", "host_oom", "cuda_oom", "sigkill", "bus_error"})
# What a kill has freed is gone from the list before the end is known.
_LAST_HOLDERS_S = 30.0
_MOST_HOLDERS = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What held a launch back, over its whole time.

    Attributes:
        title: in words.
        share: of the time with a verdict, how much had this one.
        evidence: sentences.
        advice: what to do; empty: nothing.
        runner_up: in words; empty: none.
        step_s_if_cured: step time without it; None: not known.
    """

    title: str
    share: float
    evidence: tuple[str, ...] = ()
    advice: str = ""
    runner_up: str = ""
    step_s_if_cured: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One launch, as a report shows it.

    Attributes:
        path: of the record.
        launch: its row.
        number, launches: of the record: the second of three.
        ending: how it ended, as recorded or concluded now; None while it runs.
        last_seen: time of the newest entry.
        cause, advice: the first two lines.
        evidence: sentences.
        figures: of the last minutes.
        verdict: None if there is none.
        alerts: from the oldest on.
        last_step: None: not known.
        stacks: of every thread, from when it last hung; None: it did not, or they could not be taken.
        earlier: the launches before it in the same record, with their endings.
        holders: processes that held memory at the end, those with the most first; of an end for which memory
            is or may be the reason.
    """

    path: Path
    launch: LaunchRow
    number: int
    launches: int
    ending: EndingRow | None
    last_seen: float
    cause: str
    advice: str
    evidence: tuple[str, ...]
    figures: tuple[Figure, ...]
    verdict: Verdict | None
    alerts: tuple[AlertRow, ...]
    last_step: int | None
    stacks: str | None = None
    earlier: tuple[tuple[LaunchRow, EndingRow | None], ...] = ()
    holders: tuple[ProcessRow, ...] = ()

    @property
    def state(self) -> str:
        """Of the ending, or 'running'."""
        return "running" if self.ending is None else self.ending.state

    @property
    def end(self) -> float:
        """When it ended, or was last seen."""
        return self.last_seen if self.ending is None else max(self.ending.at, self.launch.began_at)

    @property
    def title(self) -> str:
        """A name for headings."""
        return self.launch.name or self.path.parent.name


def read_story(history: History, path: Path, chosen: int | None = None) -> Story:
    """Gather what is known of a launch.

    Args:
        history: the record.
        path: where it is.
        chosen: number of the launch from 1; None: the newest.

    Raises:
        ReportError: there is no such launch.
        HistoryError: the record cannot be read.
    """
    launches = history.launches()
    number = len(launches) if chosen is None else chosen
    if not launches:
        raise ReportError(
            f"{path}: no launch is recorded in it yet. Repeat this once the program has started"
        )
    if not 1 <= number <= len(launches):
        raise ReportError(f"{path}: --launch {number}, expected 1 to {len(launches)}")
    launch = launches[number - 1]
    identity = launch.id or 0
    last_seen = last_seen_of(history, launch, launches[number:])
    # The writer, and the room on the disk now, are the newest launch's.
    ending = history.ending(identity) or concluded(launch, last_seen, None if launches[number:] else path)
    end = last_seen if ending is None else max(ending.at, launch.began_at)
    windows = history.windows(identity, buckets=1)
    figures = training_figures(lambda since, until: history.windows(identity, since, until, buckets=60), end)
    cause, next_step = _first_lines(launch, ending, last_seen, windows[-1].last_step if windows else None)
    return Story(
        path=path,
        launch=launch,
        number=number,
        launches=len(launches),
        ending=ending,
        last_seen=last_seen,
        cause=cause,
        advice=next_step,
        evidence=tuple(evidence_of(ending.evidence) if ending else ()),
        figures=(*figures, *hardware_figures(history, end)),
        verdict=_verdict(history, launch, end),
        alerts=tuple(history.alerts(identity)),
        last_step=windows[-1].last_step if windows else None,
        stacks=_stacks(history.marks(identity, {"stack"})),
        earlier=tuple((one, history.ending(one.id or 0)) for one in launches[: number - 1]),
        holders=_holders(history, ending),
    )


def _holders(history: History, ending: EndingRow | None) -> tuple[ProcessRow, ...]:
    if ending is None or ending.cause not in _OF_MEMORY:
        return ()
    at_end = [
        one
        for one in history.processes(ending.launch)
        if one.memory_bytes and (one.until is None or ending.at - one.until < _LAST_HOLDERS_S)
    ]
    return tuple(sorted(at_end, key=lambda one: -(one.memory_bytes or 0))[:_MOST_HOLDERS])


def _stacks(marks: Sequence[MarkRow]) -> str | None:
    detail = json_column(marks[-1].detail) if marks else None
    text = (detail.get("text") or detail.get("cut")) if isinstance(detail, dict) else None
    return None if text is None else str(text)


def _first_lines(
    launch: LaunchRow, ending: EndingRow | None, last_seen: float, step: int | None
) -> tuple[str, str]:
    if ending is None:
        at = "" if step is None else f", step {step:,}"
        silent_s = time.time() - last_seen
        if silent_s > SILENT_S:
            line = f"Running{at}; nothing was recorded for {duration_text(silent_s)}."
            return line, "The recorder may have ended, or its disk may be full: see the run's log."
        return f"Running{at}, last recorded {time_text(last_seen)}.", "Repeat this command for newer figures."
    line = cause_line(ending.cause, ending.certainty, ending.exit_code, ending.signal)
    if ending.cause == "recorder_lost" and ending.certainty == "not_observable":
        return line, f"Ask on {launch.host or 'its machine'}, or ask the scheduler, whether it still runs."
    return line, ending.advice or advice(ending.cause)


def evidence_of(text: str | None) -> list[str]:
    """The sentences of a JSON list of sentences, or of objects with `text`; the text itself if it is none."""
    found = json_column(text)
    if isinstance(found, dict):
        found = found.get("sentences", [])
    if not isinstance(found, list):
        return [] if found is None else [str(found)]
    return [str(one.get("text", one)) if isinstance(one, dict) else str(one) for one in found]


def _verdict(history: History, launch: LaunchRow, end: float) -> Verdict | None:
    """As it was recorded or, of a launch that ended before the first, as it follows from the record."""
    rows = history.verdicts(launch.id)
    if not rows and end - launch.began_at < _SHORT_S:
        rows = [
            of_history(history, launch.id or 0).row(launch.id or 0, launch.began_at, end - launch.began_at)
        ]
    return summed_verdict(rows)


def summed_verdict(rows: Sequence[VerdictRow]) -> Verdict | None:
    """The verdict that held for most of the time, with the evidence of its newest row."""
    if not rows:
        return None
    judged = [row for row in rows if row.name != NOT_ENOUGH] or list(rows)
    times: dict[str, float] = {}
    for row in judged:
        times[row.name] = times.get(row.name, 0.0) + max(row.width, 1.0)
    name = max(times, key=lambda one: times[one])
    newest = [row for row in judged if row.name == name][-1]
    detail = json_column(newest.evidence)
    return Verdict(
        title=verdict_title(name),
        share=times[name] / sum(times.values()),
        evidence=tuple(evidence_of(newest.evidence)),
        advice=str(detail.get("advice") or "") if isinstance(detail, dict) else "",
        runner_up=verdict_title(newest.runner_up) if newest.runner_up else "",
        step_s_if_cured=newest.step_s_if_cured,
    )


def facts(story: Story) -> list[tuple[str, str]]:
    """What identifies a launch, by name."""
    launch = story.launch
    ended = "running" if story.ending is None else time_text(story.end)
    found = [
        ("record", str(story.path)),
        ("launch", f"{story.number} of {story.launches}" if story.launches > 1 else ""),
        ("began", time_text(launch.began_at)),
        ("ended", ended),
        ("lasted", duration_text(max(0.0, story.end - launch.began_at))),
        ("last step", "" if story.last_step is None else f"{story.last_step:,}"),
        ("host", launch.host or ""),
        ("rank", "" if not launch.ranks or launch.ranks < 2 else f"{launch.rank} of {launch.ranks}"),
        ("command", command_text(launch.command)),
        ("folder", launch.working_directory or ""),
        ("git", _git_text(launch.git)),
    ]
    return [(name, text) for name, text in found if text]


def command_text(command: str | None) -> str:
    """The command line of a JSON list."""
    words = json_column(command)
    return " ".join(map(str, words)) if isinstance(words, list) else str(words or "")


def _git_text(text: str | None) -> str:
    git = json_column(text)
    if not isinstance(git, dict):
        return ""
    commit = str(git.get("commit") or "")[:12]
    return f"{commit} (with changes)" if commit and git.get("dirty") else commit
