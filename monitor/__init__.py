"""Hardware monitors that share no thread, no lock and no fate with the run they watch.

collectors/  read the operating system and the driver
process/     the processes they run in, and who watches whom
transport/   how reports travel
*_monitor    what a user holds: start, latest, health, stop
"""

from monitor.base_monitor import BaseMonitor
from monitor.cpu_monitor import CPUMonitor
from monitor.errors import MonitorClassError, MonitorError, MonitorSettingError
from monitor.failure import Failure, ProcessFailure
from monitor.free import FreeGPUs, find_free_gpus
from monitor.gpu_monitor import GPUMonitor
from monitor.health import MonitorHealth, ServerHealth
from monitor.limits import ResourceLimits
from monitor.observation import Observation
from monitor.process.states import MonitorState
from monitor.remote_monitor import RemoteMonitor
from monitor.status import (
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
    TopProcess,
    WindowStats,
)
from monitor.status.remote import RemoteStatus
from monitor.system_monitor import SystemMonitor, SystemSnapshot

__all__ = [
    "Absence",
    "BaseMonitor",
    "CPUMonitor",
    "CPUSample",
    "CPUStatus",
    "CgroupSample",
    "Failure",
    "FreeGPUs",
    "GPUMonitor",
    "GPUProcess",
    "GPUSample",
    "GPUStatus",
    "MIGInstance",
    "MonitorClassError",
    "MonitorError",
    "MonitorHealth",
    "MonitorSettingError",
    "MonitorState",
    "Observation",
    "Origin",
    "ProcessFailure",
    "ProcessTreeSample",
    "Reading",
    "RemoteMonitor",
    "RemoteStatus",
    "ResourceLimits",
    "Scope",
    "ServerHealth",
    "SystemMonitor",
    "SystemSnapshot",
    "TopProcess",
    "WindowStats",
    "find_free_gpus",
]
