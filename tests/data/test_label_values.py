"""What numbers and colours of label files mean: as the table says, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pylon.data import DatasetDamagedError
from pylon.data.change_detection import LEVIRCDDataset
from pylon.data.label_values import LabelValues, read_mask

MASK = np.zeros((32, 32), np.uint8)
MASK[8:16, 8:16] = 1


def saved(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    Image.fromarray(pixels, mode).save(path)
    return path


def coloured(*colours: tuple[int, int, int]) -> np.ndarray:
    """A label whose classes 0, 1, 2 have these colours."""
    classes = MASK.copy()
    classes[18:22, 18:22] = len(colours) - 1
    return np.array(colours, np.uint8)[classes]


@pytest.mark.parametrize(
    "pixels", [MASK * np.uint8(255), MASK > 0, MASK * np.uint16(255), MASK * np.uint16(65535)],
    ids=["8 bits", "1 bit", "16 bits to 255", "16 bits to 65535"],
)  # fmt: skip
def test_black_and_white_in_every_depth(tmp_path: Path, pixels: np.ndarray) -> None:
    assert (read_mask(saved(tmp_path / "a.png", pixels)) == MASK).all()


def test_grey_colours_are_black_and_white_too(tmp_path: Path) -> None:
    assert (read_mask(saved(tmp_path / "a.png", np.dstack([MASK * 255] * 3))) == MASK).all()


def test_label_without_any_change(tmp_path: Path) -> None:
    assert not read_mask(saved(tmp_path / "a.png", np.zeros_like(MASK))).any()


@pytest.mark.parametrize(
    ("pixels", "mode", "reason"),
    [
        (MASK, None, "its brightest pixel is 1, expected 255"),
        (coloured((0, 0, 0), (255, 0, 0), (0, 255, 0)), None, "has colours, expected black and white"),
        (MASK * np.uint8(255) + np.roll(MASK, 9) * np.uint8(128), None, "pixels are neither black nor white"),
        (np.dstack([np.full((32, 32, 3), 255, np.uint8), MASK * 255]), "RGBA", "alpha is 0 to 255"),
        (np.dstack([np.full((32, 32), 255, np.uint8), MASK * 255]), "LA", "alpha is 0 to 255"),
    ],
    ids=["0 and 1", "colours", "three greys", "mask in alpha", "mask in alpha of grey"],
)
def test_other_labels_are_refused_with_their_file(
    tmp_path: Path, pixels: np.ndarray, mode: str | None, reason: str
) -> None:
    with pytest.raises(DatasetDamagedError, match=rf"a\.png: .*{reason}"):
        read_mask(saved(tmp_path / "a.png", pixels, mode))


def test_table_of_numbers(tmp_path: Path) -> None:
    table = LabelValues({"0": 0, "1": 1, "7": 255}, names=2)
    numbers = MASK.copy()
    numbers[20:, :] = 7
    classes = table.read(saved(tmp_path / "a.png", numbers))
    assert set(np.unique(classes)) == {0, 1, 255}
    assert (classes[20:] == 255).all()


def test_table_of_colours(tmp_path: Path) -> None:
    table = LabelValues({"#000000": 0, "#FF0000": 1, "#00ff00": 1}, names=2)
    pixels = coloured((0, 0, 0), (255, 0, 0), (0, 255, 0))
    assert table.read(saved(tmp_path / "a.png", pixels)).sum() == 64 + 16


def test_numbers_of_a_palette_image_are_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(MASK, "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "a.png")
    assert (LabelValues({"0": 0, "1": 1}, names=2).read(tmp_path / "a.png") == MASK).all()
    assert (LabelValues({"#000000": 0, "#800000": 1}, names=2).read(tmp_path / "a.png") == MASK).all()


@pytest.mark.parametrize(
    ("classes", "pixels", "reason"),
    [
        ({"0": 0}, MASK, r"1 \(64 pixels\) is not in label_values, which has 0"),
        ({"#000000": 0}, coloured((0, 0, 0), (255, 0, 0)), r"#ff0000 \(\d+ pixels\) is not in label_values"),
        ({"0": 0, "1": 1}, coloured((0, 0, 0), (255, 0, 0)), "has colours, but label_values has numbers"),
    ],
)
def test_value_that_the_table_lacks_is_named(
    tmp_path: Path, classes: dict[str, int], pixels: np.ndarray, reason: str
) -> None:
    with pytest.raises(DatasetDamagedError, match=rf"a\.png: {reason}"):
        LabelValues(classes, names=2).read(saved(tmp_path / "a.png", pixels))


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ({}, "expected at least one"),
        ({0: 0}, "key 0, expected text"),
        ({"red": 1}, "key 'red', expected text"),
        ({"0": 2}, r"label_values\['0'\]: 2, expected a class from 0 to 1"),
        ({"0": True}, "True, expected a class"),
        ({"0": 0, "#ffffff": 1}, "expected one kind"),
    ],
)
def test_table_that_means_nothing_is_refused(classes: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LabelValues(classes, names=2)


def test_more_classes_than_8_bits_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="has 256 classes, expected at most 255"):
        LabelValues({"0": 0}, names=256)
    LabelValues({"0": 254}, names=255)


def test_levir_takes_the_table(tmp_path: Path) -> None:
    for part in ("A", "B", "label"):
        (tmp_path / part).mkdir()
    for part in ("A", "B"):
        saved(tmp_path / part / "x.png", np.zeros((32, 32, 3), np.uint8))
    saved(tmp_path / "label" / "x.png", coloured((0, 0, 0), (255, 0, 0)))
    with pytest.raises(DatasetDamagedError, match="label_values="):
        LEVIRCDDataset(tmp_path, "all")[0]
    datapoint = LEVIRCDDataset(tmp_path, "all", label_values={"#000000": 0, "#ff0000": 1})[0]
    assert datapoint["labels"]["change_map"].sum() == 64 + 16
