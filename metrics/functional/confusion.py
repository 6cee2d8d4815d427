"""From logits and labels to confusion matrices, one per image of a batch."""

from collections.abc import Sequence

import torch


def predicted_classes(logits: torch.Tensor, idx: Sequence[int] | None = None) -> torch.Tensor:
    """The class with the largest logit of each pixel; the first of equal ones.

    Args:
        logits: (B, C, H, W), floating point. Infinities are ordered as usual.
        idx: names of the B images in an error; their positions in the batch when None.

    Returns:
        (B, H, W) int64, values in 0..C-1.

    Raises:
        ValueError: a logit is NaN, or the shape is another.
    """
    if logits.ndim != 4:
        raise ValueError(f"logits: shape {tuple(logits.shape)}, expected (B, C, H, W).")
    broken = torch.isnan(logits).flatten(start_dim=1).any(dim=1)
    if bool(broken.any()):
        raise ValueError(
            f"logits: NaN in datapoints {_names(broken, idx)}; a NaN has no largest class, so it cannot be "
            "scored. The model diverged: lower the learning rate, or look for its first NaN loss."
        )
    # The same index as argmax, several times faster on the CPU for a dimension that is not the last.
    return logits.max(dim=1).indices


def confusion_matrices(
    prediction: torch.Tensor,
    target: torch.Tensor,
    num_classes: int,
    ignore_index: int | None = None,
    idx: Sequence[int] | None = None,
) -> torch.Tensor:
    """Count pixels by true class (row) and predicted class (column), for each image on its own.

    Args:
        prediction: (B, H, W) int64, values in 0..num_classes-1.
        target: (B, H, W) int64, values in 0..num_classes-1 or `ignore_index`.
        num_classes: C.
        ignore_index: pixels with this target count nowhere; None: every pixel counts.
        idx: names of the B images in an error; their positions in the batch when None.

    Returns:
        (B, C, C) int64 on the device of `prediction`; `[b, i, j]` pixels of class i predicted as j.

    Raises:
        ValueError: shapes differ, or a value is outside its range.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"target: shape {tuple(target.shape)}, expected that of the prediction {tuple(prediction.shape)}."
        )
    counted = torch.ones_like(target, dtype=torch.bool) if ignore_index is None else target != ignore_index
    ignored = "" if ignore_index is None else f" or {ignore_index} (ignored)"
    _check_range("target", target, counted, num_classes, idx=idx, also_allowed=ignored)
    _check_range("prediction", prediction, counted, num_classes, idx=idx, also_allowed="")
    batch_size = target.shape[0]
    image = torch.arange(batch_size, device=target.device).view(-1, *[1] * (target.ndim - 1))
    cells = batch_size * num_classes**2
    cell = (image * num_classes + target) * num_classes + prediction
    # Pixels that do not count go to one cell more: cheaper than picking out those that do.
    counts = torch.bincount(cell.where(counted, cells).flatten(), minlength=cells + 1)[:cells]
    return counts.view(batch_size, num_classes, num_classes)


def _check_range(
    name: str,
    values: torch.Tensor,
    counted: torch.Tensor,
    num_classes: int,
    *,
    idx: Sequence[int] | None,
    also_allowed: str,
) -> None:
    outside = counted & ((values < 0) | (values >= num_classes))
    if bool(outside.any()):
        seen = sorted(set(values[outside].tolist()))[:5]
        images = _names(outside.flatten(start_dim=1).any(dim=1), idx)
        raise ValueError(
            f"{name}: values {seen} in datapoints {images}, expected 0..{num_classes - 1}{also_allowed}."
        )


def _names(chosen: torch.Tensor, idx: Sequence[int] | None) -> list[int]:
    positions: list[int] = chosen.nonzero().flatten().tolist()
    return positions if idx is None else [int(idx[position]) for position in positions]
