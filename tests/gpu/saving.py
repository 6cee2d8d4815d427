"""How long training stands still at a save of the full-width HANet: synchronous, and in a thread."""

import statistics

from benchmarks.training.checkpoints import Saves, measure
from tests.gpu.outcomes import Report, Setting

WAYS = ("synchronous", "asynchronous")
# What two medians of a few saves differ by on a machine that does other things too.
_NOISE_RATIO, _NOISE_S = 1.1, 0.005


def run(setting: Setting) -> Report:
    """The part."""
    workload, saves, every = ("small_model", 3, 10) if setting.short else ("whole_hanet", 8, 20)
    found = measure(
        workload, setting.root, saves=saves, every_steps=every, threads=1, ways=WAYS, device=setting.device
    )
    return judged(found, saves, noise_s=0.1 if setting.short else _NOISE_S)


def judged(found: dict[str, Saves], saves: int, *, noise_s: float) -> Report:
    """What the times mean."""
    report = Report()
    still = {way: statistics.median(one.still_s) for way, one in found.items()}
    lost = {way: statistics.median(one.lost_s) for way, one in found.items()}
    for way, one in found.items():
        report.expect(len(one.still_s) == saves, f"{way}: {len(one.still_s)} saves, expected {saves}")
    most_s = _NOISE_RATIO * still["synchronous"] + noise_s
    report.expect(
        still["asynchronous"] <= most_s,
        f"an asynchronous save stops training for {1000 * still['asynchronous']:.1f} ms, a synchronous one "
        f"for {1000 * still['synchronous']:.1f} ms: expected at most {1000 * most_s:.1f} ms",
    )
    report.figure = "; ".join(
        f"{way}: still {1000 * still[way]:.1f} ms, lost in all {1000 * lost[way]:.1f} ms" for way in found
    )
    report.details = {way: vars(one) for way, one in found.items()}
    return report
