"""What monitors say: frozen values with their time, their origin, and a reason where one is absent."""

from pylon.monitor.status.cpu import CgroupSample, CPUSample, CPUStatus, ProcessTreeSample, TopProcess
from pylon.monitor.status.gpu import GPUProcess, GPUSample, GPUStatus, MIGInstance
from pylon.monitor.status.values import (
    Absence,
    Origin,
    Reading,
    Scope,
    WindowStats,
    age_s,
    measured,
    origins,
)

__all__ = [
    "Absence",
    "CPUSample",
    "CPUStatus",
    "CgroupSample",
    "GPUProcess",
    "GPUSample",
    "GPUStatus",
    "MIGInstance",
    "Origin",
    "ProcessTreeSample",
    "Reading",
    "Scope",
    "TopProcess",
    "WindowStats",
    "age_s",
    "measured",
    "origins",
]
