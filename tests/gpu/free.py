"""A run that is started with the answer of `pylon free --cuda` uses the GPU it names, and watches it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.gpu import runs
from tests.gpu.devices import VARIABLE, Form, look, wrong_devices
from tests.gpu.machine import REPOSITORY
from tests.gpu.outcomes import Report, Setting, Skipped
from tests.gpu.watched import Seen

_NONE_FREE = 3


def run(setting: Setting) -> Report:
    """The part."""
    report = check_choice(ask_free(), look)
    uuid = report.details.get("chosen")
    config, work_dir = runs.configuration(setting.root, "free", "hanet", width=4, steps=8, size=32)
    done = runs.command(config, "cuda", 0.5 * setting.seconds, {VARIABLE: str(uuid)})
    report.expect(done.returncode == 0, f"a run with it: exit code {done.returncode}\n{done.stderr[-600:]}")
    if done.returncode == 0:
        report.failures += wrong_run(work_dir)
    report.figure = f"{uuid} chosen, used and watched"
    return report


def ask_free() -> str:
    """The line of `pylon free --cuda`. Raises Skipped if no GPU is free."""
    done = subprocess.run(
        [sys.executable, "-m", "pylon", "free", "--cuda"], cwd=REPOSITORY, env=os.environ,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == _NONE_FREE:
        raise Skipped(f"no GPU is free: {done.stderr.strip()}")
    if done.returncode:
        raise RuntimeError(f"pylon free: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_choice(line: str, looked: Callable[[dict[str, str]], Seen]) -> Report:
    """Whether a process that is started with the line of `pylon free` uses and watches what it names.

    Args:
        line: CUDA_VISIBLE_DEVICES=GPU-...
        looked: what a process with these variables watches and uses.
    """
    report = Report()
    name, _, value = line.partition("=")
    if not report.expect(name == VARIABLE and value.startswith("GPU-"), f"pylon free printed {line!r}"):
        return report
    report.details["chosen"] = value
    report.failures += wrong_devices(Form("pylon free", value, [value]), looked({VARIABLE: value}))
    return report


def wrong_run(work_dir: Path) -> list[str]:
    """What is wrong with the device that a run noted: one GPU of one."""
    launch = json.loads((work_dir / "environment.json").read_text(encoding="utf-8"))["launches"][-1]
    devices = launch["hardware"]["cuda_devices"]
    if launch["device"].startswith("cuda") and len(devices) == 1:
        return []
    return [f"the run has device {launch['device']} of {devices}, expected cuda and one GPU"]
