"""Decode image files without losing anything, or refuse them with file, mode and fix.

Pillow converts nearly every mode to nearly every other and does not warn: 16-bit values are clipped to 255,
alpha is dropped, of five bands three are kept. Only what keeps every value is read here.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pylon.data.errors import DatasetDamagedError

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.integer]
Size = tuple[int, int]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Names that end so, in upper or lower case, are image files."""

# A file's content chooses its decoder, whatever its name is: without this list an EPS file named .png would
# start Ghostscript.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
# The size from which Pillow warns of decompression bombs: https://pillow.readthedocs.io, Image.open.
_MOST_PIXELS = 89_478_485
_DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_ORIENTATION = 0x0112
_TURNED_BY_90_DEGREES = (5, 6, 7, 8)
# TIFF tags, TIFF 6.0: SamplesPerPixel, and NewSubfileType with its bit for a smaller copy of another page.
_SAMPLES_PER_PIXEL, _NEW_SUBFILE_TYPE, _REDUCED = 277, 254, 1
# Pillow's words for greys of fewer bits, which it spreads over 0 to 255.
_BITS_OF = {"L;2": 2, "L;4": 4}
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I"})
_READABLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


def image_size(path: Path) -> Size:
    """(width, height) in pixels as they are read, from the first bytes of the file.

    Raises:
        DatasetDamagedError: it is no image that can be read, or has more than 89 million pixels.
    """
    with _opened(path) as image:
        return _turned_size(image)


def read_colours(path: Path) -> Pixels:
    """(H, W, 3) uint8 of an 8-bit image: grey, colour or palette; turned as its EXIF orientation says.

    Raises:
        DatasetDamagedError: it cannot be decoded, or reading it as colours would lose something: values of
            more than 8 bits, transparency, more than three bands, CMYK, several frames.
    """
    with _opened(path) as image:
        _require_depth_and_bands(path, image)
        if image.mode not in _READABLE:
            raise _unusable(path, image, "expected 8-bit grey, colour or palette")
        return np.array(_turned_without_alpha(path, image).convert("RGB"))


@dataclass(frozen=True)
class StoredPixels:
    """What a label file stores, before anybody says what it means.

    Attributes:
        values: (H, W) integers: grey values as the file stores them (0 and 1 of a 1-bit file, 0 to 15 of a
            4-bit one), the indices of a palette image, the first band of a colour image.
        white: the value that is white, 255 for palettes and colours.
        colours: (H, W, 3) uint8 of a palette or colour image; None for grey ones.
        has_palette: `values` are indices.
    """

    values: Values
    white: int
    colours: Pixels | None = None
    has_palette: bool = False

    @property
    def is_grey(self) -> bool:
        """Whether no pixel has a colour."""
        colours = self.colours
        return colours is None or bool((colours == colours[..., :1]).all())


def read_stored(path: Path) -> StoredPixels:
    """The numbers, and the colours if it has any, that a label file stores.

    Raises:
        DatasetDamagedError: as for `read_colours`; 16-bit grey values are read.
    """
    with _opened(path) as image:
        _require_depth_and_bands(path, image)
        bits = _BITS_OF.get(_rawmode(image), 8)
        if image.mode in _DEEP_GREY:
            deep = np.array(ImageOps.exif_transpose(image))
            return StoredPixels(deep.astype(np.int64), white=65535)
        if image.mode not in _READABLE:
            raise _unusable(path, image, "expected grey values, colours or a palette")
        decoded = _turned_without_alpha(path, image)
    if decoded.mode == "1":
        return StoredPixels(np.array(decoded).astype(np.uint8), white=1)
    if decoded.mode == "L":
        white = 2**bits - 1
        return StoredPixels(np.array(decoded) // (255 // white), white)
    colours: Pixels = np.array(decoded.convert("RGB"))
    if decoded.mode == "P":
        return StoredPixels(np.array(decoded), 255, colours, has_palette=True)
    return StoredPixels(colours[..., 0], 255, colours)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with its header read; what the decoder raises inside the block names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DatasetDamagedError(
                    f"{path}: is {image.width} x {image.height} pixels, expected at most {_MOST_PIXELS}. "
                    "Cut it into tiles."
                )
            yield image
    except _DECODER_ERRORS as error:
        raise DatasetDamagedError(f"{path}: cannot be decoded: {error}. Copy the file again.") from error


def _turned_size(image: Image.Image) -> Size:
    # Pillow decodes a whole PNG to see whether EXIF follows its pixels.
    at_hand = image.format != "PNG" or not image.info.keys().isdisjoint({"exif", "XML:com.adobe.xmp", "xmp"})
    turned = at_hand and image.getexif().get(_ORIENTATION) in _TURNED_BY_90_DEGREES
    return (image.height, image.width) if turned else (image.width, image.height)


def _require_depth_and_bands(path: Path, image: Image.Image) -> None:
    """Refuse what Pillow reduces while it decodes; must be called before that."""
    if _rawmode(image).startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")):
        raise _unusable(path, image, "expected 8 bits per band, it has 16", "Scale it to 8 bits.")
    samples = getattr(image, "tag_v2", {}).get(_SAMPLES_PER_PIXEL)
    if samples is not None and samples > len(image.getbands()):
        raise _unusable(path, image, f"expected at most 3 bands, it has {samples}", "Keep three of them.")
    if _frames(image) > 1:
        raise _unusable(path, image, "expected one image, it has several frames", "Save one of them.")


def _rawmode(image: Image.Image) -> str:
    """How the file stores its pixels, in Pillow's words; '' if Pillow does not say."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else ""
    return arguments if isinstance(arguments, str) else ""


def _frames(image: Image.Image) -> int:
    """How many images the file has; the smaller copies of a page that GeoTIFFs carry do not count."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or not hasattr(image, "tag_v2"):
        return count
    pages = 0
    for number in range(count):
        image.seek(number)
        pages += not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED
    image.seek(0)
    return pages


def _turned_without_alpha(path: Path, image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation turns it, without an alpha channel that is the same everywhere.

    Raises:
        DatasetDamagedError: alpha differs between pixels: it may be the mask, or say which pixels count.
    """
    upright = ImageOps.exif_transpose(image)
    if "transparency" not in upright.info and upright.mode not in {"LA", "PA", "RGBA"}:
        return upright
    low, high = upright.convert("RGBA").getchannel("A").getextrema()
    if low != high:
        raise _unusable(
            path, image, f"expected no transparency, its alpha is {low} to {high}", "Save it without alpha."
        )
    if upright.mode == "PA":
        return upright.convert("RGB")
    if upright.mode in {"LA", "RGBA"}:
        return upright.convert(upright.mode.removesuffix("A"))
    upright.info.pop("transparency")
    return upright


def _unusable(path: Path, image: Image.Image, reason: str, fix: str = "Convert it.") -> DatasetDamagedError:
    return DatasetDamagedError(f"{path}: mode {image.mode} ({image.format or 'image'}): {reason}. {fix}")
