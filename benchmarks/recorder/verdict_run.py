"""A plain loop that one thing holds back, recorded; its arguments are a folder, its parts and its seconds.

Its parts are seconds of a step and of what is around it, as JSON: `wait` for data, `compute` on this core,
`asleep` for a device that computes; `save` and `validate` after each second. `fill` is the part of its
control group's memory that it fills.
"""

import json
import sys
import time
from pathlib import Path

from pylon.recorder import Recorder


def main(folder: str, parts: dict[str, float], seconds: float) -> None:
    """Train."""
    with Recorder(Path(folder) / "history.sqlite", kind="loop") as recorder:
        held = _filled(parts["fill"]) if "fill" in parts else []
        _train(recorder, parts, time.monotonic() + seconds)
        held.clear()


def _train(recorder: Recorder, parts: dict[str, float], until: float) -> None:
    step, pause = 0, time.monotonic() + 1
    while time.monotonic() < until:
        begun = time.perf_counter()
        time.sleep(parts.get("wait", 0.0))
        wait_s = time.perf_counter() - begun
        _compute(parts.get("compute", 0.0))
        time.sleep(parts.get("asleep", 0.0))
        recorder.sender.step(step, time.perf_counter() - begun, wait_s)
        step += 1
        if time.monotonic() >= pause:
            for kind, name in (("save", "checkpoint"), ("validate", "validation")):
                if kind in parts:
                    recorder.sender.mark(f"{name}_begin")
                    time.sleep(parts[kind])
                    recorder.sender.mark(f"{name}_end")
            pause = time.monotonic() + 1


def _filled(part: float) -> list[bytes]:
    """Memory, taken until so much of the control group's limit is used; the recorder has its own by then."""
    time.sleep(3)
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")
    group = Path("/sys/fs/cgroup/memory") / path.lstrip("/")
    limit = int((group / "memory.limit_in_bytes").read_text())
    held: list[bytes] = []
    while int((group / "memory.usage_in_bytes").read_text()) < part * limit:
        held.append(b"x" * 1_000_000)
    return held


def _compute(seconds: float) -> None:
    """Use so much CPU time, or wait for it if others have the core."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3]))
