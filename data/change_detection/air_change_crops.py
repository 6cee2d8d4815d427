"""Where AirChange's test area is, and which training crops stay out of it.

0                     784    952
┌──────────────────────┬──────┐ 0       test:  the top-left 784 x 448 of every image
│         test         │  L   │         train: crops from the L-shaped rest
├──────────────────────┼──────┤ 448     val:   the corner block, when it is held out
│           L          │corner│
└──────────────────────┴──────┘ 640
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pylon.data.seeding import datapoint_seed

IMAGE_WIDTH, IMAGE_HEIGHT = 952, 640
TEST_WIDTH, TEST_HEIGHT = 784, 448


@dataclass(frozen=True)
class Window:
    """A rectangle of one case: top, left, height and width in pixels."""

    case: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class OriginRegion:
    """Top-left corners that a crop may have: a rectangle of them."""

    tops: range
    lefts: range

    @property
    def count(self) -> int:
        """Number of corners."""
        return len(self.tops) * len(self.lefts)

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Corner (top, left) `number`, row by row."""
        return self.tops[number // len(self.lefts)], self.lefts[number % len(self.lefts)]


def published_test_window(case: int) -> Window:
    """The published test area."""
    return Window(case, 0, 0, TEST_HEIGHT, TEST_WIDTH)


def corner_window(case: int) -> Window:
    """The bottom-right block, 192 x 168 pixels (height x width), both multiples of 8."""
    return Window(case, TEST_HEIGHT, TEST_WIDTH, IMAGE_HEIGHT - TEST_HEIGHT, IMAGE_WIDTH - TEST_WIDTH)


def crop_origins(crop_size: int, *, holdout_corner: bool) -> list[OriginRegion]:
    """Every place of a training crop: in the image, off the test area, and off the corner if it is held out.

    Without hold-out and for crops of 112 pixels the places are the 92,288 of the published use,
    which leaves out the last row and the last column that would fit.

    Raises:
        ValueError: a crop of this size fits nowhere.
    """
    # An empty range where a crop is too large for the strip.
    right = range(TEST_WIDTH, IMAGE_WIDTH - crop_size)
    bottom = range(TEST_HEIGHT, IMAGE_HEIGHT - crop_size)
    if holdout_corner:
        above_corner, left_of_corner = range(TEST_HEIGHT - crop_size + 1), range(TEST_WIDTH - crop_size + 1)
        regions = [OriginRegion(above_corner, right), OriginRegion(bottom, left_of_corner)]
    else:
        left_part = range(min(TEST_WIDTH, IMAGE_WIDTH - crop_size))
        regions = [OriginRegion(range(IMAGE_HEIGHT - crop_size), right), OriginRegion(bottom, left_part)]
    regions = [region for region in regions if region.count]
    if crop_size < 1 or not regions:
        limit = IMAGE_HEIGHT - TEST_HEIGHT - 1
        raise ValueError(
            f"crop_size: {crop_size}, expected 1 to {limit}: the L has no room for larger crops."
        )
    return regions


def draw_crops(
    case: int, count: int, crop_size: int, crop_seed: int, regions: Sequence[OriginRegion]
) -> list[Window]:
    """`count` training crops of one case, drawn uniformly and with replacement.

    Each is drawn from a hash of the seed and its number, so it is the same whatever version of
    torch or NumPy is installed. The remainder of a 63-bit number is uniform to one part in 10**13.
    """
    total = sum(region.count for region in regions)
    case_seed = datapoint_seed(crop_seed, case)
    origins = [_origin(regions, datapoint_seed(case_seed, number) % total) for number in range(count)]
    return [Window(case, top, left, crop_size, crop_size) for top, left in origins]


def _origin(regions: Sequence[OriginRegion], number: int) -> tuple[int, int]:
    for region in regions:
        if number < region.count:
            return region[number]
        number -= region.count
    raise IndexError(f"origin {number} lies beyond all regions")
