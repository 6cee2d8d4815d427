"""What the numbers or colours of a label file mean: a table from them to classes, checked on every file."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pylon.data.datapoint import IGNORE_INDEX
from pylon.data.errors import DatasetDamagedError
from pylon.data.image_reading import Pixels, StoredPixels, Values, read_stored

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NUMBER = re.compile(r"\d{1,5}")
# A mask has black and white. Greys further from both than this (of 255) come from drawing or from JPEG in at
# most one pixel of so many; more of them are a class of their own.
_NEAR = 32
_ONE_OF = 10_000
_SHOWN = 8


class LabelValues:
    """Which class each number or each colour of a label file means.

    Args:
        classes: by number ('0' to '65535', as the file stores it; the index in a palette image) or by colour
            ('#rrggbb'), one kind in a table, the class; 255 is ignored by criteria and metrics.
        names: how many classes the dataset has.

    Raises:
        ValueError: a key or a class is not of these forms.
    """

    def __init__(self, classes: Mapping[str, int], names: int) -> None:
        if not classes:
            raise ValueError("label_values: {}, expected at least one number or colour.")
        if names > IGNORE_INDEX:
            raise ValueError(
                f"label_values: the dataset has {names} classes, expected at most {IGNORE_INDEX}: they are "
                f"read as 8 bits, of which {IGNORE_INDEX} is ignored."
            )
        allowed = {*range(names), IGNORE_INDEX}
        for key, value in classes.items():
            if not isinstance(key, str) or not (_COLOUR.fullmatch(key) or _NUMBER.fullmatch(key)):
                raise ValueError(f"label_values: key {key!r}, expected text: a number as '7' or '#rrggbb'.")
            if isinstance(value, bool) or value not in allowed:
                raise ValueError(
                    f"label_values[{key!r}]: {value!r}, expected a class from 0 to {names - 1}, or "
                    f"{IGNORE_INDEX} for pixels that do not count."
                )
        self._of_colours = all(key.startswith("#") for key in classes)
        if not self._of_colours and any(key.startswith("#") for key in classes):
            raise ValueError("label_values: has numbers and colours, expected one kind.")
        self._classes = {
            int(key[1:], 16) if self._of_colours else int(key): value for key, value in classes.items()
        }

    def read(self, path: Path) -> Pixels:
        """(H, W) uint8 classes of a label file.

        Raises:
            DatasetDamagedError: it cannot be read, or has a number or a colour that is not in the table.
        """
        codes = self._codes(path, read_stored(path))
        found, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        unknown = [
            (self._shown(int(code)), int(count))
            for code, count in zip(found, counts, strict=True)
            if int(code) not in self._classes
        ]
        if unknown:
            raise DatasetDamagedError(
                f"{path}: {_listed(unknown)} not in label_values, which has "
                f"{', '.join(self._shown(code) for code in sorted(self._classes))}. "
                "Add it, or correct the file."
            )
        classes = np.array([self._classes[int(code)] for code in found], dtype=np.uint8)
        mapped: Pixels = classes[places.reshape(codes.shape)]
        return mapped

    def _codes(self, path: Path, stored: StoredPixels) -> Values:
        if self._of_colours:
            colours = stored.colours
            if colours is None:
                greys = (stored.values * (255 / stored.white)).astype(np.uint8)
                colours = np.repeat(greys[..., None], 3, axis=-1)
            wide = colours.astype(np.int64)
            return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        if not stored.has_palette and not stored.is_grey:
            raise DatasetDamagedError(
                f"{path}: has colours, but label_values has numbers. Use colours as keys: '#rrggbb'."
            )
        return stored.values

    def _shown(self, code: int) -> str:
        return f"#{code:06x}" if self._of_colours else str(code)


def read_mask(path: Path) -> Pixels:
    """(H, W) uint8 of a label without a table: 1 for white (changed), 0 for black.

    Few pixels may have other greys, as in AirChange's masks; each goes to the nearer end.

    Raises:
        DatasetDamagedError: it cannot be read, has colours, is on another scale than 0 to 255 (or 65535), or
            has more than two values.
    """
    stored = read_stored(path)
    if not stored.is_grey:
        raise DatasetDamagedError(
            f"{path}: has colours, expected black and white. Say what they mean by the dataset's argument "
            "label_values={'#000000': 0, '#ff0000': 1}."
        )
    values = stored.values if stored.colours is None else stored.colours[..., 0]
    brightest = int(values.max(initial=0))
    # 16-bit files with 0 and 255 exist.
    white = 255 if stored.white == 65535 and brightest <= 255 else stored.white
    changed = values > white // 2
    if brightest and not changed.any():
        # Copies with 0 and 1 exist; they would read as 'no change anywhere'.
        raise DatasetDamagedError(
            f"{path}: its brightest pixel is {brightest}, expected {white} for changed. Scale it, or say "
            "what its values mean by the dataset's argument label_values={'0': 0, '1': 1}."
        )
    distance = np.minimum(values, white - np.minimum(values, white)) * (255 / white)
    between = int((distance > _NEAR).sum())
    if between * _ONE_OF > values.size:
        raise DatasetDamagedError(
            f"{path}: {between} of {values.size} pixels are neither black nor white. Say what its values "
            "mean by the dataset's argument label_values={'0': 0, '255': 1, ...}."
        )
    return changed.astype(np.uint8)


def _listed(unknown: list[tuple[str, int]]) -> str:
    shown = ", ".join(f"{value} ({count} pixels)" for value, count in unknown[:_SHOWN])
    return f"{shown}{f' and {len(unknown) - _SHOWN} more' if len(unknown) > _SHOWN else ''} is"
