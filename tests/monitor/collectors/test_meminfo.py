"""Memory of a machine, from files as kernels and containers have them."""

import os
from pathlib import Path

import pytest

from pylon.monitor.collectors import meminfo, proc
from pylon.monitor.collectors.host import HostReader
from pylon.monitor.collectors.host_figures import Memory, Swap
from pylon.monitor.status import Absence

KIB = 1024
UNKNOWN = Absence.UNREACHABLE
SWAP = "SwapTotal: 100 kB\nSwapFree: 40 kB\n"
GOOD = Memory(600 * KIB, 400 * KIB, 1000 * KIB)


def text(total: object = 1000, available: object = 400) -> str:
    return f"MemTotal:  {total} kB\nMemFree: 5 kB\nMemAvailable: {available} kB\nHugePages_Total: 0\n{SWAP}"


@pytest.fixture
def read(tmp_path: Path):
    def reading(content: str) -> tuple[Memory | Absence, Swap | Absence]:
        (tmp_path / "meminfo").write_text(content)
        reader = HostReader(proc_root=tmp_path)
        return reader.memory(), reader.swap()

    return reading


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (text(), GOOD),
        # An arm64 container: the file goes on after its last line.
        (text() + "\0" * 40, GOOD),
        (text() + "Mapped:  \nnonsense\n:\n", GOOD),
        # A control group that lxcfs does not understand.
        (text(0, -766260), UNKNOWN),
        (text(0, 0), UNKNOWN),
        (text("x"), UNKNOWN),
        (text(2**64), UNKNOWN),
        # What is left of the machine, in a container that may use less.
        (text(1000, 5000), Memory(UNKNOWN, UNKNOWN, 1000 * KIB)),
        (text(1000, 18446744073709551615), Memory(UNKNOWN, UNKNOWN, 1000 * KIB)),
        (text(1000, -5), Memory(UNKNOWN, UNKNOWN, 1000 * KIB)),
        (f"MemTotal: 7 kB\n{SWAP}", Memory(Absence.UNSUPPORTED, Absence.UNSUPPORTED, 7 * KIB)),
        (SWAP, Absence.UNSUPPORTED),
    ],
)
def test_figure_that_makes_no_sense_costs_itself_alone(read, content, wanted) -> None:
    assert read(content) == (wanted, Swap(60 * KIB, 100 * KIB))


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["SwapTotal: 0 kB", "SwapFree: 0 kB"], Swap(0, 0)),
        (["SwapTotal: 5 kB", "SwapFree: 6 kB"], UNKNOWN),
        (["SwapTotal: 5 kB"], Absence.UNSUPPORTED),
        (["SwapTotal: ? kB", "SwapFree: 6 kB"], UNKNOWN),
        ([], Absence.UNSUPPORTED),
    ],
)
def test_swap(lines, wanted) -> None:
    assert meminfo.swap(lines) == wanted


@pytest.mark.parametrize(("error", "wanted"), [(13, Absence.DENIED), (2, Absence.UNSUPPORTED), (5, UNKNOWN)])
def test_file_that_cannot_be_read_gives_the_reason(monkeypatch, error, wanted) -> None:
    def refusing(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(proc.os, "open", refusing)
    reader = HostReader()
    assert (reader.memory(), reader.swap()) == (wanted, wanted)
