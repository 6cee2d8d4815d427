"""The figures of one machine as numbers alone, and as one line, for loggers that take nothing else."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

_GIB = 2**30

Number = float | int


def flat_numbers(record: Mapping[str, Any]) -> dict[str, Number]:
    """The numbers that are known in what `SystemSnapshot.as_record` gives; an unknown one has no entry.

    Returns:
        By name: 'cpu_percent'; of a GPU with its number, 'gpu_power_w.0'; of a further monitor with its class
        and server, 'ScratchMonitor.localhost.free_bytes'. Every value is finite.
    """
    figures = {name: value for name, value in record.items() if name != "others"}
    return dict([*_numbers("", figures), *_numbers_of_others(record.get("others") or {})])


def figures_line(numbers: Mapping[str, Number], gpus: int) -> str:
    """The most important of `flat_numbers` on one line; '?' is unknown.

    Args:
        numbers: those.
        gpus: how many GPUs there are.
    """
    parts = [
        f"cpu {_percent(numbers.get('cpu_percent'))}",
        f"memory {_share(numbers, 'memory_used_bytes', 'memory_total_bytes')}",
        f"run {_gib(numbers.get('run_rss_bytes'))} GiB",
    ]
    for gpu in range(gpus):
        memory = _share(numbers, f"gpu_memory_used_bytes.{gpu}", f"gpu_memory_total_bytes.{gpu}")
        parts.append(f"gpu {gpu} {_percent(numbers.get(f'gpu_util_percent.{gpu}'))} {memory}")
    return ", ".join(parts)


def _numbers_of_others(others: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Number]]:
    for name, by_server in others.items():
        for server, record in by_server.items():
            yield from _numbers(f"{name}.{server}.", record["values"])


def _numbers(prefix: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, Number]]:
    for name, value in figures.items():
        if isinstance(value, list):
            yield from _numbers(f"{prefix}{name}.", {str(number): one for number, one in enumerate(value)})
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", value


def _percent(value: Number | None) -> str:
    return "?" if value is None else f"{value:.0f} %"


def _gib(value: Number | None) -> str:
    return "?" if value is None else f"{value / _GIB:.1f}"


def _share(numbers: Mapping[str, Number], used: str, total: str) -> str:
    return f"{_gib(numbers.get(used))}/{_gib(numbers.get(total))} GiB"
