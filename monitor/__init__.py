"""Hardware monitors that share no thread, no lock and no fate with the run they watch.

collectors/  read the operating system and the driver
process/     the processes they run in, and who watches whom
transport/   how reports travel
*_monitor    what a user holds: start, latest, health, stop
"""

from monitor.base_monitor import BaseMonitor, Observation
from monitor.cpu_monitor import CPUMonitor
from monitor.errors import MonitorClassError, MonitorError, MonitorSettingError
from monitor.gpu_monitor import GPUMonitor
from monitor.health import MonitorHealth, ServerHealth
from monitor.process.states import MonitorState
from monitor.status import Absence, CPUSample, CPUStatus, GPUProcess, GPUSample, GPUStatus, WindowStats
from monitor.system_monitor import SystemMonitor, SystemSnapshot

__all__ = [
    "Absence",
    "BaseMonitor",
    "CPUMonitor",
    "CPUSample",
    "CPUStatus",
    "GPUMonitor",
    "GPUProcess",
    "GPUSample",
    "GPUStatus",
    "MonitorClassError",
    "MonitorError",
    "MonitorHealth",
    "MonitorSettingError",
    "MonitorState",
    "Observation",
    "ServerHealth",
    "SystemMonitor",
    "SystemSnapshot",
    "WindowStats",
]
