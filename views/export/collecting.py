"""From a picture to samples, and to the families of prometheus-client.

    servers, runs, monitors --Picture--> Filling (labels -> value) --> text, OpenMetrics, families, OTLP

Nothing is kept between two pictures: what is not known now is not there.
"""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pylon import __version__
from pylon.monitor import MonitorHealth, MonitorState
from pylon.views.export.families import FAMILIES, PREFIX
from pylon.views.export.filling import Filling, Samples, label
from pylon.views.export.picture import Picture
from pylon.views.export.runs import add_run
from pylon.views.export.servers import add_server


class PictureCollector(Collector):
    """A collector for a registry of prometheus-client, such as a program's own.

    Args:
        picture: takes what it shows.
    """

    def __init__(self, picture: Callable[[], Picture]) -> None:
        self._picture = picture

    def collect(self) -> Iterable[Metric]:
        """The families that have samples."""
        return (_family(name, samples) for name, samples in filled(self._picture()))


def filled(picture: Picture) -> Filling:
    """All samples of a picture."""
    filling = Filling()
    filling.add("build", 1, __version__)
    for process, health in picture.monitors.items():
        _add_monitor(filling, label(process), health)
    for server in picture.servers:
        add_server(filling, picture, server)
    for run in picture.runs.runs:
        add_run(filling, picture, run)
    filling.add("records_unreadable", len(picture.runs.problems))
    filling.add("runs_left_out", picture.runs.left_out)
    return filling


def _add_monitor(filling: Filling, process: str, health: MonitorHealth) -> None:
    filling.add("monitor_process_ok", health.state is MonitorState.OK, process)
    filling.add("monitor_restarts_total", health.restarts, process)
    for server, one in health.servers.items():
        filling.add("monitor_failures", one.consecutive_failures, process, label(server))
        filling.add("monitor_reading_seconds", one.reading_s, process, label(server))


def _family(name: str, samples: Samples) -> Metric:
    family = FAMILIES[name]
    if family.kind == "info":
        info = InfoMetricFamily(PREFIX + name, family.help)
        for labels in samples:
            info.add_metric((), dict(zip(family.labels, labels, strict=True)))
        return info
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = kind(PREFIX + name, family.help, labels=family.labels)
    for labels, value in samples.items():
        made.add_metric(labels, value)
    return made
