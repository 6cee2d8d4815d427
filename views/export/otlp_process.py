"""The process that sends to an OpenTelemetry collector; frames come on standard input, a line of JSON each.

OpenTelemetry's SDK has held the exits of programs that use it. Here its exporter alone is used, without the
SDK's threads and hooks at the exit, in a process that can be killed at any moment.
"""

import json
import logging
import signal
import sys
from collections.abc import Iterator
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from pylon import __version__
from pylon.masking import masked_text
from pylon.monitor import printable
from pylon.views.export.families import FAMILIES, PREFIX, Family
from pylon.views.export.notes import Notes

_TIMEOUT_S = 5.0
_KILLED_AFTER_S = 3 * _TIMEOUT_S
_TOTAL = "_total"


class _LastRecord(logging.Handler):
    """Keeps what the exporter reports of its newest failure."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def main() -> int:
    """Send each frame; returns 1 if the last was not accepted."""
    lines = sys.stdin
    endpoint = json.loads(lines.readline())
    last = _LastRecord()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(last)
    logger.propagate = False
    exporter = OTLPMetricExporter(endpoint, timeout=_TIMEOUT_S)
    notes = Notes(_noted)
    accepted = True
    for line in lines:
        # A collector that gives a byte now and then is within each limit but this: it ends the process.
        signal.setitimer(signal.ITIMER_REAL, _KILLED_AFTER_S)
        accepted = exporter.export(metrics_of(json.loads(line))) is MetricExportResult.SUCCESS
        signal.setitimer(signal.ITIMER_REAL, 0)
        notes.see([] if accepted else [f"--otlp: {endpoint} accepts no metrics: {last.text}"])
    return 0 if accepted else 1


def metrics_of(frame: dict[str, Any]) -> MetricsData:
    """The frame in the SDK's classes.

    Args:
        frame: as `otlp.frame_of` makes it.
    """
    at_ns = int(frame["at"] * 1e9)
    metrics = [
        _metric(name, FAMILIES[name], list(_points(FAMILIES[name], samples, at_ns)))
        for name, samples in frame["families"].items()
    ]
    resource = Resource({"service.name": "pylon", "service.version": __version__, "host.name": frame["host"]})
    scope = ScopeMetrics(InstrumentationScope("pylon.export", __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _points(family: Family, samples: list[tuple[list[str], float]], at_ns: int) -> Iterator[NumberDataPoint]:
    # When a counter began is known to the kernel or the driver: 0 is OpenTelemetry's word for that.
    return (
        NumberDataPoint(dict(zip(family.labels, labels, strict=True)), 0, at_ns, value)
        for labels, value in samples
    )


def _metric(name: str, family: Family, points: list[NumberDataPoint]) -> Metric:
    if family.kind == "counter":
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        return Metric(PREFIX + name.removesuffix(_TOTAL), family.help, "", data)
    suffix = "_info" if family.kind == "info" else ""
    return Metric(PREFIX + name + suffix, family.help, "", Gauge(points))


def _noted(text: str) -> None:
    sys.stderr.write(f"pylon export: {printable(masked_text(text))}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
