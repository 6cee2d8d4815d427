"""LEVIR-CD: pairs of 0.5 m/pixel satellite images with building changes.

Source: H. Chen, Z. Shi, "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote
Sensing Image Change Detection", Remote Sensing 12(10):1662, 2020. The imagery is Google Earth's;
its owners allow academic use only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch

from pylon.data.change_detection.dataset import ChangeDetectionDataset
from pylon.data.change_detection.image_files import read_triple, to_change_map, to_image
from pylon.data.emptiness import shown_entries
from pylon.data.errors import DatasetDamagedError, DatasetNotFoundError, EmptyDatasetError
from pylon.data.image_reading import SUFFIXES
from pylon.data.label_values import LabelValues
from pylon.data.listing import image_files, read_lines

_PARTS = ("A", "B", "label")


@dataclass(frozen=True)
class Pair:
    """Earlier date, later date and label of one place; an absent file has the name that it should have."""

    folder: Path
    files: tuple[Path, Path, Path]

    @property
    def name(self) -> str:
        """File name of the earlier date."""
        return self.files[0].name


class LEVIRCDDataset(ChangeDetectionDataset):
    """Whole pairs, in any of three layouts.

    - `root/{train,val,test}/{A,B,label}/NAME.png`;
    - `root/{A,B,label}/NAME.png` with `root/list/{train,val,test}.txt`, a file name per line;
    - split 'all': `root/{A,B,label}/NAME.png`, to be divided by `indices`, in order of name.

    The files are PNG, JPEG, TIFF, BMP or WebP, with suffixes in upper or lower case; the three of a pair have
    the same name up to the suffix. Hidden files are ignored. meta_info has `name` (the earlier date's file
    name) and `files` (A, B, label).

    Args:
        data_root: folder of the data set.
        split: 'train', 'val', 'test' or 'all'.
        indices, transforms, seed, cache: see BaseDataset.
        label_values: what the numbers or colours in label files mean, as in {'#000000': 0, '#ff0000': 1}: see
            `LabelValues`; None: black is unchanged, white is changed, and nothing else is accepted.

    Raises:
        DatasetNotFoundError: there is no such data set or split; the text explains how to get it.
        EmptyDatasetError: the split is there, and has no image or names none.
        DatasetDamagedError: a pair is incomplete, or a file cannot be used.
        ValueError: `label_values` is not of its form.
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "val", "test", "all")
    INPUT_NAMES: ClassVar[tuple[str, ...]] = ("img_1", "img_2")
    LABEL_NAMES: ClassVar[tuple[str, ...]] = ("change_map",)
    CLASS_NAMES: ClassVar[tuple[str, ...]] = ("unchanged", "changed")

    def __init__(
        self,
        data_root: str | Path,
        split: str,
        *,
        label_values: Mapping[str, int] | None = None,
        **others: Any,  # noqa: ANN401 - BaseDataset's own arguments
    ) -> None:
        self._label_values = (
            None if label_values is None else LabelValues(label_values, len(self.CLASS_NAMES))
        )
        # What a decoded copy of a pair depends on, besides its files.
        self._reading = "" if label_values is None else repr(sorted(label_values.items()))
        super().__init__(data_root, split, **others)

    def _list_datapoints(self) -> Sequence[Pair]:
        pairs = self._pairs()
        if not pairs:
            self._refuse_empty()
        missing = [
            f"{path.parent.name}/{path.name}" for pair in pairs for path in pair.files if not path.is_file()
        ]
        if missing:
            raise DatasetDamagedError(
                f"{pairs[0].folder}: {len(missing)} files of split {self.split!r} are missing: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Copy them again."
            )
        return pairs

    def _load_datapoint(
        self, annotation: Pair
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]:
        files = annotation.files
        first, second, label = self.cached_images(
            str(files[0].absolute()),
            lambda: read_triple(*files, label_values=self._label_values),
            files=files,
            reading=self._reading,
        )
        inputs = {"img_1": to_image(first), "img_2": to_image(second)}
        meta_info = {"name": annotation.name, "files": tuple(str(path) for path in files)}
        return inputs, {"change_map": to_change_map(label)}, meta_info

    def _refuse_empty(self) -> NoReturn:
        nested, names_file = self.data_root / self.split, self.data_root / "list" / f"{self.split}.txt"
        folder = self.data_root if self.split == "all" else nested
        if any((folder / part).is_dir() for part in _PARTS):
            found = "; ".join(f"{part} has {shown_entries(folder / part)}" for part in _PARTS)
            raise EmptyDatasetError(
                f"{folder}: LEVIR-CD split {self.split!r} has no images. Expected PNG, JPEG, TIFF, BMP or "
                f"WebP files in A, B and label; {found}."
            )
        if self.split != "all" and not nested.is_dir() and names_file.is_file():
            raise EmptyDatasetError(
                f"{names_file}: LEVIR-CD split {self.split!r} names no file. Expected a file name per line."
            )
        raise DatasetNotFoundError(_how_to_get(self.data_root, self.split))

    def _pairs(self) -> list[Pair]:
        nested = self.data_root / self.split
        if self.split != "all" and nested.is_dir():
            return _pairs_in(nested)
        if self.split == "all":
            return _pairs_in(self.data_root)
        return _pairs_listed(self.data_root, self.data_root / "list" / f"{self.split}.txt")


def _pairs_in(folder: Path) -> list[Pair]:
    """All pairs; a file that lacks its partners counts, so that they are missed."""
    found = _files_of_parts(folder)
    stems = sorted({stem for part in _PARTS for stem in found[part]})
    return [_pair(folder, found, stem) for stem in stems]


def _pairs_listed(folder: Path, names_file: Path) -> list[Pair]:
    if not names_file.is_file():
        return []
    found = _files_of_parts(folder)
    lines = [line.strip() for line in read_lines(names_file)]
    stems = [_stem(line) for line in lines if line]
    twice = sorted(stem for stem, count in Counter(stems).items() if count > 1)
    if twice:
        raise DatasetDamagedError(
            f"{names_file}: names {', '.join(twice[:10])} more than once. Keep one line of each."
        )
    return [_pair(folder, found, stem) for stem in stems]


def _files_of_parts(folder: Path) -> dict[str, dict[str, Path]]:
    """By part and by name without suffix, the image files of A, B and label."""
    return {part: image_files(folder / part) for part in _PARTS}


def _pair(folder: Path, found: dict[str, dict[str, Path]], stem: str) -> Pair:
    name = next((found[part][stem].name for part in _PARTS if stem in found[part]), f"{stem}.png")
    first, second, label = (found[part].get(stem, folder / part / name) for part in _PARTS)
    return Pair(folder, (first, second, label))


def _stem(line: str) -> str:
    return line[: -len(Path(line).suffix)] if Path(line).suffix.lower() in SUFFIXES else line


def _how_to_get(root: Path, split: str) -> str:
    if split == "all":
        expected = "expected A, B and label with PNG, JPEG, TIFF, BMP or WebP files"
    else:
        expected = f"expected {split}/A, {split}/B and {split}/label, or A, B and label with list/{split}.txt"
    return (
        f"LEVIR-CD split {split!r} was looked for in {root.absolute()} and is not there: {expected}.\n"
        "Get it: the authors' page of LEVIR-CD has the archive; the imagery is for academic use only.\n"
        "Cite: H. Chen, Z. Shi, Remote Sensing 12(10):1662, 2020.\n"
        "Data elsewhere: set PYLON_DATASETS to the folder that holds levir_cd/.\n"
        "Without the data: `make run` trains on a generated data set."
    )
