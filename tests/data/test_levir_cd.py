import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pylon.data import DataLoader, DatasetDamagedError, DatasetNotFoundError, SharedImageCache
from pylon.data.change_detection import LEVIRCDDataset


def write_pairs(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        generator = np.random.default_rng(number)
        for part in ("A", "B"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / name)
        (folder / "label").mkdir(exist_ok=True)
        label = (generator.random((16, 24)) < 0.2).astype(np.uint8) * 255
        Image.fromarray(label).save(folder / "label" / name)


def names(dataset: LEVIRCDDataset) -> list[str]:
    return [datapoint["meta_info"]["name"] for datapoint in dataset]


def test_layout_with_a_folder_per_split(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train", "b.png", "a.png")
    write_pairs(tmp_path / "test", "c.png")
    assert names(LEVIRCDDataset(tmp_path, "train")) == ["a.png", "b.png"]
    assert names(LEVIRCDDataset(tmp_path, "test")) == ["c.png"]


def test_layout_with_lists_keeps_their_order(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_text("c.png\na.png\n\n")
    (tmp_path / "list/val.txt").write_text("d\r\n")
    assert names(LEVIRCDDataset(tmp_path, "train")) == ["c.png", "a.png"]
    assert names(LEVIRCDDataset(tmp_path, "val")) == ["d.png"]


def test_flat_layout_is_divided_by_indices(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png", "b.png", "c.png")
    assert names(LEVIRCDDataset(tmp_path, "all", indices=[2, 0])) == ["c.png", "a.png"]


def test_images_and_label_are_what_the_files_hold(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    for cache in (None, SharedImageCache(10**6)):
        datapoint = LEVIRCDDataset(tmp_path, "all", cache=cache)[0]
        for name, part in (("img_1", "A"), ("img_2", "B")):
            pixels = np.asarray(Image.open(tmp_path / part / "a.png"))
            assert (datapoint["inputs"][name].permute(1, 2, 0).mul(255).round().numpy() == pixels).all()
        label = np.asarray(Image.open(tmp_path / "label/a.png"))
        assert (datapoint["labels"]["change_map"].numpy() == label // 255).all()


def test_missing_data_set_gets_one_message_with_all_that_helps(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        LEVIRCDDataset(tmp_path / "levir_cd", "val")
    for part in (
        str(tmp_path / "levir_cd"),
        "val/A",
        "list/val.txt",
        "Remote Sensing 12(10):1662",
        "academic use",
    ):
        assert part in str(caught.value)
    assert "make run" in str(caught.value)


def test_split_without_folder_and_list_is_told_as_missing(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    with pytest.raises(DatasetNotFoundError, match="split 'train' was looked for"):
        LEVIRCDDataset(tmp_path, "train")


@pytest.mark.parametrize("part", ["A", "B", "label"])
def test_pair_that_lacks_a_part_is_named(part: str, tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png", "b.png")
    (tmp_path / part / "b.png").unlink()
    with pytest.raises(DatasetDamagedError, match=f"1 files of split 'all' are missing: {part}/b.png"):
        LEVIRCDDataset(tmp_path, "all")


def test_listed_pair_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_text("a.png\nz.png\n")
    with pytest.raises(DatasetDamagedError, match=r"A/z.png, B/z.png, label/z.png"):
        LEVIRCDDataset(tmp_path, "train")


def test_pair_listed_twice_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_text("a.png\na\n")
    with pytest.raises(DatasetDamagedError, match=r"train.txt: names a more than once"):
        LEVIRCDDataset(tmp_path, "train")


def test_hidden_files_are_no_datapoints_and_suffixes_have_any_case(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.PNG", "b.png")
    for part in ("A", "B", "label"):
        (tmp_path / part / "._b.png").write_bytes(b"\x00\x05\x16\x07Mac OS X")
        (tmp_path / part / "Thumbs.db").write_bytes(b"x")
    assert names(LEVIRCDDataset(tmp_path, "all")) == ["a.PNG", "b.png"]


def test_photos_may_have_another_suffix_than_their_labels(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    for part in ("A", "B"):
        Image.open(tmp_path / part / "a.png").save(tmp_path / part / "a.jpg", quality=90)
        (tmp_path / part / "a.png").unlink()
    datapoint = LEVIRCDDataset(tmp_path, "all")[0]
    assert [Path(file).name for file in datapoint["meta_info"]["files"]] == ["a.jpg", "a.jpg", "a.png"]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png", "a.bmp")
    with pytest.raises(DatasetDamagedError, match=r"A: has a.bmp and a.png, expected one image of each name"):
        LEVIRCDDataset(tmp_path, "all")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_as_any_system_writes_them(tmp_path: Path, encoding: str, end: str) -> None:
    write_pairs(tmp_path, "\u00e4.png", "b.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_bytes(f"b.PNG{end}\u00e4{end}".encode(encoding))
    assert names(LEVIRCDDataset(tmp_path, "train")) == ["b.png", "\u00e4.png"]


def test_list_in_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_bytes("\u00e4.png".encode("latin-1"))
    with pytest.raises(DatasetDamagedError, match=r"train.txt: byte 0 is not utf-8"):
        LEVIRCDDataset(tmp_path, "train")


def test_sizes_are_compared_before_anything_is_decoded(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    path = tmp_path / "B/a.png"
    Image.new("RGB", (3000, 3000)).save(path)
    path.write_bytes(path.read_bytes()[:200])  # its pixels are cut off: decoding it would fail
    with pytest.raises(DatasetDamagedError, match=r"B/a.png: is 3000 x 3000 .*expected 24 x 16"):
        LEVIRCDDataset(tmp_path, "all")[0]


def test_truncated_image_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    path = tmp_path / "B/a.png"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DatasetDamagedError, match=r"B/a.png: cannot be decoded"):
        LEVIRCDDataset(tmp_path, "all")[0]


def test_images_of_different_sizes_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a.png")
    Image.new("L", (24, 17)).save(tmp_path / "label/a.png")
    with pytest.raises(DatasetDamagedError, match=r"label/a.png: is 24 x 17 .*expected 24 x 16"):
        LEVIRCDDataset(tmp_path, "all")[0]


def test_real_pairs_are_read_as_their_source_describes_them(real_pairs: Path) -> None:
    dataset = LEVIRCDDataset(real_pairs, "all")
    assert len(dataset) == 11
    shares = {}
    for datapoint in dataset:
        label = datapoint["labels"]["change_map"]
        assert datapoint["inputs"]["img_1"].shape == datapoint["inputs"]["img_2"].shape == (3, 256, 256)
        assert set(label.unique().tolist()) <= {0, 1}
        shares[datapoint["meta_info"]["name"]] = 100 * label.float().mean().item()
    assert shares["train_386_0512_0768.png"] == 0
    assert max(shares.values()) == pytest.approx(25.18, abs=0.01)
    assert sum(shares.values()) / 11 == pytest.approx(15.39, abs=0.01)


def test_real_pairs_load_in_workers_and_both_dates_differ(real_pairs: Path) -> None:
    loader = DataLoader(LEVIRCDDataset(real_pairs, "all", indices=[0, 3, 7]), batch_size=2, num_workers=1)
    batches = list(loader)
    assert [len(batch["meta_info"]["name"]) for batch in batches] == [2, 1]
    assert not any(torch.equal(*batch["inputs"].values()) for batch in batches)


def test_real_pairs_in_the_layout_with_splits(real_pairs: Path, tmp_path: Path) -> None:
    for path in real_pairs.rglob("*.png"):
        split = path.name.partition("_")[0]
        target = tmp_path / split / path.relative_to(real_pairs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert {split: len(LEVIRCDDataset(tmp_path, split)) for split in ("train", "val", "test")} == {
        "train": 3,
        "val": 1,
        "test": 7,
    }
