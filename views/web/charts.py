"""Charts of servers, runs and comparisons as the page's script takes them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pylon.recorder.history import Sample, open_history
from pylon.recorder.report.charts.grid import Grid, on_grid
from pylon.recorder.report.charts.line import Chart, Line, View
from pylon.recorder.report.charts.run_view import run_view
from pylon.recorder.report.comparison.contender import Contender, buckets_for, read_contender
from pylon.recorder.report.comparison.page import comparison_parts
from pylon.recorder.report.comparison.views import comparison_views
from pylon.recorder.report.page.run_page import run_parts
from pylon.recorder.report.story import Story, read_story
from pylon.views.web.parts import shown
from pylon.views.web.reading import LastMinutes, Values

# Id, title, unit, the greatest value if it is known, and the figures by what they are called.
_HOST: tuple[tuple[str, str, str, float | None, Mapping[str, str]], ...] = (
    ("cpu", "CPU", "percent", 100.0, {"cpu_utilization": "all cores"}),
    ("memory", "Memory of the machine", "bytes", None, {"memory_used": "used"}),
    ("network", "Network traffic", "bytes_per_second", None, {"net_received": "in", "net_sent": "out"}),
    ("disk", "Disk traffic", "bytes_per_second", None, {"disk_read": "read", "disk_write": "write"}),
)
_GPU: tuple[tuple[str, str, str, float | None, str], ...] = (
    ("gpu-use", "GPU utilization", "percent", 100.0, "gpu_utilization"),
    ("gpu-memory", "GPU memory", "bytes", None, "gpu_memory_used"),
    ("gpu-power", "GPU power", "watts", None, "gpu_power"),
    ("gpu-temperature", "GPU temperature", "celsius", None, "gpu_temperature"),
)


def server_charts(lately: LastMinutes, every_s: float) -> dict[str, Any]:
    """The last minutes of a server.

    Args:
        lately: its figures.
        every_s: between two of them.
    """
    if not lately.times:
        return {"views": []}
    width = max(every_s, 0.05)
    count = max(1, round((lately.times[-1] - lately.times[0]) / width) + 1)
    grid = Grid(lately.times[0], width, count)
    charts = [
        Chart(
            id_,
            title,
            unit,
            tuple(_line(grid, lately.times, name, lately.host.get(key)) for key, name in figures.items()),
            top=top,
        )
        for id_, title, unit, top, figures in _HOST
    ]
    for id_, title, unit, top, key in _GPU:
        lines = tuple(
            _line(grid, lately.times, f"GPU {place}", values)
            for place, values in enumerate(lately.gpus.get(key, ()))
        )
        charts.append(Chart(id_, title, unit, lines, top=top, zero=unit != "celsius"))
    return {"views": [View("time", (grid,), tuple(charts)).as_record()]}


def run_answer(path: Path, *, commands: bool) -> bytes:
    """Head, charts and tail of a run's page.

    Args:
        path: of the record.
        commands: whether its command line, which is masked, is part of it.

    Raises:
        HistoryError: it cannot be read.
        ReportError: nothing is recorded in it yet.
    """
    with open_history(path) as history:
        story = read_story(history, path)
        view = run_view(history, story).as_record()
    if story.ending is None:
        # The report's advice is to repeat the command.
        story = dataclasses.replace(story, advice="This page shows newer figures as they come.")
    head, tail = run_parts(story if commands else _without_command(story))
    return _json({"title": shown(story.title), "head": head, "tail": tail, "views": [view]})


def comparison_answer(paths: Sequence[Path], *, commands: bool) -> bytes:
    """Head and charts of a comparison.

    Args:
        paths: of the records.
        commands: as for a run.

    Raises:
        HistoryError: one cannot be read.
        ReportError: nothing is recorded in one yet.
    """
    contenders = [read_contender(path, buckets_for(len(paths))) for path in paths]
    views = [view.as_record() for view in comparison_views(contenders)]
    title, head = comparison_parts(contenders if commands else [_bare(one) for one in contenders])
    return _json({"title": title, "head": head, "tail": "", "views": views})


def _bare(contender: Contender) -> Contender:
    start = {name: value for name, value in contender.start.items() if name != "command"}
    return dataclasses.replace(contender, start=start, story=_without_command(contender.story))


def _without_command(story: Story) -> Story:
    return dataclasses.replace(story, launch=dataclasses.replace(story.launch, command=None))


def _line(grid: Grid, times: Sequence[float], name: str, values: Values | None) -> Line:
    samples = [
        Sample(at, 0.0, 1, value, value, value)
        for at, value in zip(times, values or (), strict=False)
        if value is not None
    ]
    return Line(name, (on_grid(grid, samples),))


def _json(value: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
