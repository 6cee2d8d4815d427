"""LEVIR-CD: pairs of 0.5 m/pixel satellite images with building changes.

Source: H. Chen, Z. Shi, "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote
Sensing Image Change Detection", Remote Sensing 12(10):1662, 2020. The imagery is Google Earth's;
its owners allow academic use only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from pylon.data.change_detection.image_files import read_triple, to_change_map, to_image
from pylon.data.dataset import BaseDataset
from pylon.data.errors import DatasetDamagedError, DatasetNotFoundError

_PARTS = ("A", "B", "label")


@dataclass(frozen=True)
class Pair:
    """The file name that both dates and the label of a pair share, and the folder of A, B and label."""

    folder: Path
    name: str

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Earlier date, later date, label."""
        return self.folder / "A" / self.name, self.folder / "B" / self.name, self.folder / "label" / self.name


class LEVIRCDDataset(BaseDataset):
    """Whole pairs, in any of three layouts.

    - `root/{train,val,test}/{A,B,label}/NAME.png`;
    - `root/{A,B,label}/NAME.png` with `root/list/{train,val,test}.txt`, a file name per line;
    - split 'all': `root/{A,B,label}/NAME.png`, to be divided by `indices`, in order of name.

    meta_info has `name` (the file name) and `files` (A, B, label).

    Args:
        data_root: folder of the data set.
        split: 'train', 'val', 'test' or 'all'.
        indices, transforms, seed, cache: see BaseDataset.

    Raises:
        DatasetNotFoundError: there is no such data set or split; the text says how to get it.
        DatasetDamagedError: a pair is incomplete, or a file cannot be used.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val", "test", "all")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def _list_datapoints(self) -> Sequence[Pair]:
        pairs = self._pairs()
        if not pairs:
            raise DatasetNotFoundError(_how_to_get(self.data_root, self.split))
        missing = [
            f"{part}/{pair.name}"
            for pair in pairs
            for part, path in zip(_PARTS, pair.files, strict=True)
            if not path.is_file()
        ]
        if missing:
            raise DatasetDamagedError(
                f"{pairs[0].folder}: {len(missing)} files of split {self.split!r} are missing: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Copy them anew."
            )
        return pairs

    def _load_datapoint(
        self, annotation: Pair
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]:
        files = annotation.files
        first, second, label = self.cached_images(str(files[0].absolute()), lambda: read_triple(*files))
        inputs = {"img_1": to_image(first), "img_2": to_image(second)}
        meta_info = {"name": annotation.name, "files": tuple(str(path) for path in files)}
        return inputs, {"change_map": to_change_map(label)}, meta_info

    def _pairs(self) -> list[Pair]:
        nested = self.data_root / self.split
        if self.split != "all" and nested.is_dir():
            return _pairs_in(nested)
        if self.split == "all":
            return _pairs_in(self.data_root)
        return _pairs_listed(self.data_root, self.data_root / "list" / f"{self.split}.txt")


def _pairs_in(folder: Path) -> list[Pair]:
    """All pairs; a file that lacks its partners counts, so that they are missed."""
    names = {path.name for part in _PARTS for path in (folder / part).glob("*.png")}
    return [Pair(folder, name) for name in sorted(names)]


def _pairs_listed(folder: Path, names_file: Path) -> list[Pair]:
    if not names_file.is_file():
        return []
    lines = [line.strip() for line in names_file.read_text(encoding="utf-8").splitlines()]
    names = [line if line.endswith(".png") else f"{line}.png" for line in lines if line]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DatasetDamagedError(
            f"{names_file}: names {', '.join(twice[:10])} more than once. Keep one line of each."
        )
    return [Pair(folder, name) for name in names]


def _how_to_get(root: Path, split: str) -> str:
    if split == "all":
        expected = "expected A, B and label with PNG files"
    else:
        expected = f"expected {split}/A, {split}/B and {split}/label, or A, B and label with list/{split}.txt"
    return (
        f"LEVIR-CD split {split!r} was looked for in {root.absolute()} and is not there: {expected}.\n"
        "Get it: the authors' page of LEVIR-CD has the archive; the imagery is for academic use only.\n"
        "Cite: H. Chen, Z. Shi, Remote Sensing 12(10):1662, 2020.\n"
        "Data elsewhere: set PYLON_DATASETS to the folder that holds levir_cd/.\n"
        "Without the data: `make run` trains on a generated data set."
    )
