"""SZTAKI AirChange: twelve pairs of aerial images, 5 to 23 years apart, with hand-drawn changes.

Source: C. Benedek, T. Sziranyi, "Change Detection in Optical Aerial Images by a Multilayer
Conditional Mixed Markov Model", IEEE TGRS 47(10), 2009, and "A Mixed Markov Model for Change
Detection in Aerial Photos with Large Time Differences", ICPR 2008.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pylon.data.cache import SharedImageCache
from pylon.data.change_detection.air_change_crops import (
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    Window,
    corner_window,
    crop_origins,
    draw_crops,
    published_test_window,
)
from pylon.data.change_detection.air_change_files import CASES, find_files
from pylon.data.change_detection.dataset import ChangeDetectionDataset
from pylon.data.change_detection.image_files import check_size, read_triple, to_change_map, to_image
from pylon.data.decoded_copy import DecodedCopy
from pylon.data.transforms.transform import Transform
from pylon.storage import with_home


class AirChangeDataset(ChangeDetectionDataset):
    """Crops for training, the published test area whole.

    The published protocol has no validation split, and choosing the best epoch on the test area
    would leak the test into the choice. `holdout_corner` sets the bottom-right block of every
    image (168 x 192 pixels, width x height) aside for 'val', and training crops then stay out of it.

    meta_info has `case` ('Szada/1'), `origin_yx` (top and left of the window) and `files` (im1, im2, gt).

    Args:
        data_root: folder with `Szada/1..7` and `Tiszadob/1..5`, each with im1, im2 and gt as BMP;
            upper and lower case do not matter.
        split: 'train', 'val' or 'test'.
        indices, transforms, seed, cache: see BaseDataset. All twelve decoded triples take 52 MB.
        crops_per_image: training crops of each image, drawn with replacement; published use: 312.
        crop_size: side of a training crop in pixels, 1 to 191.
        holdout_corner: set the corner aside for validation.
        crop_seed: the places of the crops follow from it.

    Raises:
        DatasetNotFoundError: there is no such data set; the text explains how to get it.
        DatasetDamagedError: files are missing, or one cannot be used.
        ValueError: 'val' without `holdout_corner`, or a crop that fits nowhere.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        indices: Sequence[int] | None = None,
        transforms: Transform | None = None,
        seed: int = 0,
        cache: SharedImageCache | DecodedCopy | None = None,
        crops_per_image: int = 312,
        crop_size: int = 112,
        holdout_corner: bool = False,
        crop_seed: int = 0,
    ) -> None:
        if split == "val" and not holdout_corner:
            raise ValueError(
                "holdout_corner: False, but split 'val' is that corner: AirChange has no validation split "
                "of its own. Set holdout_corner=True, for 'train' too."
            )
        if crops_per_image < 1:
            raise ValueError(f"crops_per_image: {crops_per_image}, expected at least 1.")
        self.crops_per_image = crops_per_image
        self.crop_size = crop_size
        self.holdout_corner = holdout_corner
        self.crop_seed = crop_seed
        data_root = with_home(data_root)
        self._files = find_files(data_root)
        for path in (path for triple in self._files for path in triple):
            check_size(path, (IMAGE_WIDTH, IMAGE_HEIGHT))
        super().__init__(data_root, split, indices=indices, transforms=transforms, seed=seed, cache=cache)

    def _list_datapoints(self) -> Sequence[Window]:
        cases = range(len(CASES))
        if self.split == "test":
            return [published_test_window(case) for case in cases]
        if self.split == "val":
            return [corner_window(case) for case in cases]
        regions = crop_origins(self.crop_size, holdout_corner=self.holdout_corner)
        return [
            window
            for case in cases
            for window in draw_crops(case, self.crops_per_image, self.crop_size, self.crop_seed, regions)
        ]

    def _load_datapoint(
        self, annotation: Window
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]:
        files = self._files[annotation.case]
        # The image is decoded whole and once; a crop of it is then a view.
        first, second, label = self.cached_images(
            str(files[0].absolute()),
            lambda: read_triple(*files, size=(IMAGE_WIDTH, IMAGE_HEIGHT)),
            files=files,
        )
        rows = slice(annotation.top, annotation.top + annotation.height)
        columns = slice(annotation.left, annotation.left + annotation.width)
        inputs = {"img_1": to_image(first[rows, columns]), "img_2": to_image(second[rows, columns])}
        labels = {"change_map": to_change_map(label[rows, columns])}
        meta_info = {
            "case": CASES[annotation.case],
            "origin_yx": (annotation.top, annotation.left),
            "files": tuple(str(path) for path in files),
        }
        return inputs, labels, meta_info
