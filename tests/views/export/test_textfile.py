"""`pylon export --textfile`: complete or absent, and only if node_exporter would read it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pylon.command import main
from pylon.views.export import textfile
from tests.recorder.synthetic import Run, write_history

REPOSITORY = Path(__file__).resolve().parents[3]


def exporting(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pylon", "export", "--no-gpu", "--interval-s", "0.5", *map(str, arguments)]


def test_collector_never_finds_a_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "pylon.prom"
    textfile.write_textfile(target, b"pylon_up 1\n")
    seen = []
    real = os.fsync

    def looked(descriptor: int) -> None:
        seen.append([(one.name, one.read_bytes()) for one in tmp_path.iterdir() if one.suffix == ".prom"])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", looked)
    textfile.write_textfile(target, b"pylon_up 0\n")
    assert seen, "nothing was looked at"
    assert all(found == [("pylon.prom", b"pylon_up 1\n")] for found in seen[:1])
    assert all(len(found) == 1 for found in seen)
    assert [one.name for one in tmp_path.iterdir()] == ["pylon.prom"]
    assert target.read_bytes() == b"pylon_up 0\n"


def test_file_has_servers_and_runs(tmp_path: Path) -> None:
    write_history(tmp_path / "runs/mine/history.sqlite", Run(seconds=20, cause=None))
    target = tmp_path / "pylon.prom"
    command = exporting(tmp_path / "runs", tmp_path / "absent", "--textfile", target, "--count", 2)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"pylon export: {tmp_path / 'absent'}: does not exist")
    assert len(done.stderr.splitlines()) == 1
    found = {
        one.name: one.value
        for family in text_string_to_metric_families(target.read_text())
        for one in family.samples
    }
    assert found["pylon_up"] == 1
    assert found["pylon_memory_total_bytes"] > 0
    assert found["pylon_records_unreadable"] == 1
    assert "pylon_network_received_bytes_per_second" in found, "rates need two readings"


def test_file_goes_when_the_command_is_ended(tmp_path: Path) -> None:
    target = tmp_path / "pylon.prom"
    process = subprocess.Popen(exporting("--textfile", target), cwd=REPOSITORY)
    try:
        until_s = time.monotonic() + 60
        while not target.exists() and time.monotonic() < until_s:
            time.sleep(0.05)
        assert target.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("pylon.txt", "expected a name that ends with .prom"), ("absent/pylon.prom", "expected a folder")],
)
def test_file_that_would_not_be_read_is_refused(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--textfile", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert len(printed.err.splitlines()) == 1
