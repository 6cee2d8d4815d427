"""CUDA_VISIBLE_DEVICES in each of its forms: the GPUs that torch uses are those that the monitors show."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from pylon.monitor.remote.far.smi import mig_instances
from tests.gpu.machine import REPOSITORY
from tests.gpu.nvml import ask_nvidia_smi
from tests.gpu.outcomes import Report, Setting
from tests.gpu.watched import ALLOCATED_BYTES, Seen

VARIABLE = "CUDA_VISIBLE_DEVICES"
# As nvidia-smi numbers them; by default CUDA puts the fastest first.
IN_BUS_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@dataclass(frozen=True)
class Form:
    """One way to set the variable.

    Attributes:
        name: for messages.
        value: of the variable.
        expected: UUIDs of the devices; None: not known, torch's count.
    """

    name: str
    value: str
    expected: list[str] | None


def run(setting: Setting) -> Report:
    """The part."""
    numbers = {one.uuid: one.index for one in ask_nvidia_smi()}
    mine = [uuid for uuid in setting.machine.uuids if uuid in numbers]
    parts = [part.uuid for one in mig_instances(_listed()).values() for part in one]
    report = Report()
    chosen = forms(mine, numbers, parts)
    for form in chosen:
        seen = look({VARIABLE: form.value, **IN_BUS_ORDER})
        report.failures += wrong_devices(form, seen)
        report.details[form.name] = {"value": form.value, **vars(seen)}
    left_out = [] if len(mine) > 1 else ["reordered (one GPU)"]
    left_out += [] if parts else ["MIG (no instances)"]
    report.expect(bool(chosen), "no form could be tried")
    report.figure = f"{len(chosen)} forms: {', '.join(one.name for one in chosen)}"
    report.figure += f"; not possible here: {', '.join(left_out)}" if left_out else ""
    return report


def forms(uuids: list[str], numbers: dict[str, int], parts: list[str]) -> list[Form]:
    """The forms that can be tried with these GPUs.

    Args:
        uuids: those that may be used.
        numbers: nvidia-smi's number of each.
        parts: UUIDs of MIG instances.
    """
    found = [Form("empty", "", []), Form("-1", "-1", [])]
    found += [Form("MIG name", part, None) for part in parts[:1]]
    if not uuids:
        return found
    first = uuids[0]
    beginning = next(
        first[:length] for length in range(8, len(first) + 1)
        if sum(one.startswith(first[:length]) for one in numbers) == 1
    )  # fmt: skip
    found += [
        Form("index", str(numbers[first]), [first]),
        Form("UUID", first, [first]),
        Form("beginning of a UUID", beginning, [first]),
        Form("repeated", f"{first},{first}", []),
        Form("beyond the last", f"{numbers[first]},{len(numbers) + 90}", [first]),
    ]
    if len(uuids) > 1:
        turned = uuids[::-1]
        found.append(Form("reordered", ",".join(str(numbers[one]) for one in turned), turned))
    return found


def wrong_devices(form: Form, seen: Seen) -> list[str]:
    """What is wrong with the GPUs under a form: used, watched, and the one whose memory is taken."""
    failures = []
    if form.expected is not None and seen.used != form.expected:
        failures.append(f"{form.name}: torch uses {seen.used}, expected {form.expected}")
    if form.expected is None and not seen.used:
        failures.append(f"{form.name}: torch uses no device")
    gpu_of = {part: gpu for gpu, parts in seen.parts.items() for part in parts}
    # CUDA names a part by its own UUID or by its GPU's.
    used = list(dict.fromkeys(gpu_of.get(one, one) for one in seen.used))
    if used != seen.watched:
        failures.append(f"{form.name}: torch uses {used}, Pylon watches {seen.watched}")
    if seen.used and not seen.parts.get(used[0]):
        grown = seen.grown_bytes
        if grown is None or grown < 0.9 * ALLOCATED_BYTES:
            failures.append(
                f"{form.name}: {ALLOCATED_BYTES} bytes allocated, the watched GPU's memory grew by {grown}"
            )
    return failures


def look(environment: dict[str, str]) -> Seen:
    """What a process with these variables watches and uses."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.watched"], cwd=REPOSITORY, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{environment}: {done.stderr[-1000:]}")
    return Seen(**json.loads(done.stdout.splitlines()[-1]))


def _listed() -> list[str]:
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.splitlines()
