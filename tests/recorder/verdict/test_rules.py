"""The verdict on built cases, pure and mixed: which bottleneck, which runner-up, and with what figures."""

import dataclasses

import pytest

from pylon.recorder.verdict import NONE_FOUND, NOT_ENOUGH, Facts, judge

QUIET = Facts(
    elapsed_s=300,
    whole_s=300,
    steps=1000,
    step_s=0.3,
    wait_s=0.003,
    cpu_percent=30,
    busiest_core_percent=60,
    run_cpu_percent=70,
    memory_percent=60,
    memory_scope="host",
)
GPU = dataclasses.replace(
    QUIET,
    gpus=1,
    gpu_percent=80,
    gpu_power_percent=80,
    gpu_thermal_share=0.0,
    gpu_brake_share=0.0,
    gpu_power_share=0.1,
    gpu_clock_share=0.95,
)

CASES = {
    # name: (base, changes, verdict, level, runner-up)
    "nothing on a CPU": (QUIET, {}, NONE_FOUND, "", None),
    "too few steps": (QUIET, {"steps": 19}, NOT_ENOUGH, "", None),
    "too short": (QUIET, {"elapsed_s": 19}, NOT_ENOUGH, "", None),
    "waits 4.9 %": (QUIET, {"wait_s": 0.0147}, NONE_FOUND, "", None),
    "waits 5 %": (QUIET, {"wait_s": 0.0151}, "input_bound", "moderate", None),
    "waits 20 %": (QUIET, {"wait_s": 0.0601}, "input_bound", "high", None),
    "wait is unknown": (QUIET, {"wait_s": None}, NONE_FOUND, "", None),
    "all cores": (QUIET, {"cpu_percent": 95, "run_cpu_percent": 800}, "cpu_bound", "high", None),
    "others take half of its core": (
        *(QUIET, {"cpu_percent": 99, "run_cpu_percent": 50}),
        *("cpu_bound", "moderate", None),
    ),
    "others use all cores": (QUIET, {"cpu_percent": 95, "run_cpu_percent": 3}, NONE_FOUND, "", None),
    "all of the group's share": (
        *(QUIET, {"group_cpu_percent": 97, "run_cpu_percent": 390}),
        *("cpu_bound", "high", None),
    ),
    "one thread on a CPU": (
        *(QUIET, {"busiest_core_percent": 99, "run_cpu_percent": 101}),
        *("cpu_bound", "moderate", None),
    ),
    "busy GPU": (GPU, {"gpu_percent": 97}, "gpu_busy", "high", None),
    "fairly busy GPU": (GPU, {"gpu_percent": 80}, "gpu_busy", "moderate", None),
    "idle GPU": (GPU, {"gpu_percent": 20, "run_cpu_percent": 40}, "gpu_idle", "high", None),
    "idle GPU, one thread of the run is full": (
        *(GPU, {"gpu_percent": 30, "busiest_core_percent": 100, "run_cpu_percent": 105}),
        *("cpu_bound", "high", "gpu_idle"),
    ),
    "busy GPU and a full thread that launches": (
        *(GPU, {"gpu_percent": 98, "busiest_core_percent": 100, "run_cpu_percent": 105}),
        *("gpu_busy", "high", None),
    ),
    "GPU starved by its loader": (
        *(GPU, {"gpu_percent": 30, "wait_s": 0.2}),
        *("input_bound", "high", "gpu_idle"),
    ),
    "GPU starved, and one loader worker is full": (
        *(GPU, {"gpu_percent": 30, "wait_s": 0.2, "busiest_core_percent": 99, "run_cpu_percent": 180}),
        *("input_bound", "high", "cpu_bound"),
    ),
    "small wait, busy GPU": (GPU, {"gpu_percent": 92, "wait_s": 0.02}, "gpu_busy", "high", "input_bound"),
    "small wait, fairly busy GPU": (
        *(GPU, {"gpu_percent": 85, "wait_s": 0.02}),
        *("input_bound", "moderate", "gpu_busy"),
    ),
    "hot GPU": (
        *(GPU, {"gpu_percent": 96, "gpu_thermal_share": 0.8, "gpu_clock_share": 0.6}),
        *("throttled", "high", "gpu_busy"),
    ),
    "power brake": (GPU, {"gpu_brake_share": 0.2}, "throttled", "moderate", "gpu_busy"),
    "power limit at full clock is no fault": (
        *(GPU, {"gpu_percent": 99, "gpu_power_share": 0.9, "gpu_clock_share": 0.92}),
        *("gpu_busy", "high", None),
    ),
    "power limit that halves the clock": (
        *(GPU, {"gpu_percent": 99, "gpu_power_share": 0.9, "gpu_clock_share": 0.5}),
        *("throttled", "high", "gpu_busy"),
    ),
    "CPU quota starves the loader": (
        *(GPU, {"gpu_percent": 30, "wait_s": 0.2, "throttled_percent": 60}),
        *("throttled", "high", "input_bound"),
    ),
    "rare quota and a slow loader": (
        *(GPU, {"gpu_percent": 30, "wait_s": 0.2, "throttled_percent": 11}),
        *("input_bound", "high", "gpu_idle"),
    ),
    "tasks wait for memory, and so for data": (
        *(QUIET, {"memory_pressure_percent": 40, "wait_s": 0.2}),
        *("memory_pressure", "high", "input_bound"),
    ),
    "nearly full memory without waiting": (
        QUIET,
        {"memory_percent": 96},
        "memory_pressure",
        "moderate",
        None,
    ),
    "validation half of the time": (QUIET, {"validation_s": 150}, "validation_bound", "high", None),
    "saves a tenth of the time": (QUIET, {"checkpoint_s": 30}, "checkpoint_bound", "moderate", None),
    "validation and a slow loader": (
        *(QUIET, {"validation_s": 70, "wait_s": 0.2}),
        *("input_bound", "high", "validation_bound"),
    ),
    "eight GPUs, half idle": (
        *(GPU, {"gpus": 8, "gpu_percent": 50}),
        *("gpu_idle", "moderate", None),
    ),
    "GPU without a reading": (GPU, {"gpu_percent": None}, NONE_FOUND, "", None),
}


@pytest.mark.parametrize("name", CASES)
def test_verdict_of_a_built_case(name: str) -> None:
    base, changes, expected, level, runner_up = CASES[name]
    found = judge(dataclasses.replace(base, **changes))
    assert (found.name, found.level, found.runner_up) == (expected, level, runner_up)
    assert found.evidence
    assert bool(found.advice) == (expected not in {NONE_FOUND, NOT_ENOUGH})


@pytest.mark.parametrize(
    ("base", "changes", "seconds"),
    [
        (QUIET, {"wait_s": 0.1}, 0.2),
        (GPU, {"gpu_percent": 20}, 0.06),
        (GPU, {"gpu_percent": 100, "gpu_thermal_share": 0.9, "gpu_clock_share": 0.5}, 0.15),
        (QUIET, {"memory_percent": 99}, None),
    ],
)
def test_step_time_without_the_bottleneck(
    base: Facts, changes: dict[str, float], seconds: float | None
) -> None:
    found = judge(dataclasses.replace(base, **changes)).step_s_if_cured
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_evidence_has_the_figures() -> None:
    found = judge(dataclasses.replace(QUIET, wait_s=0.15, io_pressure_percent=25.0))
    assert found.evidence == (
        "A step waited 0.15 s of 0.30 s for its data: 50 %.",
        "The run used 0.7 CPU cores.",
        "Tasks waited for disks 25 % of the time.",
    )


def test_wait_longer_than_its_step_is_the_whole_step() -> None:
    assert judge(dataclasses.replace(QUIET, wait_s=9.0)).step_s_if_cured == 0.0
