"""Snapshots as plain data, ready for JSON."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from pylon.monitor.status import CPUStatus, GPUStatus, Side, origins
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.observation import Observation
from pylon.monitor.status.values import measured_classes
from pylon.monitor.system import SystemSnapshot


def snapshot_record(snapshot: SystemSnapshot, health: Mapping[str, MonitorHealth]) -> dict[str, Any]:
    """Everything that is known, by server, and the health of the monitors."""
    return {
        "cpu": {server: _observed(seen) for server, seen in snapshot.cpu.items()},
        "gpu": {server: _observed(seen) for server, seen in snapshot.gpu.items()},
        "others": snapshot.other_records(),
        "same_machine": dict(snapshot.same_machine),
        "health": {name: one.as_record() for name, one in health.items()},
    }


def origins_record(side: Side = Side.LOCAL) -> dict[str, Any]:
    """Where each value of a sample that was taken on `side` comes from, by class and field."""
    return {
        kind.__name__: {name: plain(origin) for name, origin in origins(kind, side).items()}
        for kind in measured_classes(CPUStatus, GPUStatus)
    }


def plain(value: Any) -> Any:  # noqa: ANN401 - any status
    """`value` in dicts, lists, texts and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    return value


def _observed(seen: Observation[Any]) -> dict[str, Any]:
    return {"age_s": seen.age_s, "absence": plain(seen.absence), "status": plain(seen.status)}
