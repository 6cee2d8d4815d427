import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pylon.data import DataLoader, DatasetDamagedError, DatasetNotFoundError, SharedImageCache
from pylon.data.change_detection import AirChangeDataset
from pylon.data.change_detection.air_change_crops import corner_window, crop_origins, draw_crops
from pylon.data.change_detection.air_change_files import CASES
from tests.data.samples import mask, place_of

Replace = Callable[[Path, bytes], None]


def test_crops_have_exactly_the_published_origins() -> None:
    published = (
        {(y, x) for x in range(784, 840) for y in range(448)}
        | {(y, x) for x in range(784) for y in range(448, 528)}
        | {(y, x) for x in range(784, 840) for y in range(448, 528)}
    )
    origins = [
        region[number] for region in crop_origins(112, holdout_corner=False) for number in range(region.count)
    ]
    assert len(origins) == len(set(origins)) == 92_288
    assert set(origins) == published


@given(crop_size=st.integers(1, 191), holdout_corner=st.booleans())
def test_no_crop_of_any_size_touches_the_test_area_or_the_held_out_corner(
    crop_size: int, holdout_corner: bool
) -> None:
    for region in crop_origins(crop_size, holdout_corner=holdout_corner):
        for top in (region.tops[0], region.tops[-1]):
            for left in (region.lefts[0], region.lefts[-1]):
                assert top + crop_size <= 640
                assert left + crop_size <= 952
                assert top >= 448 or left >= 784
                if holdout_corner:
                    assert top + crop_size <= 448 or left + crop_size <= 784


@pytest.mark.parametrize("crop_size", [0, -3, 192, 640])
def test_crop_that_fits_nowhere_is_refused(crop_size: int, air_change_root: Path) -> None:
    with pytest.raises(ValueError, match=f"crop_size: {crop_size}, expected 1 to 191"):
        AirChangeDataset(air_change_root, "train", crop_size=crop_size)


@pytest.mark.slow
@pytest.mark.parametrize("holdout_corner", [False, True])
def test_pixels_of_crops_come_from_outside_the_test_area(holdout_corner: bool, air_change_root: Path) -> None:
    dataset = AirChangeDataset(
        air_change_root,
        "train",
        crops_per_image=40,
        holdout_corner=holdout_corner,
        cache=SharedImageCache(2**26),
    )
    for datapoint in dataset:
        image, label = datapoint["inputs"]["img_1"], datapoint["labels"]["change_map"]
        rows, columns, case = place_of(image)
        assert image.shape == (3, 112, 112)
        assert label.shape == (112, 112)
        assert not ((rows < 448) & (columns < 784)).any()
        if holdout_corner:
            assert not ((rows >= 448) & (columns >= 784)).any()
        assert datapoint["meta_info"]["case"] == CASES[int(case[0, 0])]
        assert datapoint["meta_info"]["origin_yx"] == (int(rows[0, 0]), int(columns[0, 0]))


def test_published_number_of_crops_is_the_default(air_change_root: Path) -> None:
    dataset = AirChangeDataset(air_change_root, "train")
    assert len(dataset) == 3744
    assert [dataset[index]["meta_info"]["case"] for index in (0, 311, 312, 3743)] == [
        "Szada/1",
        "Szada/1",
        "Szada/2",
        "Tiszadob/5",
    ]


@pytest.mark.slow
def test_test_split_is_the_top_left_of_every_image(air_change_root: Path) -> None:
    dataset = AirChangeDataset(air_change_root, "test")
    assert [datapoint["meta_info"]["case"] for datapoint in dataset] == list(CASES)
    for datapoint in dataset:
        rows, columns, _ = place_of(datapoint["inputs"]["img_1"])
        assert rows.shape == (448, 784)
        assert torch.equal(rows[:, 0], torch.arange(448))
        assert torch.equal(columns[0], torch.arange(784))


def test_val_split_is_the_corner_in_multiples_of_eight(air_change_root: Path) -> None:
    dataset = AirChangeDataset(air_change_root, "val", holdout_corner=True)
    assert len(dataset) == 12
    rows, columns, _ = place_of(dataset[3]["inputs"]["img_1"])
    assert rows.shape == (192, 168)
    assert (int(rows[0, 0]), int(columns[0, 0])) == (448, 784)
    assert (int(rows[-1, -1]), int(columns[-1, -1])) == (639, 951)
    window = corner_window(0)
    assert window.height % 8 == window.width % 8 == 0


def test_val_split_without_hold_out_is_refused_with_the_key(air_change_root: Path) -> None:
    with pytest.raises(
        ValueError, match=r"holdout_corner: False, .*no validation split.*holdout_corner=True"
    ):
        AirChangeDataset(air_change_root, "val")


@pytest.mark.slow
def test_images_and_label_are_what_the_files_hold(air_change_root: Path) -> None:
    datapoint = AirChangeDataset(air_change_root, "test")[0]
    first, second = datapoint["inputs"]["img_1"], datapoint["inputs"]["img_2"]
    assert first.dtype == second.dtype == torch.float32
    assert (first.min(), first.max()) == (0, 1)
    torch.testing.assert_close(second, 1 - first)
    rows, columns, _ = place_of(first)
    assert torch.equal(datapoint["labels"]["change_map"], mask(rows, columns).long())


def test_stray_greys_go_to_the_nearer_end(air_change_root: Path) -> None:
    test = AirChangeDataset(air_change_root, "test")
    assert test[5]["meta_info"]["files"][2].endswith("Szada/6/gt.BMP")
    assert test[5]["labels"]["change_map"][3, 5] == 1  # 213
    # Tiszadob/4 has its eight below the test area, at row 500 from column 10 on.
    below = AirChangeDataset(
        air_change_root, "train", crop_size=128, crops_per_image=600, cache=SharedImageCache(2**26)
    )
    for index in range(10 * 600, 11 * 600):
        top, left = below[index]["meta_info"]["origin_yx"]
        if top <= 500 < top + 128 and left <= 10:
            found = below[index]["labels"]["change_map"][500 - top, 10 - left : 18 - left]
            assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
            return
    pytest.fail("no crop shows the eight")


def test_crops_follow_from_their_seed_alone(air_change_root: Path) -> None:
    def origins(seed: int, number: int = 312) -> list[tuple[int, int]]:
        regions = crop_origins(112, holdout_corner=True)
        return [(w.top, w.left) for case in range(12) for w in draw_crops(case, number, 112, seed, regions)]

    torch.manual_seed(1)
    first = origins(0)
    torch.manual_seed(2)
    assert origins(0) == first
    assert origins(1) != first
    # No two images have the same crops, and a shorter list is the beginning of a longer one.
    assert first[:312] != first[312:624]
    assert origins(0, 5)[:5] == first[:5]


def test_crops_cover_both_arms_in_proportion() -> None:
    regions = crop_origins(112, holdout_corner=False)
    drawn = draw_crops(0, 4000, 112, 0, regions)
    in_right_arm = sum(window.left >= 784 for window in drawn) / 4000
    assert abs(in_right_arm - 56 * 528 / 92_288) < 0.03


def test_cached_images_give_the_same_datapoints(air_change_root: Path) -> None:
    cached = AirChangeDataset(air_change_root, "test", cache=SharedImageCache(2**26))
    plain = AirChangeDataset(air_change_root, "test")
    for index in (0, 11, 0):
        assert torch.equal(cached[index]["inputs"]["img_2"], plain[index]["inputs"]["img_2"])


def test_all_twelve_triples_fit_into_52_megabytes(air_change_root: Path) -> None:
    cache = SharedImageCache(2**26)
    for _ in AirChangeDataset(air_change_root, "val", holdout_corner=True, cache=cache):
        pass
    assert len(cache) == 12
    assert cache.used_bytes < 52 * 10**6


def test_two_datasets_may_share_one_cache(
    air_change_root: Path, air_change_copy: Path, replace: Replace
) -> None:
    cache = SharedImageCache(2**26)
    other_image = (air_change_copy / "Szada/2/im1.bmp").read_bytes()
    replace(air_change_copy / "Szada/1/im1.bmp", other_image)
    one = AirChangeDataset(air_change_root, "test", cache=cache)[0]["inputs"]["img_1"]
    other = AirChangeDataset(air_change_copy, "test", cache=cache)[0]["inputs"]["img_1"]
    assert not torch.equal(one, other)


def test_batches_of_crops_load_in_workers(air_change_root: Path) -> None:
    dataset = AirChangeDataset(air_change_root, "train", crops_per_image=2, cache=SharedImageCache(2**26))
    batches = list(DataLoader(dataset, batch_size=8, shuffle=True, num_workers=1))
    assert sorted(idx for batch in batches for idx in batch["meta_info"]["idx"]) == list(range(24))


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "empty folder"])
def test_missing_data_set_gets_one_message_with_all_that_helps(made: bool, tmp_path: Path) -> None:
    root = tmp_path / "air_change"
    if made:
        root.mkdir()
    with pytest.raises(DatasetNotFoundError) as caught:
        AirChangeDataset(root, "train")
    for part in (
        str(root),
        "Szada/1 to 7",
        "im1.bmp",
        "SZTAKI AirChange Benchmark set",
        "on request",
        "TGRS 47(10)",
    ):
        assert part in str(caught.value)
    assert "ICPR 2008" in str(caught.value)
    assert "make run" in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_missing_files_are_all_named(air_change_copy: Path) -> None:
    (air_change_copy / "Szada/3/gt.bmp").unlink()
    (air_change_copy / "Tiszadob/5/im2.bmp").unlink()
    with pytest.raises(DatasetDamagedError, match=r"2 of 36 .*: Szada/3/gt.bmp, Tiszadob/5/im2.bmp\."):
        AirChangeDataset(air_change_copy, "test")


def test_extra_files_and_the_unused_thirteenth_pair_do_no_harm(air_change_copy: Path) -> None:
    (air_change_copy / "Archieve").mkdir()
    (air_change_copy / "Archieve/im1.bmp").write_bytes(b"")
    (air_change_copy / "Szada/8").mkdir()
    (air_change_copy / "Szada/1/Thumbs.db").write_bytes(b"x")
    assert len(AirChangeDataset(air_change_copy, "test")) == 12


def test_folders_in_other_case_are_found(air_change_copy: Path) -> None:
    (air_change_copy / "Szada").rename(air_change_copy / "SZADA")
    (air_change_copy / "Tiszadob/1/im1.bmp").rename(air_change_copy / "Tiszadob/1/IM1.Bmp")
    assert len(AirChangeDataset(air_change_copy, "test")) == 12


def test_folder_of_the_archive_between_root_and_places_is_found(air_change_copy: Path) -> None:
    archive = air_change_copy / "SZTAKI_AirChange_Benchmark"
    archive.mkdir()
    for place in ("Szada", "Tiszadob"):
        (air_change_copy / place).rename(archive / place)
    (air_change_copy / "readme.txt").write_text("x")
    assert len(AirChangeDataset(air_change_copy, "test")) == 12


def test_names_that_differ_in_case_alone_are_refused(air_change_copy: Path, replace: Replace) -> None:
    (air_change_copy / "Szada/1/IM1.BMP").write_bytes(b"")
    with pytest.raises(DatasetDamagedError, match=r"Szada/1: holds IM1.BMP, im1.bmp, .*Keep one"):
        AirChangeDataset(air_change_copy, "test")


def test_file_that_is_no_image_is_named_at_the_start(air_change_copy: Path, replace: Replace) -> None:
    path = air_change_copy / "Tiszadob/2/im2.bmp"
    replace(path, b"<html>404</html>")
    with pytest.raises(DatasetDamagedError, match=f"^{re.escape(str(path))}: cannot be decoded"):
        AirChangeDataset(air_change_copy, "test")


def test_truncated_file_is_named_when_it_is_read(air_change_copy: Path, replace: Replace) -> None:
    path = air_change_copy / "Szada/2/im1.bmp"
    replace(path, path.read_bytes()[:900_000])
    dataset = AirChangeDataset(air_change_copy, "test")
    with pytest.raises(
        DatasetDamagedError, match=f"^{re.escape(str(path))}: cannot be decoded.*Copy the file again"
    ):
        dataset[1]
    assert dataset[0]["meta_info"]["case"] == "Szada/1"


def test_image_of_another_size_is_named_with_both_sizes(air_change_copy: Path, replace: Replace) -> None:
    path = air_change_copy / "Szada/7/gt.bmp"
    path.unlink()
    Image.new("L", (640, 952)).save(path)
    with pytest.raises(DatasetDamagedError, match=r"Szada/7/gt.bmp: is 640 x 952 .*expected 952 x 640"):
        AirChangeDataset(air_change_copy, "test")


def test_label_on_a_scale_of_0_to_1_is_refused_rather_than_read_as_no_change(
    air_change_copy: Path, replace: Replace
) -> None:
    path = air_change_copy / "Szada/7/gt.bmp"
    path.unlink()
    Image.new("L", (952, 640), 1).save(path)
    with pytest.raises(DatasetDamagedError, match=r"Szada/7/gt.bmp: its brightest pixel is 1, expected 255"):
        AirChangeDataset(air_change_copy, "test")[6]
