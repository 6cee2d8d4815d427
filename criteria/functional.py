"""The terms of the losses, from log-probabilities."""

import torch
from torch.nn import functional


def checked_log_probabilities(logits: torch.Tensor, target: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Log-softmax of logits that fit their labels, in single precision at least.

    Label values are checked on the CPU, where that is cheap. On an accelerator the check would make
    every step wait for it; a label outside its range ends there in the device's own assertion.

    Args:
        logits: (B, C, H, W), floating point.
        target: (B, H, W) int64, values in 0..C-1 or `ignore_index`.
        ignore_index: label of the pixels that do not count.

    Returns:
        (B, C, H, W).

    Raises:
        ValueError: shapes, type or label values do not fit.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"logits, target: shapes {tuple(logits.shape)} and {tuple(target.shape)}, "
            "expected (B, C, H, W) and (B, H, W)."
        )
    if target.dtype != torch.int64:
        raise ValueError(f"target: type {target.dtype}, expected torch.int64.")
    if target.device.type == "cpu":
        _check_labels(target, logits.shape[1], ignore_index)
    return functional.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)


def _check_labels(target: torch.Tensor, num_classes: int, ignore_index: int) -> None:
    outside = ((target < 0) | (target >= num_classes)) & (target != ignore_index)
    if bool(outside.any()):
        seen = sorted(set(target[outside].tolist()))[:5]
        raise ValueError(
            f"target: values {seen}, expected 0..{num_classes - 1} or {ignore_index} (ignored). "
            "Map the labels to classes in the dataset."
        )


def focal_term(
    log_probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    gamma: float,
    class_weights: torch.Tensor | None,
    ignore_index: int,
) -> torch.Tensor:
    """Weighted mean over labelled pixels of -(1 - p)^gamma log p, p the probability of the true class.

    The mean divides by the sum of the pixels' class weights, as cross-entropy in torch does; without
    a labelled pixel (of positive weight) the term is 0, and so is its gradient.

    Args:
        log_probabilities: (B, C, H, W).
        target: (B, H, W) int64, values in 0..C-1 or `ignore_index`.
        gamma: 0 or more; 0 gives cross-entropy.
        class_weights: (C,), or None for weight 1 each.
        ignore_index: label of the pixels that do not count.

    Returns:
        A scalar.
    """
    labelled = target != ignore_index
    # gather, as torch's nll_loss has no deterministic kernel for images on CUDA.
    true_class = target.where(labelled, 0).unsqueeze(1)
    surprise = -log_probabilities.gather(1, true_class).squeeze(1)
    # 1 - p, exact for p near 1. Its power has an infinite slope at 0 for gamma < 1: the clamp takes
    # such pixels, whose loss is 0 anyway, out of the gradient.
    miss = (-torch.expm1(-surprise)).clamp(min=torch.finfo(surprise.dtype).tiny)
    weights = labelled.to(surprise.dtype)
    if class_weights is not None:
        weights = weights * class_weights.to(surprise.dtype)[true_class.squeeze(1)]
    total = weights.sum()
    return (weights * miss**gamma * surprise).sum() / torch.where(total > 0, total, 1.0)


def dice_term(log_probabilities: torch.Tensor, target: torch.Tensor, *, ignore_index: int) -> torch.Tensor:
    """1 - the mean over classes of 2 * intersection / (sum of probabilities + number of pixels).

    Sums go over the labelled pixels of the whole batch. A class without a pixel in the batch has the
    coefficient 0, as in the published loss: it raises the loss by 1 / C and has no gradient. Without
    a labelled pixel the term is 0, and so is its gradient.

    Args:
        log_probabilities: (B, C, H, W).
        target: (B, H, W) int64, values in 0..C-1 or `ignore_index`.
        ignore_index: label of the pixels that do not count.

    Returns:
        A scalar.
    """
    num_classes = log_probabilities.shape[1]
    labelled = target != ignore_index
    truth = functional.one_hot(target.where(labelled, 0), num_classes).movedim(-1, 1)
    counted = labelled.unsqueeze(1).to(log_probabilities.dtype)
    probabilities = log_probabilities.exp() * counted
    pixels = (truth * counted).sum(dim=(0, 2, 3))
    intersection = (probabilities * truth).sum(dim=(0, 2, 3))
    cardinality = probabilities.sum(dim=(0, 2, 3)) + pixels
    coefficients = 2 * intersection / torch.where(cardinality > 0, cardinality, 1.0)
    return (1 - coefficients.mean()) * labelled.any()
