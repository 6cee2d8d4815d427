"""A comparison as plain text and as JSON."""

import math
from collections.abc import Sequence
from typing import Any

from pylon.monitor import printable
from pylon.recorder.report.comparison.contender import Contender
from pylon.recorder.report.comparison.groups import Difference, differences, groups_of, is_of_a_repetition
from pylon.recorder.report.record import story_record
from pylon.recorder.report.units import duration_text, value_text

_MOST_KEYS = 60
_LONGEST_VALUE = 60
# What differs, if nothing that is shown does; True: of configurations.
NOTHING = {True: "nothing but seeds and names", False: "nothing"}
HEADS = (
    "run",
    "state",
    "lasted",
    "steps",
    "step time",
    "wait",
    "last loss",
    "GPU",
    "GPU memory",
    "what held it back",
)


def comparison_lines(contenders: Sequence[Contender]) -> list[str]:
    """All lines; none holds a character that could control a terminal."""
    rows = [("", *HEADS), *((str(number), *overview(one)) for number, one in enumerate(contenders, 1))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    seeds = [group for group in groups_of(contenders) if len(group.members) > 1]
    if seeds:
        lines += ["", "Repetitions (they differ in seeds alone)"]
        lines += [f"  runs {_numbers(group.members)}" for group in seeds]
    lines += _section("Configuration: what differs", [one.configuration for one in contenders])
    lines += _section("Hardware: what differs", [one.hardware for one in contenders])
    lines += _section("Start: what differs", [one.start for one in contenders])
    return [printable(line.expandtabs()) for line in lines]


def overview(contender: Contender) -> tuple[str, ...]:
    """The cells of one run under `HEADS`."""
    story, step = contender.story, contender.step
    share = contender.wait_share
    use, memory = contender.total("gpu-use"), contender.total("gpu-memory")
    return (
        story.title,
        story.state if story.ending is None else f"{story.state} ({story.ending.cause})",
        duration_text(contender.elapsed_s),
        value_text(contender.steps),
        value_text(None if step is None else step.mean, "seconds"),
        value_text(None if share is None else round(100 * share, 1), "percent"),
        value_text(contender.last_loss),
        value_text(None if use is None else round(use.mean), "percent"),
        value_text(None if memory is None else memory.max, "bytes"),
        "?" if story.verdict is None else story.verdict.title.partition(":")[0],
    )


def shown_differences(tables: Sequence[dict[str, str]]) -> list[Difference]:
    """What differs, without seeds and names."""
    return [one for one in differences(tables) if not is_of_a_repetition(one.key)]


def _section(title: str, tables: Sequence[dict[str, str]]) -> list[str]:
    unknown = [number for number, table in enumerate(tables) if not table]
    known = shown_differences([table for table in tables if table])
    places = [number for number, table in enumerate(tables) if table]
    lines = ["", title]
    for one in known[:_MOST_KEYS]:
        begin = _where_it_differs([value for value, _ in one.values if value is not None])
        values = [
            f"{_shown(value, begin)} ({_numbers([places[run] for run in runs])})"
            for value, runs in one.values
        ]
        lines.append(f"  {one.key}: {', '.join(values)}")
    if len(known) > _MOST_KEYS:
        lines.append(f"  ... and {len(known) - _MOST_KEYS} more keys: --json has them all")
    if not known and places:
        lines.append(f"  {NOTHING[title.startswith('Configuration')]}")
    if unknown:
        lines.append(f"  not recorded of {_numbers(unknown)}")
    return lines


def comparison_record(contenders: Sequence[Contender]) -> dict[str, Any]:
    """Everything that the text shows, for JSON; runs are numbered from 0, in the order of `runs`."""

    def listed(tables: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
        return [
            {"key": one.key, "values": [{"value": value, "runs": list(runs)} for value, runs in one.values]}
            for one in differences(tables)
        ]

    return {
        "runs": [
            {
                **story_record(one.story),
                "elapsed_s": one.elapsed_s,
                "steps": one.steps,
                "step_s": None if one.step is None else one.step.mean,
                "wait_share": one.wait_share,
                "last_loss": None
                if one.last_loss is None or not math.isfinite(one.last_loss)
                else one.last_loss,
            }
            for one in contenders
        ],
        "groups": [list(group.members) for group in groups_of(contenders)],
        "configuration_differences": listed([one.configuration for one in contenders]),
        "hardware_differences": listed([one.hardware for one in contenders]),
        "start_differences": listed([one.start for one in contenders]),
    }


def _where_it_differs(values: Sequence[str]) -> int:
    """Where the words begin from which on long values differ; 0 if they all fit."""
    if len(values) < 2 or max(map(len, values)) <= _LONGEST_VALUE:
        return 0
    places = enumerate(zip(*values, strict=False))
    differs = next((place for place, found in places if len(set(found)) > 1), min(map(len, values)))
    return values[0].rfind(" ", 0, differs) + 1


def _shown(value: str | None, begin: int) -> str:
    if value is None:
        return "absent"
    part = value[begin : begin + _LONGEST_VALUE]
    return f"{'...' if begin else ''}{part}{'...' if begin + len(part) < len(value) else ''}"


def _numbers(runs: Sequence[int]) -> str:
    return ", ".join(str(run + 1) for run in runs)
