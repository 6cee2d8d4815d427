"""All charts of one launch over time."""

from pylon.recorder.history import History
from pylon.recorder.report.charts.events import lanes
from pylon.recorder.report.charts.grid import grids_for
from pylon.recorder.report.charts.hardware import hardware_charts
from pylon.recorder.report.charts.line import Event, View
from pylon.recorder.report.charts.training import training_charts
from pylon.recorder.report.story import Story

BUCKETS = 1000
# The time before the end is what most readers look for: second by second.
LAST_S = 600.0


def run_view(history: History, story: Story) -> View:
    """The charts of a launch and its strip of events."""
    identity = story.launch.id or 0
    begin, end = story.launch.began_at, story.end
    grids = grids_for(begin, end, BUCKETS, LAST_S)
    windows = [history.windows(identity, grid.start, grid.end, buckets=grid.count) for grid in grids]
    marks = history.marks(identity)
    events = lanes(marks, story.alerts, history.verdicts(identity), (begin, grids[0].end), _last(story))
    charts = [*training_charts(windows, marks, grids), *hardware_charts(history, grids)]
    return View("time", tuple(grids), tuple(charts), events)


def _last(story: Story) -> Event | None:
    if story.ending is None:
        return None
    kind = "end" if story.state == "finished" else "death"
    return Event(story.end, story.end, kind, story.cause)
