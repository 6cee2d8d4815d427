"""One made-up scene at two dates, and what changed between them.

Changed are buildings with their plots. What also differs, and is no change: the use of fields, the
season, the sun and its shadows, cars, the camera's colours and noise, and the registration.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pylon.data.change_detection.demo.camera import photograph
from pylon.data.change_detection.demo.places import (
    Building,
    Colour,
    Point,
    Polygon,
    Road,
    Settlement,
    draw_settlement,
)
from pylon.data.change_detection.demo.terrain import draw_terrain, paint_terrain

_FINE = 2  # objects are drawn so many times finer than the image, for smooth edges
_CARS, _TREES = 60, 260
_SOIL: tuple[Colour, ...] = ((166, 146, 116), (150, 134, 110), (178, 166, 142))
_LAWN: Colour = (108, 120, 82)
_LEAVES: Colour = (66, 86, 54)


@dataclass(frozen=True)
class Scene:
    """Both dates (H, W, 3) and the change mask (H, W), uint8; 255 is changed."""

    first: npt.NDArray[np.uint8]
    second: npt.NDArray[np.uint8]
    change: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sun:
    """Its position: the direction in which shadows fall, and their length per height."""

    direction: float
    length: float

    def shifted(self, point: Point, height: float) -> Point:
        """Where the shadow of something above `point` falls."""
        reach = height * self.length
        return point[0] + reach * float(np.cos(self.direction)), point[1] + reach * float(
            np.sin(self.direction)
        )


def draw_scene(width: int, height: int, generator: np.random.Generator) -> Scene:
    """One scene; everything in it is drawn from `generator`.

    Args:
        width, height: in pixels.
        generator: what it is drawn from.
    """
    terrain = draw_terrain(width, height, generator)
    settlement = draw_settlement(width, height, generator)
    trees = generator.uniform((0, 0, 1.5), (width, height, 4.0), (_TREES, 3))
    dates = []
    for first_date, buildings in (
        (True, settlement.lasting + settlement.vanished),
        (False, settlement.lasting + settlement.new),
    ):
        ground = paint_terrain(terrain, generator, first_date=first_date)
        picture = _furnished(ground, settlement, buildings, trees, generator)
        dates.append(photograph(picture, generator, displaced=not first_date))
    return Scene(dates[0], dates[1], _change_mask(width, height, settlement))


def _change_mask(width: int, height: int, settlement: Settlement) -> npt.NDArray[np.uint8]:
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for building in settlement.vanished + settlement.new:
        pen.polygon(building.outline(building.plot), fill=255)
    pixels: npt.NDArray[np.uint8] = np.array(mask)
    return pixels


def _furnished(
    ground: npt.NDArray[np.float32],
    settlement: Settlement,
    buildings: Sequence[Building],
    trees: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """The ground (H, W, 3) with roads, plots, cars, shadows, houses and trees on it."""
    sun = Sun(float(generator.uniform(0.1, 0.9) * np.pi), float(generator.uniform(0.7, 1.5)))
    plan, shadows, tops = (_Layer(ground.shape[1], ground.shape[0]) for _ in range(3))
    grey = int(generator.integers(112, 140))
    for road in settlement.roads:
        plan.line(road.points, road.width, (grey, grey - 1, grey - 4))
    for building in buildings:
        plan.polygon(building.outline(building.plot), _plot_colour(building, settlement, generator))
    for car, colour in _cars(settlement.roads, generator):
        plan.polygon(car, colour)
    for building in buildings:
        _draw_building(building, sun, shadows, tops)
    for x, y, radius in trees:
        middle = sun.shifted((float(x), float(y)), float(radius) * 1.6)
        shadows.disc(middle, float(radius), (0, 0, 0))
        shade = int(generator.integers(-12, 13))
        red, green, blue = (part + shade for part in _LEAVES)
        tops.disc((float(x), float(y)), float(radius), (red, green, blue))
    picture = plan.over(ground)
    return tops.over(picture * (1 - np.float32(0.5) * shadows.cover()[..., None]))


def _plot_colour(building: Building, settlement: Settlement, generator: np.random.Generator) -> Colour:
    """Bare soil where building has just been done, a garden, now and then a yard, elsewhere."""
    drawn, soil = generator.random(), _SOIL[generator.integers(len(_SOIL))]
    return soil if drawn < (0.65 if building in settlement.new else 0.2) else _LAWN


def _draw_building(building: Building, sun: Sun, shadows: "_Layer", tops: "_Layer") -> None:
    outline = building.outline()
    for part in (0.25, 0.5, 0.75, 1.0):
        shadows.polygon([sun.shifted(corner, building.height * part) for corner in outline], (0, 0, 0))
    # Shadows fall away from the sun, so the slope on their side is the darker one.
    lean = np.cos(building.angle + np.pi / 2 - sun.direction)
    for slope, share in zip(building.roof_halves(), (-lean, lean), strict=True):
        red, green, blue = (int(np.clip(part * (1 - 0.16 * share), 0, 255)) for part in building.roof)
        tops.polygon(slope, (red, green, blue))


def _cars(roads: Sequence[Road], generator: np.random.Generator) -> list[tuple[Polygon, Colour]]:
    cars = []
    for _ in range(_CARS):
        points = roads[int(generator.integers(len(roads)))].points
        start = int(generator.integers(len(points) - 1))
        (x0, y0), (x1, y1) = points[start], points[start + 1]
        part, angle = generator.random(), float(np.arctan2(y1 - y0, x1 - x0))
        centre = (x0 + part * (x1 - x0), y0 + part * (y1 - y0) + float(generator.normal(0, 1.2)))
        shade = int(generator.integers(50, 235))
        body = Building(centre, 1.7, 0.9, angle, 0, (0, 0, 0), 0)
        cars.append((body.outline(), (shade, shade, min(255, shade + int(generator.integers(0, 20))))))
    return cars


class _Layer:
    """A transparent drawing of the image's size, smooth at its edges."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGBA", (width * _FINE, height * _FINE))
        self._pen = ImageDraw.Draw(self._image)

    def polygon(self, corners: Sequence[Point], colour: Colour) -> None:
        self._pen.polygon([(x * _FINE, y * _FINE) for x, y in corners], fill=(*colour, 255))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        scaled = [(x * _FINE, y * _FINE) for x, y in points]
        self._pen.line(scaled, fill=(*colour, 255), width=round(width * _FINE), joint="curve")

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        x, y = centre
        box = [(x - radius) * _FINE, (y - radius) * _FINE, (x + radius) * _FINE, (y + radius) * _FINE]
        self._pen.ellipse(box, fill=(*colour, 255))

    def cover(self) -> npt.NDArray[np.float32]:
        """How much of each pixel is drawn on, (H, W) in 0..1."""
        return self._reduced()[..., 3] / np.float32(255)

    def over(self, below: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The drawing laid over `below`, (H, W, 3)."""
        reduced = self._reduced()
        mixed: npt.NDArray[np.float32] = below + reduced[..., 3:] / np.float32(255) * (
            reduced[..., :3] - below
        )
        return mixed

    def _reduced(self) -> npt.NDArray[np.float32]:
        return np.asarray(self._image.reduce(_FINE)).astype(np.float32)
