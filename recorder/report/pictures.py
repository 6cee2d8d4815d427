"""The charts as PNG files for papers and mails, drawn by matplotlib."""

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pylon.recorder.report.charts.line import COLORS, GREY, RED, Chart, Line, View
from pylon.recorder.report.errors import ReportError
from pylon.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (6.4, 2.6)
_DOTS_PER_INCH = 200
# Okabe and Ito's palette: distinguished by colour-blind readers too, and in print.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a6a00", "#56b4e9", "#000000", "#e69f00")
_STYLES = ("-", "--", ":", "-.")
_SCALES = {
    "bytes": (2**-30, "GiB"),
    "bytes_per_second": (2**-20, "MiB/s"),
    "seconds": (1.0, "s"),
    "percent": (1.0, "%"),
    "watts": (1.0, "W"),
    "celsius": (1.0, "°C"),
    "hertz": (1e-9, "GHz"),
}


def write_pictures(views: Sequence[View], folder: Path) -> str:
    """Write a picture of each chart with a value; returns a line that names the folder.

    Raises:
        ReportError: one cannot be written, or matplotlib is not installed.
    """
    try:
        importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        install = "pip install 'pylon-runner[report]' from the wheel, pip install '.[report]' in a clone"
        raise ReportError(f"--png needs matplotlib, which is not installed: {install}") from error
    written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for view in views:
            for chart in view.charts:
                shown = [line for line in chart.lines if not line.is_empty]
                if shown:
                    name = chart.id if len(views) == 1 else f"{chart.id}-by-{view.kind}"
                    _write(view, chart, shown, folder / f"{name}.png")
                    written += 1
    except OSError as error:
        raise ReportError(f"--png {folder}: cannot be written ({error.strerror or error})") from error
    return f"written: {written} pictures in {folder}"


def _write(view: View, chart: Chart, lines: Sequence[Line], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    factor, unit = _SCALES.get(chart.unit, (1.0, chart.unit))
    start, width, label = _axis(view)
    for place, line in enumerate(lines):
        _draw(axes, view, line, place, (start, width, factor))
    axes.set_title(chart.title, fontsize=9, loc="left")
    axes.set_ylabel(unit, fontsize=8)
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.zero:
        axes.set_ylim(bottom=0)
    if len(lines) > 1:
        axes.legend(fontsize=7, frameon=False, ncols=min(4, len(lines)))
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _axis(view: View) -> tuple[float, float, str]:
    """Where the axis begins, its unit in the view's unit, and its name."""
    if view.kind in {"time", "elapsed"}:
        length = view.grids[0].end - view.grids[0].start
        unit, name = (3600.0, "hours") if length > 7200 else (60.0, "minutes")
        return view.grids[0].start, unit, f"{name} since the start"
    return 0.0, 1.0, view.kind


def _draw(axes: "Axes", view: View, line: Line, place: int, scale: tuple[float, float, float]) -> None:
    start, width, factor = scale
    color, style = _look(line, place)
    if line.points:
        xs = [(x - start) / width for x, _ in line.points]
        ys = [y * factor for _, y in line.points]
        between = "none" if line.kind == "dots" else style
        axes.plot(
            xs, ys, linestyle=between, marker="o", markersize=2.5, linewidth=1, color=color, label=line.name
        )
        return
    level, grid = line.levels[0], view.grids[0]
    if level is None:
        return
    xs = [(grid.start + (bucket + 0.5) * grid.width - start) / width for bucket in range(grid.count)]
    low, mean, high = ([value * factor for value in values] for values in (level.low, level.mean, level.high))
    if any(a < b for a, b in zip(low, high, strict=True) if not math.isnan(a)):
        axes.fill_between(xs, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(xs, mean, linestyle=style, linewidth=1, color=color, label=line.name)


def _look(line: Line, place: int) -> tuple[str, str]:
    if line.color in {GREY, RED}:
        return ("#555555", "--") if line.color == GREY else ("#c00000", "-")
    number = place if line.color is None else line.color
    style = "--" if line.kind == "limit" else _STYLES[number // COLORS % len(_STYLES)]
    return _PALETTE[number % COLORS], style
