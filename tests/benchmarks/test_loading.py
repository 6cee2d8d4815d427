import importlib.util

import pytest

from benchmarks.loading.__main__ import main


def test_all_that_is_installed_is_measured_and_what_is_not_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    peers = {"albumentations", "cv2", "torchvision"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in peers else find(name))
    main(["--pairs", "2", "--size", "64", "--crop", "32", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "albumentations: not measured, albumentations, cv2 not installed" in printed
    assert "torchvision: not measured, torchvision not installed" in printed
    assert "2 pairs, crops of 32 x 32 pixels" in printed
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| ")][2:]
    assert [row[1].strip() for row in rows] == ["Pylon", "Pylon, decoded copy, first epoch", "later epochs"]
    assert all(float(row[2]) > 0 for row in rows)
