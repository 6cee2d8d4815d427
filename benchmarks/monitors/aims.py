"""Pylon's aims next to what was measured."""

from collections.abc import Sequence

from benchmarks.monitors.measures import Life, MemoryTaken, SideBySide
from benchmarks.monitors.tables import conditions, looks, monitors_s, spread, table, trainee_s

_MIB = 2**20


def aim_table(
    measured: SideBySide | None, well: Sequence[Life], hung: Sequence[Life], taken: Sequence[MemoryTaken]
) -> str:
    """One row per aim; it is met where the median is below it.

    Args:
        measured: of all subjects.
        well, hung, taken: of Pylon.
    """
    rows = []
    if measured is not None:
        own_s, others_s = trainee_s(measured, "pylon"), monitors_s(measured.cpu_time["pylon"])
        rows.append(_row("CPU s per minute in the training process", own_s, 0.06, digits=4))
        rows.append(_row("CPU s per minute of monitor processes", others_s, 0.6, digits=3))
    lives = [*well, *hung]
    for _, condition in conditions({"pylon": lives}):
        for part, words in (("all", ""), ("around", ", within 10 ms of a refresh")):
            found = looks(lives, condition, part)
            for key, quantile, limit in (("median_ns", "median", 1000), ("p999_ns", "p99.9", 50_000)):
                if found:
                    name = f"latest(), {condition}{words}: {quantile} ns"
                    rows.append(_row(name, [one[key] for one in found], limit, digits=0))
    if taken:
        rows += [
            _row("PSS of monitor processes MiB", [one.pss_bytes for one in taken], 60, _MIB, 1),
            _row("largest USS of one MiB", [one.largest_uss_bytes for one in taken], 20, _MIB, 1),
            _row("growth of the training process MiB", [one.growth_bytes for one in taken], 3, _MIB, 1),
        ]
    if well:
        rows += [
            _row("start() ms", [one.start_s for one in well], 50, 0.001, 1),
            _row("first values s", [one.first_s for one in well], 1),
            _row("exit ms", [one.exit_s for one in well], 100, 0.001, 0),
        ]
    if hung:
        rows.append(_row("exit while the driver hangs ms", [one.exit_s for one in hung], 3000, 0.001, 0))
    return table(("Pylon's aim", "below", "measured", "met"), rows)


def _row(
    name: str, values: Sequence[float | None], limit: float, unit: float = 1.0, digits: int = 2
) -> tuple[str, str, str, str]:
    known = sorted(float("inf") if value is None else value / unit for value in values)
    met = known[len(known) // 2] < limit
    return name, f"{limit:g}", spread(values, unit, digits), "yes" if met else "**no**"
