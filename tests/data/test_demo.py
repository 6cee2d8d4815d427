import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pylon.data import DataError, SharedImageCache
from pylon.data.change_detection import AirChangeDataset
from pylon.data.change_detection.air_change_files import find_files
from pylon.data.change_detection.demo import Scene, draw_scene, write, write_demo

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets") / "demo"
    assert write_demo(root, seed=5)
    return root


@pytest.fixture
def flat_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes that cost nothing, where it is about the files alone."""

    def draw(width: int, height: int, generator: np.random.Generator) -> Scene:
        image = np.full((height, width, 3), generator.integers(256), np.uint8)
        return Scene(image, image, np.zeros((height, width), np.uint8))

    monkeypatch.setattr(write, "draw_scene", draw)


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pylon.data.change_detection.demo", "--root", str(root), *arguments]


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_scene_to_the_last_bit_and_another_seed_another() -> None:
    first, again, other = (draw_scene(320, 240, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("first", "second", "change"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_files_follow_from_the_seed_to_the_last_bit(tmp_path: Path, flat_scenes: None) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        write_demo(tmp_path / name, seed)
    one, same, other = (content(tmp_path / name) for name in ("one", "same", "other"))
    assert len(one) == 37
    assert one == same
    assert all(one[path] != other[path] for path in one if "im1" in path.lower())


def test_it_is_the_layout_of_the_benchmark_with_its_oddities(demo_root: Path) -> None:
    files = find_files(demo_root)
    assert [path.name for path in files[4]] == ["im1.bmp", "im2.BMP", "gt.bmp"]
    assert files[5][2].name == "gt.BMP"
    assert files[6][0].name == "im1.BMP"
    greys: dict[str, list[int]] = {}
    for first, second, label in files:
        with Image.open(first) as one, Image.open(second) as two, Image.open(label) as truth:
            assert one.size == two.size == truth.size == (952, 640)
            assert (one.format, one.mode, two.mode, truth.mode) == ("BMP", "RGB", "RGB", "L")
            pixels = np.asarray(truth)
        greys[f"{label.parent.parent.name}/{label.parent.name}"] = sorted(
            pixels[(pixels > 0) & (pixels < 255)].tolist()
        )
    assert {case: found for case, found in greys.items() if found} == {
        "Szada/6": [213],
        "Tiszadob/4": [21, 57, 66, 105, 144, 189, 192, 252],
    }


def test_benchmark_class_reads_all_three_splits(demo_root: Path) -> None:
    for split, count in (("train", 3744), ("val", 12), ("test", 12)):
        dataset = AirChangeDataset(demo_root, split, holdout_corner=True)
        assert len(dataset) == count
        assert set(dataset[0]["labels"]["change_map"].unique().tolist()) <= {0, 1}


def test_every_pair_has_a_plausible_share_of_change(demo_root: Path) -> None:
    for _, _, label in find_files(demo_root):
        with Image.open(label) as truth:
            assert 0.02 < (np.asarray(truth) > 127).mean() < 0.1


def test_validation_does_not_hang_on_one_image(demo_root: Path) -> None:
    corners = AirChangeDataset(demo_root, "val", holdout_corner=True)
    assert sum(bool(datapoint["labels"]["change_map"].any()) for datapoint in corners) >= 4


def test_change_is_not_to_be_had_from_the_difference_of_the_images(demo_root: Path) -> None:
    """A threshold, even the best one, stays far below what a network reaches (F1 about 0.8)."""
    dataset = AirChangeDataset(demo_root, "test", cache=SharedImageCache(2**26))
    differences, labels = [], []
    for datapoint in dataset:
        first, second = datapoint["inputs"].values()
        differences.append((first - second).abs().mean(dim=0)[::2, ::2].flatten())
        labels.append(datapoint["labels"]["change_map"][::2, ::2].flatten() == 1)
    difference, label = torch.cat(differences), torch.cat(labels)
    scores = []
    for threshold in torch.linspace(0, 0.6, 61):
        found = difference > threshold
        scores.append(2 * int((found & label).sum()) / int(found.sum() + label.sum()))
    assert 0.1 < max(scores) < 0.5


def test_second_call_is_quick_and_writes_nothing(tmp_path: Path, flat_scenes: None) -> None:
    root = tmp_path / "demo"
    assert write_demo(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert not write_demo(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_progress_counts_the_cases(tmp_path: Path, flat_scenes: None) -> None:
    steps: list[tuple[int, int]] = []
    write_demo(tmp_path / "demo", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, 12) for number in range(1, 13)]


def test_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not a demo data set.*Move it away"):
        write_demo(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_demo_of_another_seed_is_not_passed_off_as_this_one(tmp_path: Path, flat_scenes: None) -> None:
    write_demo(tmp_path / "demo", seed=1)
    with pytest.raises(DataError, match=r"'seed': 1.*seed 2"):
        write_demo(tmp_path / "demo", seed=2)


def test_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat_scenes: None
) -> None:
    real = write.write_bytes

    def full_disk(path: Path, data: bytes) -> None:
        if "Tiszadob" in str(path):
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(write, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_demo(tmp_path / "demo")
    assert [path.name for path in tmp_path.iterdir()] == [".demo.lock"]


@pytest.fixture
def generating(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A generator process that has written its first case."""
    process = subprocess.Popen(command(tmp_path / "demo"), cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".demo.*.tmp/Szada/1/gt.bmp")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_sigkill_leaves_no_half_data_set_and_the_next_call_cleans_up(
    generating: subprocess.Popen[bytes], tmp_path: Path, flat_scenes: None
) -> None:
    generating.send_signal(signal.SIGKILL)
    generating.wait(10)
    assert not (tmp_path / "demo").exists()
    assert write_demo(tmp_path / "demo")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".demo.lock", "demo"]
    assert len(AirChangeDataset(tmp_path / "demo", "test")) == 12


def test_concurrent_callers_build_once_and_both_find_it_whole(tmp_path: Path) -> None:
    code = (
        "import sys, time, numpy, pathlib\n"
        "from pylon.data.change_detection.demo import write, Scene\n"
        "def draw(width, height, generator):\n"
        "    time.sleep(0.02)\n"
        "    image = numpy.zeros((height, width, 3), numpy.uint8)\n"
        "    return Scene(image, image, image[..., 0])\n"
        "write.draw_scene = draw\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "written = write.write_demo(root)\n"
        "assert len(list(root.rglob('*.*'))) == 37\n"
        "print(written)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "demo")],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(answers) == ["False", "False", "True"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".demo.lock", "demo"]


def test_command_line_says_what_it_found(demo_root: Path) -> None:
    done = subprocess.run(
        command(demo_root, "--seed", "5"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "is there already" in done.stderr
    assert json.loads((demo_root / "demo.json").read_text())["seed"] == 5


def test_command_line_refuses_a_foreign_folder_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "Move it away" in done.stderr
    assert "Traceback" not in done.stderr
