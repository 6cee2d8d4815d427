"""One decoded copy per machine: equal bits, whatever happens to the files, the disk and other writers."""

import errno
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.data import DataLoader, DatasetDamagedError, DecodedCopy
from pylon.data.array_file import DamagedArraysError, read_arrays, write_arrays
from pylon.data.change_detection import LEVIRCDDataset
from pylon.data.content_digest import ContentDigests
from pylon.data.decoded_folder import SUFFIX, DecodedFolder
from tests.data.test_levir_cd import write_pairs
from tests.faults.disk import refusing
from tests.other_users import NOBODY, needs_root

FORKED = multiprocessing.get_context("fork")
# On a machine with one core.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes"),
    pytest.mark.filterwarnings("ignore:.*fork.*may lead to deadlocks:DeprecationWarning"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs", "a.png", "b.png", "c.png")
    for path in (tmp_path / "pairs").rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    return tmp_path / "pairs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "decoded"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pairs that are decoded, by name."""
    found: list[str] = []
    module: Any = sys.modules["pylon.data.change_detection.levir_cd"]
    read = module.read_triple

    def noted(*files: Path, **others: Any) -> Any:
        found.append(files[0].name)
        return read(*files, **others)

    monkeypatch.setattr(module, "read_triple", noted)
    return found


def pairs(root: Path, folder: Path, **others: Any) -> LEVIRCDDataset:
    return LEVIRCDDataset(root, "all", cache=DecodedCopy(folder), **others)


def values(dataset: LEVIRCDDataset) -> list[Any]:
    return [[*one["inputs"].values(), *one["labels"].values()] for one in map(dataset.__getitem__, range(3))]


def equal(dataset: LEVIRCDDataset, root: Path, **others: Any) -> bool:
    """Whether all datapoints are those of a dataset without a copy."""
    expected = values(LEVIRCDDataset(root, "all", **others))
    both = zip(values(dataset), expected, strict=True)
    return all(all(map(torch.equal, one, other)) for one, other in both)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_later_runs_decode_nothing_and_get_the_same_bits(
    root: Path, folder: Path, decodings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    values(pairs(root, folder))
    assert decodings == ["a.png", "b.png", "c.png"]
    decodings.clear()
    later = pairs(root, folder)
    found = values(later)
    assert decodings == []
    assert equal(later, root)
    assert found[0][0].dtype == torch.float32
    assert folder.stat().st_mode & 0o777 == 0o700
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"decoded images are kept in {folder}: 0.0 GiB now, at most 20.0 GiB"


def test_environment_names_the_folder_for_every_dataset(
    root: Path, folder: Path, decodings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYLON_DECODED", str(folder))
    for _ in range(2):
        values(LEVIRCDDataset(root, "all"))
    assert len(decodings) == 3
    assert len(entries(folder)) == 3


def test_default_folder_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    values(LEVIRCDDataset(root, "all", cache=DecodedCopy()))
    assert len(entries(tmp_path / "caches/pylon/decoded")) == 3


def test_entry_is_found_by_what_the_files_hold_wherever_they_are(
    root: Path, folder: Path, decodings: list[str]
) -> None:
    values(pairs(root, folder))
    shutil.copytree(root, root.with_name("elsewhere"))
    decodings.clear()
    assert equal(pairs(root.with_name("elsewhere"), folder), root)
    assert decodings == ["a.png", "b.png", "c.png"], "of the comparison alone"


def change_with_the_same_size_and_time(path: Path) -> None:
    content, status = bytearray(path.read_bytes()), path.stat()
    path.with_name("b.png").rename(path.with_name("kept"))
    other = path.with_name("kept").read_bytes()
    # A PNG of the same length: trailing bytes after its end are ignored.
    length = max(len(content), len(other))
    path.write_bytes(other.ljust(length, b"\0")[: len(content)] if length == len(content) else other)
    path.with_name("kept").rename(path.with_name("b.png"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("in_this_run", [True, False])
def test_changed_file_is_decoded_again(root: Path, folder: Path, *, in_this_run: bool) -> None:
    dataset = pairs(root, folder)
    before = values(dataset)
    change_with_the_same_size_and_time(root / "A/a.png")
    if not in_this_run:
        dataset = pairs(root, folder)
    assert equal(dataset, root)
    assert not torch.equal(values(dataset)[0][0], before[0][0])


def test_what_else_decides_how_a_file_is_read_is_another_entry(root: Path, folder: Path) -> None:
    values(pairs(root, folder))
    turned = {"0": 1, "255": 0}
    assert equal(pairs(root, folder, label_values=turned), root, label_values=turned)
    assert len(entries(folder)) == 6


def test_code_that_decodes_in_another_way_finds_nothing(
    tmp_path: Path, root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from pylon.data.change_detection import LEVIRCDDataset\n"
        "class Halved(LEVIRCDDataset):\n"
        "    def cached_images(self, key, load, **others):\n"
        "        return super().cached_images(key, lambda: tuple(a // {} for a in load()), **others)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for number in (2, 4):
        monkeypatch.delitem(sys.modules, "halved", raising=False)
        (tmp_path / "halved.py").write_text(text.format(number))
        halved = importlib.import_module("halved").Halved(root, "all", cache=DecodedCopy(folder))
        assert float(halved[0]["inputs"]["img_1"].max()) == pytest.approx(255 // number / 255)
    monkeypatch.delitem(sys.modules, "halved")


def test_code_that_is_in_no_file_is_never_trusted(
    root: Path, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = type("InNotebook", (LEVIRCDDataset,), {"__module__": "notebook"})
    monkeypatch.setitem(sys.modules, "notebook", types.ModuleType("notebook"))
    assert equal(notebook(root, "all", cache=DecodedCopy(folder)), root)
    assert entries(folder) == []
    (line,) = warnings_in(caplog)
    assert "InNotebook is defined in no file, so a change of it would not be seen" in line


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    changed = bytearray(content)
    changed[-1] ^= 1
    path.write_bytes(
        {"empty": b"", "cut": content[:-1], "half": content[: len(content) // 2]}.get(how, changed)
    )


@pytest.mark.parametrize("how", ["empty", "cut", "half", "one bit"])
def test_damaged_entry_is_made_again(
    how: str, root: Path, folder: Path, decodings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    values(pairs(root, folder))
    whole = [path.read_bytes() for path in entries(folder)]
    damage(entries(folder)[1], how)
    decodings.clear()
    values(pairs(root, folder))
    assert len(decodings) == 1
    assert [path.read_bytes() for path in entries(folder)] == whole
    (line,) = warnings_in(caplog)
    assert line.startswith(f"a decoded copy is damaged, and made again: {entries(folder)[1]}: ")


@pytest.mark.parametrize(("error", "call"), [*((errno.ENOSPC, call) for call in range(8)), (errno.EROFS, 0)])
def test_disk_that_refuses_costs_nothing_but_the_copy(
    error: int, call: int, root: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(folder) as disk:
        disk.broken, disk.after = error, call
        found = pairs(root, folder)
        assert equal(found, root)
        assert disk.refused > 0
    (line,) = warnings_in(caplog)
    assert os.strerror(error) in line
    assert line.startswith("no further decoded images are kept, they are decoded at every access: ")
    assert [path.name for path in folder.iterdir() if path.suffix != SUFFIX or path.name[0] == "."] == []
    assert equal(pairs(root, folder), root)
    assert len(entries(folder)) == 3


def test_folder_that_cannot_be_made_costs_nothing_but_the_copy(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert equal(pairs(root, tmp_path / "file/decoded"), root)
    assert len(warnings_in(caplog)) == 1


@needs_root
@pytest.mark.parametrize("what", ["folder", "writable", "entry", "link"])
def test_what_another_user_may_have_put_there_is_not_used(
    what: str, root: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values(pairs(root, folder))
    entry = entries(folder)[0]
    arrays = read_arrays(entry, check=True)
    write_arrays(entry, tuple(array * 0 for array in arrays))
    if what == "folder":
        os.chown(folder, NOBODY, NOBODY)
    elif what == "writable":
        folder.chmod(0o777)
    elif what == "entry":
        folder.chmod(0o755)
        entry.rename(folder / "planted")
        os.chown(folder / "planted", NOBODY, NOBODY)
        entry.symlink_to("planted")
    else:
        entry.rename(folder.with_name("planted"))
        entry.symlink_to(folder.with_name("planted"))
    assert equal(pairs(root, folder), root)
    assert len(warnings_in(caplog)) == 1


def test_damaged_image_is_reported_as_without_a_copy(root: Path, folder: Path) -> None:
    dataset = pairs(root, folder)
    values(dataset)
    (root / "B/b.png").write_bytes(b"no image")
    with pytest.raises(DatasetDamagedError, match=r"B/b\.png: cannot be decoded"):
        dataset[1]
    (root / "B/b.png").unlink()
    with pytest.raises(DatasetDamagedError, match=r"B/b\.png"):
        dataset[1]


def test_files_that_change_while_they_are_decoded_are_not_kept(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = sys.modules["pylon.data.change_detection.levir_cd"]
    read = module.read_triple

    def changed_before(*files: Path, **others: Any) -> Any:
        change_with_the_same_size_and_time(root / "A/a.png")
        return read(*files, **others)

    monkeypatch.setattr(module, "read_triple", changed_before)
    pairs(root, folder)[0]
    assert entries(folder) == []


def test_full_folder_drops_what_was_not_used_for_a_day_and_nothing_else(
    root: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values(pairs(root, folder))
    first = entries(folder)
    os.utime(first[0], (0, 0))
    room = sum(path.stat().st_size for path in first) + 1500
    turned = {"0": 1, "255": 0}
    values(LEVIRCDDataset(root, "all", cache=DecodedCopy(folder, room), label_values=turned))
    left = entries(folder)
    assert set(first[1:]) < set(left)
    assert first[0] not in left
    assert len(left) == 3
    (line,) = warnings_in(caplog)
    assert "of at most 0 MiB, all used within a day" in line


def test_used_entry_is_not_the_one_that_leaves(root: Path, folder: Path) -> None:
    values(pairs(root, folder))
    for path in entries(folder):
        os.utime(path, (0, 0))
    values(pairs(root, folder))
    assert all(time.time() - path.stat().st_mtime < 60 for path in entries(folder))


def test_disk_keeps_a_gibibyte_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**30 + 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    made = DecodedFolder(folder, 2**40)
    made.provide()
    assert made.why_no_room(10) == ""
    assert made.why_no_room(11) == "the disk has 1024 MiB left, of which 1024 stay free"


def read_often(root: Path, folder: Path, ready: Any, sums: Any) -> None:
    dataset = pairs(root, folder)
    ready.wait(60)
    sums.put([float(dataset[index % 3]["inputs"]["img_1"].double().sum()) for index in range(15)])


def test_two_writers_at_once_leave_whole_entries(root: Path, folder: Path) -> None:
    ready, sums = FORKED.Barrier(2), FORKED.Queue()
    both = [FORKED.Process(target=read_often, args=(root, folder, ready, sums)) for _ in range(2)]
    for process in both:
        process.start()
    found = [sums.get(timeout=60) for _ in both]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    expected = [float(one[0].double().sum()) for one in values(LEVIRCDDataset(root, "all"))] * 5
    assert found == [expected, expected]
    assert len(list(folder.iterdir())) == len(entries(folder)) == 3


def read_until_killed(root: Path, folder: Path, place: str, left: int) -> None:
    owner: Any = os if place == "fsync" else Path
    call = getattr(owner, place)

    def counted(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)

    setattr(owner, place, counted)
    values(pairs(root, folder))


@pytest.mark.parametrize(("place", "left"), [("fsync", 1), ("fsync", 3), ("replace", 1), ("replace", 2)])
def test_kill_in_the_middle_of_a_write_leaves_nothing_that_is_used(
    place: str, left: int, root: Path, folder: Path
) -> None:
    process = FORKED.Process(target=read_until_killed, args=(root, folder, place, left))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (leftover,) = [path for path in folder.iterdir() if path.name.startswith(".")]
    assert equal(pairs(root, folder), root)
    assert leftover.exists(), "its writer may still be at work"
    os.utime(leftover, (0, 0))
    values(pairs(root, folder, label_values={"0": 1, "255": 0}))
    assert len(list(folder.iterdir())) == len(entries(folder)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_share_the_copy(context: str, root: Path, folder: Path) -> None:
    dataset = pairs(root, folder)
    loader = DataLoader(dataset, batch_size=1, num_workers=2, multiprocessing_context=context)
    first = [batch["inputs"]["img_1"] for batch in loader]
    assert len(entries(folder)) == 3
    again = [batch["inputs"]["img_1"] for batch in loader]
    loader.close()
    assert all(map(torch.equal, first, again))
    assert all(torch.equal(one[0], two[0]) for one, two in zip(first, values(dataset), strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "bool", ">f8"])
def test_arrays_of_any_numbers_come_back(dtype: str, tmp_path: Path) -> None:
    arrays = (np.arange(24).reshape(2, 3, 4).astype(dtype), np.array(3).astype(dtype))
    write_arrays(tmp_path / "x.arrays", arrays)
    found = read_arrays(tmp_path / "x.arrays", check=True)
    assert [(one.dtype, one.shape) for one in found] == [(one.dtype, one.shape) for one in arrays]
    assert all((one == other).all() for one, other in zip(found, arrays, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0, 0] = 1


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, b"pylonarr" + b"\xff" * 50, b"pylonarr\2\0\0\0\0\0\0\0{}"):
        (tmp_path / "x.arrays").write_bytes(content)
        with pytest.raises(DamagedArraysError, match=r"x\.arrays"):
            read_arrays(tmp_path / "x.arrays", check=True)


def test_digest_of_a_file_that_has_just_been_written_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests, path = ContentDigests(), tmp_path / "x"
    path.write_bytes(b"1")
    status = path.stat()
    # A file system that counts time in coarse steps.
    monkeypatch.setattr(os, "fstat", lambda _descriptor: status)
    monkeypatch.setattr(Path, "stat", lambda _path: status)
    first = digests.of(path)
    path.write_bytes(b"2")
    assert digests.of(path) != first


def test_unchanged_file_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests, path = ContentDigests(), root / "A/a.png"
    monkeypatch.setattr("pylon.data.content_digest._TICK_NS", -1)
    first = digests.of(path)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
    assert digests.of(path) == first
