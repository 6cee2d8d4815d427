"""One scrape of `pylon export`: CPU time of the fastest of some.

The servers are invented; all that a monitor can know of each is known. "samples" is what every form of export
needs, "scrape" is that and the text, and the writer of prometheus-client is measured to compare.
"""

import gzip
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import generate_latest

from pylon.monitor import (
    CgroupSample,
    CPUSample,
    CPUStatus,
    GPUSample,
    GPUStatus,
    Observation,
    SystemSnapshot,
    WindowStats,
)
from pylon.views.export.collecting import PictureCollector, filled
from pylon.views.export.picture import Picture
from pylon.views.export.text import metrics_text
from pylon.views.sources.servers import servers_now

HEADS = ["servers x GPUs", "series", "text", "gzipped", "samples", "scrape", "library's writer", "gzip"]
_TURNS = 10
_NO_STATS = WindowStats()


def rows(*, quick: bool) -> list[list[str]]:
    """A row for each size of fleet."""
    return [_row(servers, gpus) for servers, gpus in ([(2, 1)] if quick else [(1, 8), (10, 8), (100, 8)])]


def _row(servers: int, gpus: int) -> list[str]:
    picture = _picture(servers, gpus)
    text, _ = metrics_text(picture)
    samples_s = _fastest_s(lambda: filled(picture))
    scrape_s = _fastest_s(lambda: metrics_text(picture))
    library_s = _fastest_s(lambda: generate_latest(PictureCollector(lambda: picture)))
    gzip_s = _fastest_s(lambda: gzip.compress(text, 1))
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    sizes = [f"{len(one) / 1e3:.0f} kB" for one in (text, gzip.compress(text, 1))]
    times = [f"{1e3 * one:.1f} ms" for one in (samples_s, scrape_s, library_s, gzip_s)]
    return [f"{servers} x {gpus}", str(series), *sizes, *times]


def _fastest_s(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TURNS):
        began_s = time.process_time()
        work()
        taken.append(time.process_time() - began_s)
    return min(taken)


def _picture(servers: int, gpus: int) -> Picture:
    snapshot = snapshot_of(servers, gpus)
    return Picture(servers_now(snapshot, {}, list(snapshot.cpu)))


def snapshot_of(servers: int, gpus: int) -> SystemSnapshot:
    """Invented servers of which all is known."""
    names = [f"gpu{number:03}.cluster.example.org" for number in range(servers)]
    now_s = time.monotonic()
    host = Observation(_host(), now_s, 3600.0)
    cards = {
        name: Observation(
            GPUStatus(now_s, time.time(), _cards(name, gpus), driver_version="1"), now_s, 3600.0
        )
        for name in names
    }
    return SystemSnapshot(1, dict.fromkeys(names, host), cards)


def _host() -> CPUStatus:
    rates = dict.fromkeys(("disk_read", "disk_write", "net_received", "net_sent"), 12345678.9)
    group = CgroupSample(
        2, **{name: 1234567890 for name in CgroupSample.__slots__ if name.endswith("_bytes")}
    )
    sample = CPUSample(
        *(time.monotonic(), time.time()),
        cpu_percent=12.3,
        core_percent=(1.0,) * 64,
        load_1m=3.21,
        memory_used_bytes=123456789012,
        memory_available_bytes=123456789012,
        memory_total_bytes=543210987654,
        swap_used_bytes=0,
        swap_total_bytes=0,
        cgroup=group,
        **{f"{name}_bytes_per_s": rate for name, rate in rates.items()},
    )
    return CPUStatus(sample, _NO_STATS, _NO_STATS)


def _cards(server: str, count: int) -> tuple[GPUSample, ...]:
    units: dict[str, Any] = {"_percent": 45.0, "_bytes": 12345678901, "_c": 65.0, "_w": 312.5}
    units |= {"_j": 123456789.125, "_hz": 1.98e9, "_per_s": 12345678.9, "_errors": 0}
    known = {
        name: value for name in GPUSample.__slots__ for end, value in units.items() if name.endswith(end)
    }
    return tuple(
        GPUSample(
            f"GPU-{server}-{number}",
            number,
            "NVIDIA H100 80GB HBM3",
            throttle_reasons=4,
            throttle_names=("sw_power_cap",),
            **known,
        )
        for number in range(count)
    )
