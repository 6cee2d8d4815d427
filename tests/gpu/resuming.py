"""Stops and kills on the device, resumed by the same command: every number is that of a whole run."""

import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from tests.gpu import recipes, runs
from tests.gpu.outcomes import Report, Setting
from tests.shutdown.compare_runs import differences
from tests.shutdown.launches import OneProcess
from tests.shutdown.resume import Attack, Tally

STOP, STOPPED = signal.SIGTERM, 75
KILLS = 20
_SHOWN = 10


def stop(setting: Setting) -> Report:
    """The part: HANet stopped by SIGTERM in the middle of an epoch."""
    report = Report()
    size = (
        {"width": 2, "steps": 8, "size": 16, "watched": False}
        if setting.short
        else {"width": recipes.FULL_WIDTH, "steps": 40, "size": 112}
    )
    whole_config, whole = runs.configuration(setting.root, "whole", "hanet", epochs=2, **size)
    config, stopped = runs.configuration(setting.root, "stopped", "hanet", epochs=2, **size)
    within_s = setting.seconds / 3
    code = runs.exit_code(OneProcess(whole_config, setting.device), within_s)
    report.expect(code == 0, f"whole run: exit code {code}, expected 0\n{runs.end_of_log(whole)}")
    launch = OneProcess(config, setting.device)
    if (early := _end_before_a_save(stopped, launch, within_s)) is not None:
        report.expect(False, f"it ended before it saved: exit code {early}\n{runs.end_of_log(stopped)}")
        return report
    sent_s = time.monotonic()
    launch.strike(STOP)
    code = runs.exit_code(launch, within_s)
    report.details["stop_s"] = time.monotonic() - sent_s
    report.expect(
        code == STOPPED, f"SIGTERM: exit code {code}, expected {STOPPED}\n{runs.end_of_log(stopped)}"
    )
    code = runs.exit_code(OneProcess(config, setting.device), within_s)
    report.expect(code == 0, f"resumed run: exit code {code}, expected 0\n{runs.end_of_log(stopped)}")
    compare(report, whole, stopped)
    report.figure = (
        f"stopped within {report.details['stop_s']:.1f} s, {report.details['differences']} differences"
    )
    return report


def compare(report: Report, whole: Path, resumed: Path) -> None:
    """Note each number that differs between two finished runs, and that there were numbers to compare."""
    found = differences(whole, resumed)
    report.details["differences"] = len(found)
    report.expect(any(whole.glob("epoch_*/checkpoint.pt")), "the whole run has no checkpoint to compare")
    report.failures += found[:_SHOWN]


def kills(setting: Setting) -> Report:
    """The part: SIGKILLs at random moments, half of them while checkpoints are written asynchronously."""
    ways = (True,) if setting.short else (False, True)
    kills_each = 1 if setting.short else KILLS // len(ways)
    # Each way in a process of its own: most of the time is the start of CUDA.
    with ProcessPoolExecutor(len(ways), multiprocessing.get_context("spawn")) as pool:
        tallies = list(pool.map(_attack, ways, repeat(setting), repeat(kills_each)))
    return judged(tallies, len(ways) * kills_each)


def _attack(asynchronous: bool, setting: Setting, kills: int) -> Tally:
    folder = setting.root / f"asynchronous_{asynchronous}"
    folder.mkdir()
    attack = Attack(
        folder, setting.seed, sigterm=0, stop_within_s=60, ranks=1, device=setting.device,
        changes={"asynchronous_checkpoints": str(asynchronous)},
    )  # fmt: skip
    return attack.run(kills, 0.8 * setting.seconds / 60)


def judged(tallies: list[Tally], wanted: int) -> Report:
    """What the attacks mean."""
    report = Report()
    done, compared = sum(one.kills for one in tallies), sum(one.runs for one in tallies)
    found = [line for one in tallies for line in one.found]
    report.expect(done >= wanted, f"{done} kills in the time, expected {wanted}")
    report.expect(all(one.runs for one in tallies), "no run was compared with the whole one")
    report.failures += found[:_SHOWN]
    report.figure = f"{done} kills, {compared} runs compared, {len(found)} differences"
    places: dict[str, int] = {}
    for one in tallies:
        for place, count in one.places.items():
            places[place] = places.get(place, 0) + count
    report.details = {"places": places}
    return report


def _end_before_a_save(work_dir: Path, launch: OneProcess, within_s: float) -> int | None:
    """Wait for a checkpoint in the middle of an epoch; the exit code of a run that ended first."""
    until = time.monotonic() + within_s
    while not any(work_dir.glob("epoch_*/step_*.pt")) and time.monotonic() < until:
        if (codes := launch.join(0.02)) is not None:
            return codes[0]
    return None
