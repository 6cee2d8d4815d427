"""nvidia-smi in all its moods: the host's figures flow on, and the GPUs report what is wrong."""

import os
import signal
import time
from pathlib import Path

import pytest

from pylon.monitor.remote.far import Tier, gpus
from pylon.monitor.status import Absence
from tests.monitor.remote.far.far_shell import SHELLS, FarShell, script_with

pytestmark = pytest.mark.ci

HERE = Path(__file__).parent
GPU_0 = "GPU-00000000-aaaa-bbbb-cccc-dddddddddddd"
GPU_1 = "GPU-00000001-aaaa-bbbb-cccc-dddddddddddd"
every_shell = pytest.mark.parametrize("shell", SHELLS)


def far_shell(mode: str, shell: str = "dash", **environment: str) -> FarShell:
    script = script_with(SLOW_S=1)
    return FarShell(shell, script=script, path=HERE, environment={"FAKE_SMI": mode} | environment)


def far_status(far: FarShell, *tiers: Tier):
    """A status that was not kept waiting."""
    begun_s = time.monotonic()
    status = far.status(*tiers, gpu_interval_ms=200)
    assert time.monotonic() - begun_s < 2
    assert status.cpu.sample.memory_used_bytes is not None
    return status


@every_shell
def test_figures_and_processes_come(shell) -> None:
    with far_shell("well", shell) as far:
        status = far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].processes)
    first, second = status.gpu.gpus
    assert (first.uuid, second.uuid, first.index, second.index) == (GPU_0, GPU_1, 0, 1)
    assert first.name == "NVIDIA H100 80GB HBM3"
    assert first.utilization_percent == 37.0
    assert first.memory_used_bytes == 2**30
    assert (first.temperature_c, first.memory_temperature_c) == (41.0, 57.0)
    assert first.absent["power_w"] is Absence.UNREACHABLE
    assert first.absent["fan_percent"] is Absence.UNSUPPORTED
    assert first.absent["pcie_sent_bytes_per_s"] is Absence.UNSUPPORTED
    assert first.mig_enabled is False
    assert first.mig_instances == ()
    assert first.others_memory_used_bytes == 512 * 2**20
    assert (first.processes[0].memory_used_bytes, first.processes[0].of_run) == (512 * 2**20, False)
    assert second.processes == ()
    assert second.others_memory_used_bytes == 0
    assert status.gpu.driver_version == "550.54.15"
    assert status.gpu.absence is None
    assert status.gpu.utilization_percent[GPU_0].newest == 37.0


@every_shell
def test_a_driver_that_does_not_know_new_fields_reports_the_others(shell) -> None:
    with far_shell("old", shell) as far:
        status = far.status_when(lambda status: status.gpu.gpus)
    assert status.gpu.gpus[0].utilization_percent == 37.0
    assert status.gpu.gpus[0].temperature_c == 41.0
    assert status.gpu.gpus[0].absent["memory_temperature_c"] is Absence.UNSUPPORTED
    assert status.gpu.gpus[0].absent["mig_enabled"] is Absence.UNSUPPORTED
    assert status.gpu.gpus[0].absent["mig_instances"] is Absence.UNSUPPORTED


def test_parts_of_a_divided_gpu_are_listed() -> None:
    with far_shell("well", FAKE_MIG="Enabled") as far:
        status = far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].mig_instances)
    assert [one.uuid for one in status.gpu.gpus[0].mig_instances] == [
        "MIG-11111111-aaaa-bbbb-cccc-dddddddddddd"
    ]


DEAD = "Unable to determine the device handle for GPU0000:18:00.0: Unknown Error"


@every_shell
@pytest.mark.parametrize("stream", ["FAKE_BEFORE", "FAKE_ERROR"])
def test_messages_among_figures_do_not_end_them(shell, stream, monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_SHORTEST_STALL_S", 0.5)
    # Three lines in each round: more than 64 come before the last status.
    words = "\n".join([DEAD, "ERROR: ld.so: object 'libsite.so' cannot be preloaded: ignored.", DEAD])
    with far_shell("well", shell, **{stream: words}) as far:
        far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].processes)
        absences = set()
        for _ in range(60):
            status = far_status(far)
            absences.add(status.gpu.absence)
            time.sleep(0.1)
    assert absences == {None}
    assert [one.utilization_percent for one in status.gpu.gpus] == [37.0, 37.0]
    assert "Unknown Error" in status.gpu.error


@every_shell
def test_a_dead_gpu_that_costs_the_figures_of_all_is_left_out(shell, monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_SHORTEST_STALL_S", 0.5)
    with far_shell("one_dead", shell) as far:
        far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].processes)
        # Its message was printed once; it stays known, also when that is long ago.
        time.sleep(1.0)
        status = far_status(far)
    assert [one.index for one in status.gpu.gpus] == [0, 1]
    assert [one.utilization_percent for one in status.gpu.gpus] == [37.0, 37.0]
    assert status.gpu.gpus[1].processes == ()
    assert status.gpu.error == DEAD


def test_a_gpu_that_dies_later_costs_no_list_of_processes(tmp_path) -> None:
    wrapper = tmp_path / "nvidia-smi"
    mode = tmp_path / "mode"
    mode.write_text("well")
    wrapper.write_text(f'#!/bin/sh\nexport FAKE_SMI=$(cat {mode})\nexec {HERE}/nvidia-smi "$@"\n')
    wrapper.chmod(0o755)
    with FarShell(script=script_with(SLOW_S=1), path=tmp_path) as far:
        far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].processes)
        mode.write_text("one_dead")
        far.status_when(lambda status: status.gpu.gpus[1].absent.get("processes") is Absence.UNREACHABLE)
        status = far.status_when(lambda status: status.gpu.gpus[1].processes == ())
    assert status.gpu.gpus[0].processes


def test_lines_without_words_among_figures_are_no_message() -> None:
    rows = "\n".join([f'{GPU_0}, 11, 100, "/opt/a tool, v2" x, 2', "b,c", "", f"{GPU_1}, 12, [N/A], -"])
    with far_shell("well", FAKE_BEFORE="\n  \n", FAKE_APPS=rows) as far:
        far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].processes)
        status = far_status(far)
    assert [one.utilization_percent for one in status.gpu.gpus] == [37.0, 37.0]
    assert [one.pid for gpu in status.gpu.gpus for one in gpu.processes] == [11, 12]
    assert status.gpu.error is None


def test_messages_on_standard_error_are_the_reason_for_no_figures() -> None:
    with far_shell("no_library") as far:
        status = far.status_when(lambda status: "libnvidia-ml.so" in (status.gpu.error or ""))
    assert status.gpu.absence is Absence.UNSUPPORTED


def test_the_first_gpu_may_be_the_divided_one() -> None:
    with far_shell("well", FAKE_MIG_0="Enabled") as far:
        status = far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[0].mig_instances)
    assert [one.mig_enabled for one in status.gpu.gpus] == [True, False]


def test_a_list_with_words_in_it_is_read() -> None:
    rows = f"{DEAD}\n{GPU_1}, 4242, [Not Supported], /opt/not supported/python3"
    with far_shell("well", FAKE_APPS=rows) as far:
        status = far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[1].processes)
    assert status.gpu.gpus[0].processes == ()
    assert [one.pid for one in status.gpu.gpus[1].processes] == [4242]


def test_a_list_that_failed_leaves_unknown_who_uses_the_others() -> None:
    with far_shell("well", FAKE_APPS=f"{GPU_1}, 4242, 10, python3", FAKE_APPS_EXIT="15") as far:
        status = far.status_when(lambda status: status.gpu.gpus and status.gpu.gpus[1].processes)
    assert status.gpu.gpus[0].absent["processes"] is Absence.UNREACHABLE


@pytest.mark.parametrize(
    ("printed", "uuid"),
    [("[N/A]", "index:0"), ("e0f12a34-1111-2222-3333-444455556666", "e0f12a34-1111-2222-3333-444455556666")],
)
def test_a_gpu_may_have_any_name_or_none(printed, uuid) -> None:
    with far_shell("well", FAKE_UUID=printed) as far:
        status = far.status_when(lambda status: len(status.gpu.gpus) == 2)
    assert [one.uuid for one in status.gpu.gpus] == [uuid, GPU_1]


def test_one_that_takes_long_is_waited_for() -> None:
    with far_shell("slow") as far:
        far_status(far)
        status = far_status(far)
        assert status.gpu.absence is Absence.STARTING
        far.status_when(lambda status: status.gpu.gpus, within_s=20)


@every_shell
def test_one_that_hangs_is_named_and_taken_along(shell, monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_FIRST_ANSWER_S", 0.5)
    with far_shell("hang", shell) as far:
        status = far.status_when(lambda status: status.gpu.absence is Absence.HUNG)
        assert "stalled since" in status.gpu.error
        far_status(far, Tier.SLOW)
        # It takes no notice of SIGTERM.
        far.process.stdin.close()
        far.wait_until_gone(5)


def test_one_that_falls_silent_is_named_and_its_gpus_stay_in_view(monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_SHORTEST_STALL_S", 0.5)
    with far_shell("stalls") as far:
        far.status_when(lambda status: status.gpu.gpus)
        status = far.status_when(lambda status: status.gpu.absence is Absence.HUNG)
        far_status(far)
    assert "stalled since" in status.gpu.error
    assert [one.uuid for one in status.gpu.gpus] == [GPU_0, GPU_1]
    assert status.gpu.gpus[0].utilization_percent is None
    assert status.gpu.gpus[0].absent["utilization_percent"] is Absence.HUNG
    assert status.gpu.gpus[0].name == "NVIDIA H100 80GB HBM3"


def test_one_that_dies_is_started_again(monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_SHORTEST_STALL_S", 0.3)
    with far_shell("dies") as far:
        far.status_when(lambda status: status.gpu.gpus)
        status = far.status_when(lambda status: status.gpu.absence is Absence.UNREACHABLE)
        assert "GPU is lost" in status.gpu.error
        far.status_when(lambda status: status.gpu.absence is None)


def test_a_list_of_processes_that_hangs_costs_no_figures() -> None:
    with far_shell("apps_hang") as far:
        status = far.status_when(lambda status: status.gpu.gpus)
        time.sleep(0.5)
        status = far_status(far)
    assert status.gpu.gpus[0].utilization_percent == 37.0
    assert status.gpu.gpus[0].absent["processes"] is Absence.STARTING


@pytest.mark.parametrize(
    ("mode", "absence", "words"),
    [
        ("no_driver", Absence.UNSUPPORTED, "couldn't communicate"),
        ("mismatch", Absence.UNREACHABLE, "version mismatch"),
        ("no_devices", None, "No devices were found"),
    ],
)
def test_one_that_gives_up_gives_the_reason(mode, absence, words) -> None:
    with far_shell(mode) as far:
        status = far.status_when(lambda status: words in (status.gpu.error or ""))
    assert status.gpu.absence is absence
    assert status.gpu.gpus == ()


@every_shell
def test_a_flood_of_garbage_is_cut_off(shell) -> None:
    with far_shell("flood", shell) as far:
        status = far.status_when(lambda status: "garbage" in (status.gpu.error or ""))
        assert status.gpu.error.isprintable()
        assert status.gpu.absence is Absence.UNREACHABLE
        far_status(far)


def test_where_there_is_none_it_is_reported() -> None:
    with FarShell(path=Path("/nonexistent")) as far:
        status = far.status_when(lambda status: status.gpu.error is not None)
    assert status.gpu.absence is Absence.UNSUPPORTED
    assert status.gpu.error == "nvidia-smi: not found"


def test_words_of_any_bytes_do_no_harm() -> None:
    with far_shell("well", FAKE_NAME="\x1b[31mbad\udcff`id`$(id)") as far:
        status = far.status_when(lambda status: status.gpu.gpus)
    assert status.gpu.gpus[0].name == "?[31mbad?`id`$(id)"


def test_one_that_is_stopped_by_a_signal_costs_nothing_else() -> None:
    with far_shell("well") as far:
        far.status_when(lambda status: status.gpu.gpus)
        for pid, name in far.processes().items():
            if name == "nvidia-smi":
                os.kill(pid, signal.SIGSTOP)
        for _ in range(3):
            far_status(far)
        far.process.stdin.close()
        far.wait_until_gone(5)
