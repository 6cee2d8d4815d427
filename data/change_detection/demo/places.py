"""Roads of a made-up scene, and the buildings along them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Polygon = tuple[Point, ...]
Colour = tuple[int, int, int]

_ROOFS: tuple[Colour, ...] = (
    (168, 98, 80),
    (150, 92, 78),
    (186, 122, 98),
    (136, 130, 126),
    (112, 108, 108),
    (184, 180, 172),
)
_STEP = 27.0
_ROWS = (17.0, 46.0)


@dataclass(frozen=True)
class Road:
    """A bent line, (x, y) in pixels, and its width."""

    points: Polygon
    width: float


@dataclass(frozen=True)
class Building:
    """A gabled house or a hall on its plot.

    Attributes:
        centre: (x, y) in pixels.
        half_length, half_width: of the footprint, the first along the ridge.
        angle: of the ridge, in radians.
        height: in pixels; it sets the length of the shadow.
        roof: RGB.
        plot: how far the plot reaches beyond the footprint, in pixels.
    """

    centre: Point
    half_length: float
    half_width: float
    angle: float
    height: float
    roof: Colour
    plot: float

    @property
    def radius(self) -> float:
        """Of a circle around the footprint, in pixels."""
        return float(np.hypot(self.half_length, self.half_width))

    def outline(self, margin: float = 0.0) -> Polygon:
        """Corners of the footprint, enlarged by `margin`; the first two are one end of the ridge's sides."""
        length, width = self.half_length + margin, self.half_width + margin
        return self._placed([(-length, -width), (length, -width), (length, width), (-length, width)])

    def roof_halves(self) -> tuple[Polygon, Polygon]:
        """The two slopes on either side of the ridge."""
        length, width = self.half_length, self.half_width
        one = self._placed([(-length, -width), (length, -width), (length, 0), (-length, 0)])
        other = self._placed([(-length, 0), (length, 0), (length, width), (-length, width)])
        return one, other

    def _placed(self, corners: Sequence[Point]) -> Polygon:
        cosine, sine = float(np.cos(self.angle)), float(np.sin(self.angle))
        x, y = self.centre
        return tuple((x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in corners)


@dataclass(frozen=True)
class Settlement:
    """What is there at both dates, at the first only, and at the second only."""

    roads: tuple[Road, ...]
    lasting: tuple[Building, ...]
    vanished: tuple[Building, ...]
    new: tuple[Building, ...]


def draw_settlement(width: int, height: int, generator: np.random.Generator) -> Settlement:
    """Roads, and as many changed buildings as make up a share of the image drawn from 2.5 to 8 %."""
    roads = _roads(width, height, generator)
    free = _along(roads, width, height, generator)
    wanted = generator.uniform(0.025, 0.08) * width * height
    vanished, free = _take(free, 0.2 * wanted, generator)
    new, free = _take(free, 0.8 * wanted, generator)
    lasting = free[: int(generator.integers(50, 90))]
    return Settlement(
        roads,
        tuple(replace(building, plot=building.plot * 0.6) for building in lasting),
        tuple(vanished),
        tuple(new),
    )


def _roads(width: int, height: int, generator: np.random.Generator) -> tuple[Road, ...]:
    main = [
        Road(_line(width, height, across=across, generator=generator), float(generator.uniform(5, 8)))
        for across in (True, False)
    ]
    side = [
        Road(_line(width, height, across=bool(generator.random() < 0.5), generator=generator), 4.0)
        for _ in range(7)
    ]
    return (*main, *side)


def _line(width: int, height: int, *, across: bool, generator: np.random.Generator) -> Polygon:
    """From the left to the right side, or from the top to the bottom."""
    length, breadth = (width, height) if across else (height, width)
    steps = np.linspace(-20, length + 20, 41)
    waves = generator.uniform(6, 30, 2), generator.uniform(0, 2 * np.pi, 2), generator.uniform(150, 420, 2)
    offsets = generator.uniform(0.12, 0.88) * breadth + generator.uniform(-0.3, 0.3) * (steps - length / 2)
    for size, phase, period in zip(*waves, strict=True):
        offsets = offsets + size * np.sin(2 * np.pi * steps / period + phase)
    pairs = zip(steps, offsets, strict=True) if across else zip(offsets, steps, strict=True)
    return tuple((float(x), float(y)) for x, y in pairs)


def _along(roads: Sequence[Road], width: int, height: int, generator: np.random.Generator) -> list[Building]:
    """Buildings that touch neither a road nor one another, in random order."""
    road_points = np.concatenate([_walked(road, 6.0)[0] for road in roads])
    sites: list[Building] = []
    for road in roads:
        points, angles = _walked(road, _STEP)
        for point, angle in zip(points, angles, strict=True):
            for row in _ROWS:
                for side in (-1, 1):
                    building = _building(point, float(angle), side * row, generator)
                    if _fits(building, width, height, road_points, sites):
                        sites.append(building)
    order = generator.permutation(len(sites))
    return [sites[number] for number in order]


def _walked(road: Road, step: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Points (N, 2) along a road at equal distances, and its direction there in radians (N,)."""
    points = np.array(road.points)
    parts = np.diff(points, axis=0)
    ends = np.concatenate([[0.0], np.cumsum(np.hypot(parts[:, 0], parts[:, 1]))])
    at = np.arange(step / 2, ends[-1], step)
    part = np.clip(np.searchsorted(ends, at) - 1, 0, len(parts) - 1)
    walked = np.stack([np.interp(at, ends, points[:, axis]) for axis in (0, 1)], axis=1)
    return walked, np.arctan2(parts[part, 1], parts[part, 0])


def _building(
    point: npt.NDArray[np.float64], angle: float, offset: float, generator: np.random.Generator
) -> Building:
    hall = generator.random() < 0.12
    half_length, half_width = generator.uniform((7, 4.5), (12, 7.5)) * (1.6 if hall else 1.0)
    offset += float(np.sign(offset) * half_width * 0.5 + generator.normal(0, 2))
    x, y = point + offset * np.array([-np.sin(angle), np.cos(angle)]) + generator.normal(0, 2, 2)
    shade = generator.normal(0, 9)
    roof = _ROOFS[-1] if hall else _ROOFS[generator.integers(len(_ROOFS))]
    red, green, blue = (int(np.clip(part + shade, 0, 255)) for part in roof)
    return Building(
        centre=(float(x), float(y)),
        half_length=float(half_length),
        half_width=float(half_width),
        angle=angle + float(generator.normal(0, 0.08)) + (np.pi / 2 if generator.random() < 0.3 else 0.0),
        height=float(generator.uniform(3.5, 8)),
        roof=(red, green, blue),
        plot=float(generator.uniform(3, 6)),
    )


def _fits(
    building: Building,
    width: int,
    height: int,
    road_points: npt.NDArray[np.float64],
    others: Sequence[Building],
) -> bool:
    x, y = building.centre
    reach = building.radius + building.plot
    if not (reach < x < width - reach and reach < y < height - reach):
        return False
    if np.hypot(*(road_points - building.centre).T).min() < building.half_width + building.plot + 4:
        return False
    return all(
        np.hypot(x - other.centre[0], y - other.centre[1]) > reach + other.radius + other.plot - 4
        for other in others
    )


def _take(
    free: list[Building], area: float, generator: np.random.Generator
) -> tuple[list[Building], list[Building]]:
    """Buildings, rather those near to a drawn place, until their plots cover `area`."""
    if not free:
        return [], []
    heart = np.array(free[generator.integers(len(free))].centre)
    # A wide scatter: a development is denser in its middle, and single houses change everywhere, so
    # that the held-out corners show changes in several images, as the real ones do.
    scores = [np.hypot(*(heart - building.centre)) + generator.exponential(1000) for building in free]
    order = np.argsort(scores)
    taken, covered = [], 0.0
    for number in order:
        if covered >= area:
            break
        building = free[number]
        taken.append(building)
        covered += 4 * (building.half_length + building.plot) * (building.half_width + building.plot)
    chosen = {id(building) for building in taken}
    return taken, [building for building in free if id(building) not in chosen]
