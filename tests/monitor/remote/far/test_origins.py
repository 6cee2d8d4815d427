"""Where the values of a server come from: from files and commands there, never from a call made here."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from pylon.monitor.remote.far import RemoteStatuses
from pylon.monitor.status import Origin, Scope, Side, age_s, origins
from pylon.monitor.status.observation import Observation
from pylon.monitor.status.remote import RemoteStatus
from tests.monitor.remote.far.test_statuses import DEVICES, GPU, frame

FIELDS = (
    "index,uuid,driver_version,utilization.gpu,temperature.memory"
    ",clocks_event_reasons.active,mig.mode.current"
)
APPS = (
    "at 101.0 0",
    f"1000\talice\tpython3\t{GPU}, 7, 30, python3",
    f"mig\tGPU 0: NVIDIA A100 (UUID: {GPU})",
    "mig\t  MIG 3g.20gb     Device  0: (UUID: MIG-11111111-aaaa-bbbb-cccc-dddddddddddd)",
)
# That no process there is of a run here needs no source.
GIVEN = {"of_run"}


def status() -> RemoteStatus:
    statuses = RemoteStatuses(3)
    for uptime_s in (100.0, 102.0):
        gpu = f"gpu {uptime_s - 0.1} 0, {GPU}, 550.54, 50, 61, 0x4, Enabled"
        built = statuses.build(
            frame(
                uptime_s,
                wall_time_s=1000.0,
                devices=DEVICES,
                system=("hostname far", "kernel Linux 6 x86_64"),
                cgroup=("version 2", "memory.current 1000", "memory.max 4000", "cpu.stat usage_usec 5"),
                top=("at 98.00 88.00 4096", "4\t0\troot\t4\t100\tname"),
                gpu=("state running 90.0 1000 90.0", f"fields {FIELDS}", gpu),
                apps=APPS,
            ),
            5.0,
        )
    return built


def origin(path: str) -> Origin | None:
    reading = Observation(status(), 1e12, 3.0).reading(path)
    assert reading.value is not None, path
    return reading.origin


def test_gpu_values_come_from_nvidia_smi() -> None:
    assert origin("gpu.gpus.0.utilization_percent") == Origin(
        Scope.DEVICE, "nvidia-smi --query-gpu=utilization.gpu"
    )
    assert origin("gpu.gpus.0.memory_temperature_c") == Origin(
        Scope.DEVICE, "nvidia-smi --query-gpu=temperature.memory"
    )
    assert origin("gpu.gpus.0.processes.0.memory_used_bytes") == Origin(
        Scope.DEVICE, "nvidia-smi --query-compute-apps"
    )
    assert origin("gpu.gpus.0.processes.0.owner_name") == Origin(Scope.HOST, "id -un")
    assert origin("gpu.gpus.0.mig_instances.0.uuid") == Origin(Scope.DEVICE, "nvidia-smi -L")
    assert origin("gpu.driver_version") == Origin(Scope.HOST, "nvidia-smi --query-gpu=driver_version")


def test_host_values_come_from_files_and_commands_there() -> None:
    assert origin("cpu.sample.load_1m") == Origin(Scope.HOST, "/proc/loadavg")
    for name, folder in (("disk_read", "/sys/block/"), ("net_sent", "/sys/class/net/")):
        found = origin(f"cpu.sample.{name}_bytes_per_s")
        assert found is not None
        assert found.source.startswith(folder)
    assert origin("cpu.sample.cgroup.memory_limit_bytes") == Origin(
        Scope.CGROUP, "memory.max; v1 memory.limit_in_bytes"
    )
    assert origin("cpu.sample.top_processes.0.name") == Origin(Scope.PROCESS, "/proc/PID/comm")
    assert origin("kernel") == Origin(Scope.HOST, "uname -srm")
    assert origin("far_uptime_s") == Origin(Scope.HOST, "/proc/uptime")


def samples(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for one in value:
            yield from samples(one)
    elif dataclasses.is_dataclass(value):
        yield value
        for one in dataclasses.fields(value):
            yield from samples(getattr(value, one.name))


def test_every_value_of_a_server_has_an_origin_there() -> None:
    found = [one for one in samples(status()) if hasattr(one, "side")]
    assert {type(one).__name__ for one in found} == {
        *("RemoteStatus", "CPUSample", "CgroupSample", "TopProcess"),
        *("GPUStatus", "GPUSample", "GPUProcess", "MIGInstance"),
    }
    for sample in found:
        assert sample.side is Side.REMOTE, sample
        known = {name for name in origins(type(sample)) if getattr(sample, name) is not None}
        assert known - origins(sample).keys() <= GIVEN, sample
        for one in origins(sample).values():
            assert "nvmlDevice" not in one.source
            assert "getpwuid" not in one.source


def test_absent_gpu_names_where_it_would_be_read() -> None:
    statuses = RemoteStatuses(3)
    lines = ("state running 90.0 1000 90.0", "fields index,uuid,power.draw", f"gpu 99.9 0, {GPU}, 100")
    statuses.build(frame(100.0, gpu=lines), 0.0)
    gone = statuses.build(frame(200.0, gpu=("state missing 150.0 1000 90.0",)), 1.0).gpu
    reading = Observation(gone, age_s(0.0), 1e9).reading("gpus.0.power_w")
    assert (reading.value, reading.origin) == (
        None,
        Origin(Scope.DEVICE, "nvidia-smi --query-gpu=power.draw"),
    )
