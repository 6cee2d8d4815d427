"""What monitors report: frozen values with their time, their origin, and a reason if one is absent."""

from pylon.monitor.status.cpu import CgroupSample, CPUSample, CPUStatus, ProcessTreeSample, TopProcess
from pylon.monitor.status.gpu import GPUProcess, GPUSample, GPUStatus, MIGInstance, XidEvent
from pylon.monitor.status.values import (
    Absence,
    Origin,
    Reading,
    Scope,
    Side,
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
    "Side",
    "TopProcess",
    "WindowStats",
    "XidEvent",
    "age_s",
    "measured",
    "origins",
]
