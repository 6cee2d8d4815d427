"""Print a table: `OMP_NUM_THREADS=1 python -m benchmarks.loading [--levir FOLDER] [--rounds 5]`.

FOLDER has LEVIR-CD in the layout root/{A,B,label}; without it, pairs are generated (`--pairs`, `--size`). All
contenders load all pairs in this process, in turns: decode, crop, augment, normalise, collate. First epochs
begin without a decoded copy. Figures are of the fastest round.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.loading.peers import PEERS, Triple, missing
from benchmarks.monitors.tables import table
from benchmarks.surroundings import machine, versions
from pylon.configs.common.datasets import levir_cd
from pylon.data import DataLoader, DecodedCopy
from pylon.data.change_detection import LEVIRCDDataset
from pylon.runners.config import build

_BATCH_SIZE = 4
Epoch = Callable[[], Iterable[Any]]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = _parsed(arguments)
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks a server for its newest version
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="pylon-loading-") as folder:
        root = options.levir or write_pairs(Path(folder, "pairs"), options.pairs, options.size)
        files = [one.files for one in LEVIRCDDataset(root, "all")._datapoints]
        with Image.open(files[0][0]) as image:
            size = min(options.crop, *image.size)
        rows = [
            (name, f"{len(files) / seconds:.0f}", f"{1e3 * seconds / len(files):.2f}")
            for name, seconds in measured(root, files, size, options.rounds, Path(folder))
        ]
    print(machine())
    print(versions(("torch", "pillow", "numpy", "albumentations", "opencv-python-headless", "torchvision")))
    for name in PEERS:
        if absent := missing(name):
            print(f"{name}: not measured, {', '.join(absent)} not installed")
    print(f"\n{len(files)} pairs, crops of {size} x {size} pixels, no workers, one thread\n")
    print(table(("", "pairs per second of CPU time", "ms a pair"), rows))


def measured(
    root: Path, files: list[Triple], size: int, rounds: int, folder: Path
) -> Iterator[tuple[str, float]]:
    """Each contender with the CPU time of an epoch in its fastest round, seconds.

    Args:
        root: folder of the pairs.
        files: of each of them.
        size: side of the crop, pixels.
        rounds: how often all are measured.
        folder: for decoded copies.
    """
    others = {name: _loader(cls(files, size)) for name, (cls, _) in PEERS.items() if not missing(name)}
    plain, kept = _pylon(root, size, None), _pylon(root, size, DecodedCopy(folder / "kept"))
    _seconds(kept)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        empty = _pylon(root, size, DecodedCopy(folder / f"empty-{number}"))
        turns = {"Pylon": plain, "Pylon, decoded copy, first epoch": empty, "later epochs": kept, **others}
        for name, epoch in turns.items():
            found.setdefault(name, []).append(_seconds(epoch))
    for name, seconds in found.items():
        yield name, min(seconds)


def write_pairs(root: Path, pairs: int, size: int) -> Path:
    """Pairs of coarse random pixels in the layout root/{A,B,label}; returns the folder."""
    generator = np.random.default_rng(0)
    for number in range(pairs):
        coarse = generator.integers(0, 256, (2, size // 8, size // 8, 3), dtype=np.uint8)
        for part, pixels in zip(("A", "B"), coarse, strict=True):
            _save(root / part / f"{number}.png", pixels.repeat(8, 0).repeat(8, 1))
        _save(root / "label" / f"{number}.png", (coarse[0, ..., 0] > 200).repeat(8, 0).repeat(8, 1))
    return root


def _save(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy = (
        pixels if pixels.dtype == bool else pixels ^ (np.indices(pixels.shape).sum(0) % 8).astype(np.uint8)
    )
    Image.fromarray(noisy).save(path)


def _pylon(root: Path, size: int, cache: DecodedCopy | None) -> Epoch:
    node = levir_cd(str(root), size)["train_dataset"]
    transforms = build(node["args"]["transforms"])
    dataset = LEVIRCDDataset(root, "all", transforms=transforms, cache=cache)
    loader = DataLoader(dataset, batch_size=_BATCH_SIZE, shuffle=True)

    def epoch() -> Iterable[Any]:
        loader.set_epoch_seed(1)
        return loader

    return epoch


def _loader(dataset: Any) -> Epoch:  # noqa: ANN401 - a peer's
    loader = torch.utils.data.DataLoader(dataset, batch_size=_BATCH_SIZE, shuffle=True)
    return lambda: loader


def _seconds(epoch: Epoch) -> float:
    begun_s = time.process_time()
    for _ in epoch():
        pass
    return time.process_time() - begun_s


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--levir", type=Path, help="folder with A, B and label; default: generated pairs")
    parser.add_argument("--pairs", type=int, default=16, help="generated pairs")
    parser.add_argument("--size", type=int, default=1024, help="their side, pixels")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops, pixels")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
