"""Servers as views see them: figures by the record's names, and a reason for each that is not known."""

import dataclasses

import pytest

from pylon.monitor import Absence
from pylon.views.sources.servers import GPU_FIGURES, HOST_FIGURES, scope_of, servers_now
from tests.monitor.statuses import cpu, gpu, gpus, process, seen, snapshot


def test_each_figure_of_a_record_can_be_asked_and_is_known_or_has_a_reason() -> None:
    shown = snapshot(near=gpus(gpu(processes=(process(),))))
    near, new = servers_now(shown, {}, ["near", "new"])
    for server in (near, new):
        for name in HOST_FIGURES:
            found = server.figure(name)
            assert (found.value is None) == (found.reason is not None), name
    assert near.is_ok
    assert near.figure("cpu_utilization").value == shown.cpu["near"].status.sample.cpu_percent
    assert new.figure("cpu_utilization").reason == "starting"
    assert new.gpus == ()
    assert not new.gpus_known
    (card,) = near.gpus
    for name in GPU_FIGURES:
        found = card.figure(name)
        assert (found.value is None) == (found.reason is not None), name
    assert card.processes == (process(),)
    assert scope_of("gpu_power") == "device"
    assert scope_of("cgroup_memory_limit") == "cgroup"


def test_what_is_not_current_has_no_value_and_the_reason() -> None:
    shown = snapshot(far=gpus(gpu()))
    shown = dataclasses.replace(
        shown,
        cpu={"far": seen(cpu(), age_s=99.0, trouble=Absence.UNREACHABLE)},
        gpu={"far": seen(gpus(gpu()), age_s=99.0, trouble=Absence.HUNG)},
    )
    (far,) = servers_now(shown, {}, ["far"])
    assert not far.is_ok
    assert far.cpu is None
    assert far.figure("memory_used")[::2] == (None, "unreachable")
    assert far.figure("memory_used").age_s == pytest.approx(99.0, abs=1.0)
    assert far.gpus[0].figure("gpu_power")[::2] == (None, "hung")
    assert far.gpus[0].processes is None


def test_a_figure_that_is_unknown_to_records_is_an_error() -> None:
    (near,) = servers_now(snapshot(near=gpus(gpu())), {}, ["near"])
    with pytest.raises(KeyError):
        near.figure("gpu_power")
    with pytest.raises(KeyError):
        near.gpus[0].figure("memory_used")
