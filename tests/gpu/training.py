"""HANet in the demo's width and in full, each precision and layout: losses against the CPU's in float32."""

import math
from typing import Any

from tests.gpu import recipes, runs
from tests.gpu.outcomes import Report, Setting
from tests.shutdown.launches import OneProcess

STEPS = 5
_ACCUMULATED = "accumulate_batches"
# By name: arguments of Stepping, and how far a loss may lie from the CPU's, relative to it. cuDNN computes
# float32 convolutions in TF32, with 10 bits after the point, and adds up in another order; bfloat16 has 7
# bits. Each step of training makes the difference larger.
VARIANTS: dict[str, tuple[dict[str, object], float]] = {
    "float32": ({}, 0.02),
    "channels_last": ({"channels_last": True}, 0.02),
    "compiled": ({"compile": True}, 0.02),
    "graphs": ({"compile": "reduce-overhead"}, 0.02),
    "channels_last compiled": ({"channels_last": True, "compile": True}, 0.02),
    "accumulated graphs": ({"compile": "reduce-overhead", _ACCUMULATED: 2}, 0.02),
    "bfloat16": ({"precision": "bfloat16"}, 0.10),
}
_SHORT = ("float32", "bfloat16")
# On the CPU: with as many batches in a step.
_REFERENCES: dict[str, dict[str, object]] = {"reference": {}, "accumulated reference": {_ACCUMULATED: 2}}


def run(setting: Setting) -> Report:
    """The part: all runs at the same time, as most of each is its start."""
    report = Report()
    widths = (4,) if setting.short else (recipes.DEMO_WIDTH, recipes.FULL_WIDTH)
    launches = {}
    for width in widths:
        for name, stepping in _taken(short=setting.short).items():
            config, work_dir = runs.configuration(
                setting.root,
                f"{name.replace(' ', '_')}_{width}",
                "hanet",
                width=width,
                steps=STEPS * stepping.get(_ACCUMULATED, 1),
                watched=not setting.short,
                **stepping,
            )
            launch = OneProcess(config, "cpu" if name in _REFERENCES else setting.device)
            launches[name, width] = launch, work_dir
    for (name, width), (launch, work_dir) in launches.items():
        code = runs.exit_code(launch, 0.9 * setting.seconds)
        report.expect(
            code == 0, f"width {width}, {name}: exit code {code}, expected 0\n{runs.end_of_log(work_dir)}"
        )
    worst: dict[str, float] = {}
    for width in widths:
        for name in [one for one, of in launches if of == width and one not in _REFERENCES]:
            expected = runs.losses(launches[_reference_of(name), width][1])
            found = runs.losses(launches[name, width][1])
            report.failures += wrong_losses(f"width {width}, {name}", expected, found, VARIANTS[name][1])
            report.details[f"{name}_{width}"] = {"expected": expected, "found": found}
            worst[name] = max(worst.get(name, 0.0), farthest(expected, found))
    report.figure = "; ".join(f"{name} within {distance:.2%}" for name, distance in worst.items())
    return report


def _taken(*, short: bool) -> dict[str, dict[str, Any]]:
    """The arguments of Stepping of each run of a width, by its name."""
    names = _SHORT if short else tuple(VARIANTS)
    references = {_reference_of(name) for name in names}
    return {name: _REFERENCES[name] for name in sorted(references)} | {
        name: VARIANTS[name][0] for name in names
    }


def _reference_of(name: str) -> str:
    return "accumulated reference" if _ACCUMULATED in VARIANTS[name][0] else "reference"


def wrong_losses(what: str, expected: list[float], found: list[float], tolerance: float) -> list[str]:
    """What is wrong with the losses of a run, next to those of the reference."""
    if len(expected) != STEPS or len(found) != STEPS:
        return [f"{what}: {len(found)} losses and {len(expected)} of the reference, expected {STEPS}"]
    distance = farthest(expected, found)
    if distance <= tolerance:
        return []
    return [f"{what}: losses {found}, on the CPU {expected}: {distance:.2%} apart, at most {tolerance:.0%}"]


def farthest(expected: list[float], found: list[float]) -> float:
    """The largest distance of two losses of a step, relative to the expected one; infinite if not finite."""
    distances = [abs(one - other) / abs(one) for one, other in zip(expected, found, strict=False)]
    return max((one if math.isfinite(one) else math.inf for one in distances), default=math.inf)
