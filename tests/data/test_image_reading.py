"""Images of every mode that people have: read without loss, or refused with file, mode and fix."""

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pylon.data import DatasetDamagedError
from pylon.data.image_reading import image_size, read_colours, read_stored

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREYS = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
ALPHA = np.where(GREYS > 127, 255, 0).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".webp"])
def test_colours_are_what_was_written(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(COLOURS), **options)
    assert (read_colours(path) == COLOURS).all()
    assert image_size(path) == (9, 6)


def test_grey_palette_and_one_bit_become_their_colours(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", Image.fromarray(GREYS))
    assert (read_colours(grey) == GREYS[..., None]).all()
    exact = Image.fromarray(COLOURS).quantize(54)
    palette = saved(tmp_path / "palette.png", exact)
    assert (read_colours(palette) == np.array(exact.convert("RGB"))).all()
    bits = saved(tmp_path / "bits.png", Image.fromarray(GREYS > 127))
    assert (read_colours(bits)[..., 1] == np.where(GREYS > 127, 255, 0)).all()


def test_alpha_that_is_the_same_everywhere_is_left_out(tmp_path: Path) -> None:
    opaque = np.dstack([COLOURS, np.full_like(GREYS, 255)])
    assert (read_colours(saved(tmp_path / "a.png", Image.fromarray(opaque, "RGBA"))) == COLOURS).all()


def write_png(path: Path, rows: list[bytes], depth: int, colour_type: int) -> None:
    """A PNG 9 pixels wide of rows in its own bit depth: Pillow writes few of them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", 9, len(rows), depth, colour_type, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def deep_colours(path: Path) -> None:
    write_png(path, [(row.astype(">u2") * 257).tobytes() for row in COLOURS], depth=16, colour_type=2)


def deep_grey(path: Path) -> None:
    Image.fromarray(GREYS.astype(np.uint16) * 16).save(path)


def varying_alpha(path: Path) -> None:
    Image.fromarray(np.dstack([COLOURS, ALPHA]), "RGBA").save(path)


def transparent_colour(path: Path) -> None:
    Image.fromarray(COLOURS).save(path, transparency=tuple(COLOURS[0, 0].tolist()))


def cmyk(path: Path) -> None:
    Image.fromarray(COLOURS).convert("CMYK").save(path)


def floating_point(path: Path) -> None:
    Image.fromarray(GREYS.astype(np.float32)).save(path)


def four_bands(path: Path) -> None:
    """A TIFF of red, green, blue and near infrared: its fourth band is no alpha (ExtraSamples 0)."""
    Image.fromarray(np.dstack([COLOURS, GREYS]), "RGBA").save(path)
    entry = struct.pack("<HHI", 338, 3, 1)
    content = path.read_bytes()
    assert content.count(entry + b"\2\0") == 1
    path.write_bytes(content.replace(entry + b"\2\0", entry + b"\0\0"))


def frames(path: Path) -> None:
    first = Image.fromarray(COLOURS)
    first.save(path, save_all=True, append_images=[Image.fromarray(255 - COLOURS)])


REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "16-bit grey": ("a.png", deep_grey, "mode I;16"),
    "16-bit colours": ("a.png", deep_colours, "mode RGB .*8 bits per band, it has 16"),
    "varying alpha": ("a.png", varying_alpha, "mode RGBA .*alpha is 0 to 255"),
    "transparent colour": ("a.png", transparent_colour, "mode RGB .*no transparency"),
    "CMYK": ("a.jpg", cmyk, "mode CMYK"),
    "near infrared": ("a.tif", four_bands, "mode RGB .*at most 3 bands, it has 4"),
    "animation": ("a.png", frames, "mode RGB .*several frames"),
    "pages": ("a.tif", frames, "mode RGB .*several frames"),
    "floating point": ("a.tif", floating_point, "mode F"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_lose_something_is_refused_with_file_and_mode(tmp_path: Path, case: str) -> None:
    name, write, reason = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises(
        DatasetDamagedError, match=f"{name}: mode .*{reason}" if "mode" not in reason else reason
    ):
        read_colours(tmp_path / name)


def test_smaller_copies_that_a_geotiff_carries_are_no_frames(tmp_path: Path) -> None:
    whole, overview = Image.fromarray(COLOURS), Image.fromarray(COLOURS[::2, ::2])
    overview.encoderinfo = {"tiffinfo": {254: 1}}
    path = saved(tmp_path / "a.tif", whole, save_all=True, append_images=[overview])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert (read_colours(path) == COLOURS).all()


def test_camera_rotation_is_applied_to_pixels_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    assert (read_colours(path) == np.rot90(COLOURS, -1)).all()
    assert image_size(path) == (6, 9)
    assert read_stored(path).values.shape == (9, 6)


def test_file_of_another_format_does_not_choose_its_decoder(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.eps")
    path = (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(DatasetDamagedError, match=r"a.png: cannot be decoded: cannot identify"):
        read_colours(path)


def test_huge_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (13_000, 13_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DatasetDamagedError, match=r"a.png: is 13000 x 13000 pixels.*Cut it into tiles"):
            read_colours(path)


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (2, 3), (4, 15), (8, 255)])
def test_numbers_of_a_label_are_those_of_the_file(tmp_path: Path, bits: int, white: int) -> None:
    numbers = (GREYS.astype(int) % (white + 1)).astype(np.uint8)
    path = tmp_path / "a.png"
    rows = [packed(row, bits) for row in numbers]
    write_png(path, rows, bits, colour_type=0)
    stored = read_stored(path)
    assert stored.white == white
    assert (stored.values == numbers).all()


def packed(row: np.ndarray, bits: int) -> bytes:
    """The numbers of a row, the first one in the highest bits."""
    text = "".join(f"{number:0{bits}b}" for number in row.tolist())
    text += "0" * (-len(text) % 8)
    return bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))


def test_palette_label_has_indices_and_colours(tmp_path: Path) -> None:
    numbers = (GREYS % 3).astype(np.uint8)
    image = Image.fromarray(numbers, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    stored = read_stored(saved(tmp_path / "a.png", image))
    assert stored.has_palette
    assert (stored.values == numbers).all()
    assert stored.colours is not None
    assert (stored.colours[numbers == 1] == (128, 0, 0)).all()
    assert not stored.is_grey
