"""Hardware monitors that share no thread, no lock and no fate with the run they watch.

status/      what is known of a server, with its time, its origin, and the reason where it is not known
collectors/  read the operating system and the driver
ssh/         a server's name in, a channel to its shell out
remote/      servers that are read over such a channel
process/     the processes that monitors run in, and who watches whom
base, cpu, gpu, system   what a user holds: start, latest, health, stop
fleet/ views/ cli/       many servers, what is shown of them, and the commands
"""

from pylon import require_namespace as _require_namespace
from pylon.monitor.base import BaseMonitor
from pylon.monitor.collectors.cgroup.oom import (
    MemoryGroup,
    OOMCount,
    memory_group,
    oom_count_in,
    own_oom_count,
)
from pylon.monitor.cpu import CPUMonitor
from pylon.monitor.errors import MonitorClassError, MonitorError, MonitorSettingError, ReportsGoneError
from pylon.monitor.fleet.free import FreeGPUs, find_free_gpus
from pylon.monitor.gpu import GPUMonitor
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.messages import Companion
from pylon.monitor.remote.monitor import RemoteMonitor
from pylon.monitor.status import (
    Absence,
    CgroupSample,
    CPUSample,
    CPUStatus,
    GPUProcess,
    GPUSample,
    GPUStatus,
    MIGInstance,
    Origin,
    ProcessTreeSample,
    Reading,
    Scope,
    Side,
    TopProcess,
    WindowStats,
    XidEvent,
)
from pylon.monitor.status.failure import Failure, ProcessFailure
from pylon.monitor.status.health import MonitorHealth, ServerHealth
from pylon.monitor.status.observation import Observation
from pylon.monitor.status.record import observation_record, record_text
from pylon.monitor.status.remote import RemoteStatus
from pylon.monitor.status.states import MonitorState
from pylon.monitor.system import SystemMonitor, SystemSnapshot
from pylon.monitor.text import printable

__all__ = [
    "Absence",
    "BaseMonitor",
    "CPUMonitor",
    "CPUSample",
    "CPUStatus",
    "CgroupSample",
    "Companion",
    "Failure",
    "FreeGPUs",
    "GPUMonitor",
    "GPUProcess",
    "GPUSample",
    "GPUStatus",
    "MIGInstance",
    "MemoryGroup",
    "MonitorClassError",
    "MonitorError",
    "MonitorHealth",
    "MonitorSettingError",
    "MonitorState",
    "OOMCount",
    "Observation",
    "Origin",
    "ProcessFailure",
    "ProcessTreeSample",
    "Reading",
    "RemoteMonitor",
    "RemoteStatus",
    "ReportsGoneError",
    "ResourceLimits",
    "Scope",
    "ServerHealth",
    "Side",
    "SystemMonitor",
    "SystemSnapshot",
    "TopProcess",
    "WindowStats",
    "XidEvent",
    "find_free_gpus",
    "memory_group",
    "observation_record",
    "oom_count_in",
    "own_oom_count",
    "printable",
    "record_text",
]

_require_namespace(__name__)
