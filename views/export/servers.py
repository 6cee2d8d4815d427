"""The metrics of servers and their GPUs."""

from pylon.monitor import Absence, GPUStatus
from pylon.views.export.families import OF_GPU, OF_HOST
from pylon.views.export.filling import Filling, label
from pylon.views.export.picture import Picture
from pylon.views.sources.servers import GPUNow, ServerNow

# Counters of a control group that no record keeps: by metric, the field of its sample.
_CGROUP_COUNTERS = {"cpu_seconds_total": "cpu_used_s", "cpu_throttled_seconds_total": "throttled_s"}


def add_server(filling: Filling, picture: Picture, server: ServerNow) -> None:
    """Add all that is known of a server now."""
    name = label(server.name)
    filling.add("up", server.cpu is not None, name)
    for monitor, seen in server.readings.items():
        if seen.measured_s is not None:
            at = picture.unix_time(seen.measured_s)
            filling.add("monitor_last_success_timestamp_seconds", at, name, label(monitor))
        if seen.absence is not None:
            filling.add("monitor_absent", 1, name, label(monitor), seen.absence.value)
    for figure, place in OF_HOST.items():
        value = server.figure(figure).value
        if value is not None:
            filling.add(place.family, value * place.factor, name, *place.labels)
    group = None if server.cpu is None else server.cpu.sample.cgroup
    if group is not None:
        for family, field in _CGROUP_COUNTERS.items():
            filling.add(family, getattr(group, field), name, "cgroup")
    if server.gpu_status is not None:
        _add_driver(filling, name, server.gpu_status)
    for gpu in server.gpus:
        _add_gpu(filling, name, gpu)


def _add_driver(filling: Filling, server: str, driver: GPUStatus) -> None:
    if driver.driver_version is not None:
        filling.add("gpu_driver", 1, server, label(driver.driver_version), label(driver.cuda_version))
    # The newest first: a series is filled once.
    for event in reversed(driver.xid_events):
        at = event.wall_time_s
        filling.add("gpu_xid_last_timestamp_seconds", at, server, label(event.uuid), str(event.xid))


def _add_gpu(filling: Filling, server: str, gpu: GPUNow) -> None:
    uuid = label(gpu.uuid)
    index = "" if gpu.gpu.index is None else str(gpu.gpu.index)
    filling.add("gpu", 1, server, uuid, index, label(gpu.gpu.name))
    if gpu.is_current:
        filling.add("gpu_up", Absence.LOST not in gpu.gpu.absent.values(), server, uuid)
    known = gpu.known()
    for figure, place in OF_GPU.items():
        if figure in known:
            filling.add(place.family, known[figure] * place.factor, server, uuid, *place.labels)
    if "gpu_throttle_reasons" in known:
        reasons = gpu.gpu.throttle_names or ()
        filling.add("gpu_throttle_reasons", len(reasons), server, uuid)
        for reason in reasons:
            filling.add("gpu_throttled", 1, server, uuid, label(reason))
