"""Check Pylon on a real GPU: `python -m tests.gpu [--parts nvml kills ...] [--json FILE]`.

Needs no network and takes less than 8 minutes on one data-centre GPU. A part that cannot run here is skipped
with the reason, and counts as neither passed nor failed.

exit codes: 0 parts have passed and none has failed, 1 a part has failed, 2 the command line is wrong,
3 no part could run here
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks.surroundings import machine as processor
from tests.gpu.machine import REPOSITORY, ask_torch, no_driver
from tests.gpu.outcomes import FAILED, PASSED, SKIPPED, Machine, Result, Setting
from tests.gpu.parts import PARTS


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parser().parse_args(arguments)
    begun_s = time.monotonic()
    machine = ask_torch()
    _say(processor())
    _say(f"torch {machine.torch}; {', '.join(machine.names) or f'no CUDA: {machine.no_cuda}'}\n")
    results = []
    _say("| part | result | figure | seconds |\n|---|---|---|---|")
    for name in options.parts:
        left_s = 60 * options.minutes - (time.monotonic() - begun_s)
        with tempfile.TemporaryDirectory(prefix=f"pylon-gpu-{name}-") as folder:
            setting = Setting(
                options.device, options.short, options.seed, min(PARTS[name].limit_s, left_s),
                options.authors, folder, machine,
            )  # fmt: skip
            results.append(_result(name, setting))
        last = results[-1]
        _say(f"| {last.part} | {last.outcome} | {last.figure} | {last.seconds:.0f} |")
    for result in results:
        for failure in result.failures:
            _say(f"\n{result.part}: {failure}")
    counts = ", ".join(
        f"{sum(one.outcome == outcome for one in results)} {outcome}"
        for outcome in (PASSED, FAILED, SKIPPED)
    )  # fmt: skip
    _say(f"\n{counts}; {time.monotonic() - begun_s:.0f} s")
    if options.json is not None:
        content = {"machine": asdict(machine), "processor": processor(), "results": [*map(asdict, results)]}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return exit_code(results)


def exit_code(results: list[Result]) -> int:
    """Of all parts together."""
    outcomes = {one.outcome for one in results}
    return 1 if FAILED in outcomes else 0 if PASSED in outcomes else 3


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, PARTS))
    about = "\n".join(f"  {name:{width}} {part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu", description=__doc__, epilog=f"parts:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--authors", metavar="FOLDER", help="a checkout of HANet-CD, for its speed")
    parser.add_argument("--minutes", type=float, default=8, help="of all parts together (8)")
    parser.add_argument("--seed", type=int, default=1, help="the moments of the kills follow from it (1)")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try the code of the parts (cuda)"
    )
    parser.add_argument("--short", action="store_true", help="as little as shows that a part works")
    return parser


def _result(name: str, setting: Setting) -> Result:
    reason = why_skipped(name, setting.device, setting.machine)
    if reason is not None:
        return Result(name, SKIPPED, reason, 0.0)
    if setting.seconds <= 0:
        return Result(name, FAILED, "no time was left", 0.0, [f"run it alone: --parts {name}"])
    return in_own_process(name, PARTS[name].function, setting)


def why_skipped(name: str, device: str, machine: Machine) -> str | None:
    """Why a part cannot run here; None if it can."""
    needs = PARTS[name].needs
    if needs == "driver":
        return no_driver()
    if machine.no_cuda is not None and (needs == "cuda" or device == "cuda"):
        return f"no CUDA: {machine.no_cuda}"
    return None


def in_own_process(name: str, function: str, setting: Setting) -> Result:
    """Run a part; one that is killed, breaks or does not end in time has failed."""
    found, output = setting.root / "result.json", setting.root / "output.txt"
    begun_s = time.monotonic()
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.part", name, function, str(found)], cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": _search_path()},
            stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.communicate(setting.to_json().encode(), timeout=setting.seconds)
        code = process.poll()
        _end(process)
    if code == 0 and found.exists():
        return Result(**json.loads(found.read_text(encoding="utf-8")))
    end = f"did not end within {setting.seconds:.0f} s" if code is None else f"ended with exit code {code}"
    tail = output.read_text(errors="replace").strip()[-2000:]
    return Result(name, FAILED, end, time.monotonic() - begun_s, [f"the part {end}\n{tail}"])


def _search_path() -> str:
    """This repository's modules first, and those that this process finds by its own PYTHONPATH."""
    return os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a part: its runs have process groups of their own."""
    left = []
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
