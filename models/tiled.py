"""Predict a large image on overlapping tiles, each pixel once in the result.

│<── tile ──>│                    Neighbouring tiles share `overlap` pixels. A model sees padding
        │<── tile ──>│            beyond a tile's edge inside the image, so a quarter of
│  core  │x│                      the overlap (x) is dropped on each inner side. The remaining
       │x│   core  │             cores still overlap, and there the logits are averaged.
"""

from collections.abc import Mapping

import torch
from torch import nn


def tiled_logits(
    model: nn.Module, inputs: Mapping[str, torch.Tensor], *, tile_size: int, overlap: int
) -> torch.Tensor:
    """Logits of a whole image, from a model that is shown one tile after another.

    A model that looks no further than `overlap // 4` pixels gives what it gives on the whole image;
    one that looks further (HANet's attention sees whole rows and columns) gives an approximation,
    in bounded memory. A side no longer than a tile is not divided.

    Args:
        model: called as `model(**tile)`; gives logits (B, C, h, w) for a tile of h x w pixels.
        inputs: by argument name, (B, channels, H, W); H and W the same for all.
        tile_size: height and width of a tile in pixels; a size that the model accepts.
        overlap: pixels that neighbouring tiles share at least, 0 to `tile_size` - 1.

    Returns:
        (B, C, H, W), the mean of the logits of all tile cores that cover a pixel.

    Raises:
        ValueError: `tile_size` or `overlap` is out of range, or the inputs' sizes differ.
    """
    if not 0 <= overlap < tile_size:
        raise ValueError(f"tile_size, overlap: {tile_size} and {overlap}, expected 0 <= overlap < tile_size.")
    sizes = {name: tuple(value.shape[-2:]) for name, value in inputs.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"inputs: heights and widths {sizes}, expected one size for all.")
    height, width = next(iter(sizes.values()))
    total: torch.Tensor | None = None
    count = torch.zeros(height, width, device=next(iter(inputs.values())).device)
    for rows, core_rows in _tiles(height, tile_size, overlap):
        for columns, core_columns in _tiles(width, tile_size, overlap):
            logits = model(**{name: value[..., rows, columns] for name, value in inputs.items()})
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], height, width)
            inner = logits[
                ...,
                core_rows.start - rows.start : core_rows.stop - rows.start,
                core_columns.start - columns.start : core_columns.stop - columns.start,
            ]
            total[..., core_rows, core_columns] += inner
            count[core_rows, core_columns] += 1
    if total is None:
        raise ValueError(f"inputs: height {height} and width {width}, expected at least one pixel.")
    return total / count


def _tiles(length: int, tile_size: int, overlap: int) -> list[tuple[slice, slice]]:
    """Along one side: the pixels of each tile, and those of its core."""
    if length <= tile_size:
        return [(slice(0, length), slice(0, length))] if length else []
    last = length - tile_size
    starts = [*range(0, last, tile_size - overlap), last]
    dropped = overlap // 4
    return [
        (
            slice(start, start + tile_size),
            slice(start + (dropped if start else 0), start + tile_size - (dropped if start < last else 0)),
        )
        for start in starts
    ]
