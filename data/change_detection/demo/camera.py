"""How a camera sees a made-up scene at one date: light, haze, focus, noise, and where it pointed."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

_MARGIN = 6
_LARGEST_SHIFT_PIXELS = 1.5
_LARGEST_TURN_RADIANS = 0.0015


def photograph(
    picture: npt.NDArray[np.float32], generator: np.random.Generator, *, displaced: bool
) -> npt.NDArray[np.uint8]:
    """The picture as taken at one date.

    Args:
        picture: (H, W, 3) in 0..255.
        generator: what light, colours, noise and displacement are drawn from.
        displaced: shift by up to 1.5 pixels and turn by up to 0.0015 (0.7 pixels at the side of 952).

    Returns:
        (H, W, 3), uint8.
    """
    lit = _lit(picture, generator)
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    if displaced:
        image = _displaced(image, generator)
    image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.4, 0.7))))
    noise = generator.normal(0, 1, (*picture.shape[:2], 1)) * 3 + generator.normal(0, 2, picture.shape)
    taken: npt.NDArray[np.uint8] = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    return taken


def _lit(picture: npt.NDArray[np.float32], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Exposure, a fall of light across the image, saturation, a tint and haze."""
    height, width, _ = picture.shape
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = generator.normal(0, 0.05, 2)
    light = generator.uniform(0.88, 1.14) + slope[0] * rows + slope[1] * columns
    grey = picture.mean(axis=-1, keepdims=True)
    coloured = grey + (picture - grey) * generator.uniform(0.75, 1.2)
    lit: npt.NDArray[np.float32] = coloured * light[..., None] * generator.normal(1, 0.035, 3)
    return lit + np.float32(generator.uniform(0, 14))


def _displaced(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Shifted and turned about the middle; what comes in at the sides continues the edge."""
    shift_x, shift_y = generator.uniform(-_LARGEST_SHIFT_PIXELS, _LARGEST_SHIFT_PIXELS, 2)
    turn = generator.uniform(-_LARGEST_TURN_RADIANS, _LARGEST_TURN_RADIANS)
    # Pillow fills what a displacement uncovers with black; a wider copy of the edge comes in instead.
    padding = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(image), padding, mode="edge"))
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    middle_x, middle_y = image.width / 2, image.height / 2
    offset_x = middle_x - cosine * middle_x + sine * middle_y + float(shift_x) + _MARGIN
    offset_y = middle_y - sine * middle_x - cosine * middle_y + float(shift_y) + _MARGIN
    matrix = (cosine, -sine, offset_x, sine, cosine, offset_y)
    return padded.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
