"""The ground of a made-up scene: relief, strips of fields, meadows, woods."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float32]

# Colours (RGB, 0..255) of land uses; which one a field has may differ between the dates.
_FIELD_COLOURS = np.array(
    [(104, 122, 78), (92, 112, 68), (150, 142, 98), (140, 128, 98), (118, 100, 82), (126, 130, 90)],
    np.float32,
)
_MEADOW = np.array((112, 122, 84), np.float32)
_WOOD = np.array((58, 74, 52), np.float32)
_TRACK = np.array((156, 146, 122), np.float32)
_SHARE_OF_FIELDS_IN_OTHER_USE = 0.35


@dataclass(frozen=True)
class Terrain:
    """What stays between the dates.

    Attributes:
        relief: (H, W), mean 0, deviation 1; also how bright the soil is.
        fields: (H, W), the field that each pixel belongs to, from 0.
        across: (H, W), distance along the direction in which furrows follow one another, in pixels.
        uses: land use of each field at the first date.
        meadow, wood, track: (H, W), how much of each pixel is that, 0..1.
    """

    relief: Array
    fields: npt.NDArray[np.int64]
    across: Array
    uses: npt.NDArray[np.int64]
    meadow: Array
    wood: Array
    track: Array


def smooth_noise(width: int, height: int, scales: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Noise (H, W) of mean 0 and deviation 1: random grids, enlarged smoothly; finer ones are weaker.

    Args:
        width, height: in pixels.
        scales: cells of each grid per 640 pixels.
        generator: what it is drawn from.
    """
    total = np.zeros((height, width), np.float32)
    for scale in scales:
        grid = generator.normal(size=(max(2, height * scale // 640), max(2, width * scale // 640)))
        smooth = Image.fromarray(grid.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) / np.sqrt(np.float32(scale))
    normalised: Array = (total - total.mean()) / total.std()
    return normalised


def draw_terrain(width: int, height: int, generator: np.random.Generator) -> Terrain:
    """Long strips of fields between tracks, as ploughs leave them, with meadows and woods over them."""
    along, across = _directions(width, height, generator)
    edges = _edges(along, 90, 210, generator)
    block = np.searchsorted(edges, along)
    fields = np.zeros((height, width), np.int64)
    count = 0
    for number in range(len(edges) + 1):
        strips = _edges(across, 14, 62, generator)
        inside = block == number
        fields[inside] = count + np.searchsorted(strips, across[inside])
        count += len(strips) + 1
    distance = np.abs(along[..., None] - edges).min(axis=-1)
    return Terrain(
        relief=smooth_noise(width, height, (5, 13, 37, 101), generator),
        fields=fields,
        across=across,
        uses=generator.integers(len(_FIELD_COLOURS), size=count),
        meadow=_patches(width, height, 0.4, generator),
        wood=_patches(width, height, 1.25, generator),
        track=np.clip(2.2 - distance, 0, 1).astype(np.float32),
    )


def paint_terrain(
    terrain: Terrain, generator: np.random.Generator, *, first_date: bool
) -> npt.NDArray[np.float32]:
    """The ground as it looks at one date, (H, W, 3) in 0..255."""
    height, width = terrain.relief.shape
    count = len(terrain.uses)
    uses = terrain.uses
    if not first_date:
        others = generator.integers(len(_FIELD_COLOURS), size=count)
        uses = np.where(generator.random(count) < _SHARE_OF_FIELDS_IN_OTHER_USE, others, uses)
    colours = _FIELD_COLOURS[uses] + generator.normal(0, 6, (count, 3)) + generator.normal(0, 5, (count, 1))
    pitch, depth = generator.uniform(0.5, 1.6, count), generator.uniform(0, 5, count)
    furrows = depth[terrain.fields] * np.sin(terrain.across * pitch[terrain.fields])
    ground = (colours[terrain.fields] + furrows[..., None]).astype(np.float32)
    season = generator.normal(0, 6, 3).astype(np.float32)
    grain = smooth_noise(width, height, (160, 320), generator)[..., None]
    ground = _blended(ground, _MEADOW + season + 9 * grain, terrain.meadow)
    ground = _blended(ground, _TRACK, terrain.track * (1 - terrain.wood))
    ground = _blended(ground, _WOOD + season + 15 * grain, terrain.wood)
    painted: npt.NDArray[np.float32] = ground + 8 * terrain.relief[..., None] + 4 * grain
    return painted


def _directions(width: int, height: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Two distances (H, W) at right angles to one another, turned and a little bent."""
    angle = generator.uniform(0, np.pi)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = 14 * smooth_noise(width, height, (3,), generator)
    along = columns * np.cos(angle) + rows * np.sin(angle) + bend
    across = -columns * np.sin(angle) + rows * np.cos(angle) + bend
    return along.astype(np.float32), across.astype(np.float32)


def _edges(distance: Array, narrowest: float, widest: float, generator: np.random.Generator) -> Array:
    """Ascending positions that divide the range of `distance` into strips."""
    span = float(distance.max() - distance.min())
    widths = generator.uniform(narrowest, widest, int(span / narrowest) + 2)
    edges = distance.min() + np.cumsum(widths)
    inside: Array = edges[edges < distance.max()].astype(np.float32)
    return inside if len(inside) else np.array([distance.mean()], np.float32)


def _patches(width: int, height: int, threshold: float, generator: np.random.Generator) -> Array:
    """Soft-edged patches (H, W) in 0..1, at each place at which a noise is above `threshold` deviations."""
    noise = smooth_noise(width, height, (4, 9, 30), generator)
    patches: Array = np.clip((noise - threshold) * 7, 0, 1)
    return patches


def _blended(below: npt.NDArray[np.float32], above: npt.NDArray[np.float32], share: Array) -> Array:
    mixed: Array = below + share[..., None] * (above - below)
    return mixed
