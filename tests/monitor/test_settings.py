"""Settings that mean nothing are refused by every monitor, with the name and the value that was given."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from pylon.monitor import CPUMonitor, GPUMonitor, MonitorSettingError, RemoteMonitor, SystemMonitor


def remote(**arguments: Any) -> RemoteMonitor:
    return RemoteMonitor(["gpu1"], **arguments)


every_monitor = pytest.mark.parametrize("monitor", [CPUMonitor, GPUMonitor, remote, SystemMonitor])


@every_monitor
@pytest.mark.parametrize("value", [0, -1, 0.5, 10.0, True, math.nan, "10", None])
def test_window_of_no_whole_number(monitor: Callable[..., Any], value: Any) -> None:
    with pytest.raises(MonitorSettingError) as caught:
        monitor(window_size=value)
    assert str(caught.value) == f"window_size: {value!r}, expected a whole number from 1 on."


@every_monitor
@pytest.mark.parametrize("name", ["interval_s", "timeout_s", "slow_interval_s"])
@pytest.mark.parametrize("value", [0, -1.0, True, math.nan, math.inf, "1", None])
def test_times_above_zero(monitor: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(MonitorSettingError) as caught:
        monitor(**{name: value})
    assert str(caught.value) == f"{name}: {value!r}, expected a number above 0."


@every_monitor
@pytest.mark.parametrize("value", [-0.1, math.nan, False, "2"])
def test_time_to_stop(monitor: Callable[..., Any], value: Any) -> None:
    with pytest.raises(MonitorSettingError, match=r"join_timeout_s: .*, expected a number from 0 on"):
        monitor(join_timeout_s=value)


@every_monitor
def test_limits_of_another_type(monitor: Callable[..., Any]) -> None:
    with pytest.raises(MonitorSettingError, match=r"limits: 0\.5, expected ResourceLimits"):
        monitor(limits=0.5)


@every_monitor
def test_good_settings_are_taken(monitor: Callable[..., Any]) -> None:
    monitor(interval_s=2, timeout_s=0.5, join_timeout_s=0, window_size=1, slow_interval_s=3.5, limits=None)


@pytest.mark.parametrize("make", [SystemMonitor, GPUMonitor, lambda **given: RemoteMonitor(["far"], **given)])
def test_all_commands_is_true_or_false(make) -> None:
    with pytest.raises(MonitorSettingError, match="all_commands: 'no', expected True or False"):
        make(all_commands="no")
