"""Markdown tables of what was measured: median and, in brackets, least and greatest."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.monitors.faults import Fault, Outcome
from benchmarks.monitors.measures import EXIT_WITHIN_S, CPUTime, Life, MemoryTaken, SideBySide
from benchmarks.monitors.subjects import SUBJECTS

_MIB = 2**20
_NOTHING = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def spread(values: Sequence[float | None], unit: float = 1.0, digits: int = 2) -> str:
    """Median [least..greatest] in `unit`; how many have no value, where some have none."""
    known = [value / unit for value in values if value is not None]
    if not known:
        return f"never within {EXIT_WITHIN_S:g} s" if values else _NOTHING
    middle, least, greatest = statistics.median(known), min(known), max(known)
    text = f"{middle:.{digits}f}"
    if len(known) > 1:
        text += f" [{least:.{digits}f}..{greatest:.{digits}f}]"
    return text + (f", {len(values) - len(known)} never" if len(known) < len(values) else "")


def title(subject: str) -> str:
    """As the tables call it."""
    return SUBJECTS[subject].title


def monitors_s(windows: Sequence[CPUTime]) -> list[float]:
    """CPU seconds per minute of all monitor processes together, per window."""
    return [sum(window.monitors_s.values()) for window in windows]


def trainee_s(measured: SideBySide, subject: str) -> list[float]:
    """CPU seconds per minute in the training process beyond what it spends without a monitor."""
    windows, without = measured.cpu_time[subject], measured.cpu_time["none"]
    return [one.trainee_s - other.trainee_s for one, other in zip(windows, without, strict=True)]


def cpu_table(measured: SideBySide) -> str:
    """CPU time and the time of a step."""
    head = (
        "subject",
        "CPU s per minute added in the training process",
        "CPU s per minute of monitor processes",
        "step time, ratio to none",
    )
    rows = [
        (
            title(subject),
            spread(trainee_s(measured, subject), digits=4),
            spread(monitors_s(windows), digits=3),
            spread(measured.step_ratio[subject], digits=3),
        )
        for subject, windows in measured.cpu_time.items()
    ]
    return table(head, rows)


def look_table(lives: Mapping[str, list[Life]]) -> str:
    """Latencies of `latest`."""
    head = ("subject", "condition", "looks", "median ns", "p99.9 ns", "longest us")
    rows = []
    for subject, condition in conditions(lives):
        for part, words in (("all", "all"), ("around", "within 10 ms of a refresh")):
            found = looks(lives[subject], condition, part)
            if found:
                numbers = [[one[key] for one in found] for key in ("median_ns", "p999_ns", "longest_ns")]
                rows.append(
                    (
                        title(subject),
                        condition,
                        words,
                        spread(numbers[0], digits=0),
                        spread(numbers[1], digits=0),
                        spread(numbers[2], 1000, 0),
                    )
                )
    return table(head, rows)


def conditions(lives: Mapping[str, list[Life]]) -> list[tuple[str, str]]:
    """Each subject with each condition that `latest` was measured in."""
    found = {
        (subject, condition): None
        for subject, each in lives.items()
        for one in each
        for condition in one.looks
    }
    return list(found)


def looks(lives: Sequence[Life], condition: str, part: str) -> list[dict[str, float]]:
    """Summaries of `latest`, where there are."""
    return [one.looks[condition][part] for one in lives if one.looks.get(condition, {}).get(part)]


def life_table(well: Mapping[str, list[Life]], hung: Mapping[str, list[Life]]) -> str:
    """Start and end."""
    head = ("subject", "start() ms", "first values s", "exit ms", "exit while the driver hangs ms")
    rows = [
        (
            title(subject),
            spread([one.start_s for one in lives], 0.001, 1),
            spread([one.first_s for one in lives]),
            spread([one.exit_s for one in lives], 0.001, 0),
            spread([one.exit_s for one in hung.get(subject, [])], 0.001, 0),
        )
        for subject, lives in well.items()
    ]
    return table(head, rows)


def memory_table(taken: Mapping[str, list[MemoryTaken]]) -> str:
    """Memory, of the training process and of all others."""
    head = (
        "subject",
        "growth of the training process MiB",
        "PSS of monitor processes MiB",
        "largest USS of one MiB",
    )
    rows = [
        (
            title(subject),
            spread([one.growth_bytes for one in each], _MIB, 1),
            spread([one.pss_bytes for one in each if one.monitors], _MIB, 1),
            spread([one.largest_uss_bytes for one in each if one.monitors], _MIB, 1),
        )
        for subject, each in taken.items()
    ]
    return table(head, rows)


def process_table(measured: SideBySide | None, taken: Mapping[str, list[MemoryTaken]]) -> str:
    """Each process of each subject."""
    head = (
        "subject",
        "process",
        "CPU s per minute",
        "PSS MiB",
        "USS MiB",
        "of torch and numpy it has mapped",
    )
    rows = []
    for subject in SUBJECTS:
        processes = [process for one in taken.get(subject, []) for process in one.monitors]
        windows = [] if measured is None else measured.cpu_time.get(subject, [])
        names = dict.fromkeys(process.name for process in processes)
        names |= dict.fromkeys(name for window in windows for name in window.monitors_s)
        for name in names:
            same = [process for process in processes if process.name == name]
            mapped = sorted({library for process in same for library in process.libraries})
            rows.append(
                (
                    title(subject),
                    name,
                    spread([window.monitors_s.get(name, 0.0) for window in windows], digits=3),
                    spread([process.pss_bytes for process in same], _MIB, 1),
                    spread([process.uss_bytes for process in same], _MIB, 1),
                    ", ".join(mapped) or ("none" if same else _NOTHING),
                )
            )
    return table(head, rows)


def fault_table(found: Mapping[Fault, Mapping[str, Outcome]], missing: Sequence[str]) -> str:
    """Faults by subjects; what a run without a monitor would not show is in bold."""
    subjects = list(next(iter(found.values()))) if found else []
    head = ("fault", *(title(subject) for subject in (*subjects, *missing)))
    rows = [
        (
            fault.value,
            *(_told(each[subject], each["none"]) for subject in subjects),
            *["not installed"] * len(missing),
        )
        for fault, each in found.items()
    ]
    return table(head, rows)


def _told(seen: Outcome, without: Outcome) -> str:
    if not seen.started:
        return "**start() does not return, no training**"
    outcome = []
    if seen.steps == 0:
        outcome.append("**training is dead**")
    elif seen.longest_step_s is not None:
        outcome.append(f"trains on, longest step {seen.longest_step_s * 1000:.0f} ms")
    if seen.exit_code is None or seen.end_s is None:
        return ", ".join([*outcome, f"**does not end within {EXIT_WITHIN_S:g} s**"])
    same = seen.exit_code == without.exit_code
    outcome.append(f"exit code {seen.exit_code}" if same else f"**exit code {seen.exit_code}**")
    if seen.steps != 0:
        outcome.append(f"ends in {seen.end_s * 1000:.0f} ms")
    if seen.left:
        outcome.append(f"**leaves {seen.left} after 2 s, {seen.left_long} after 10 s**")
    if seen.tracebacks > without.tracebacks:
        outcome.append(f"**{seen.tracebacks - without.tracebacks} more tracebacks**")
    return ", ".join(outcome)
