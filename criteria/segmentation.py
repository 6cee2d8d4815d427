"""Losses of dense classification: focal, Dice, and their weighted sum."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from pylon.criteria.functional import checked_log_probabilities, dice_term, focal_term


class FocalLoss(nn.Module):
    """Cross-entropy that lowers the weight of pixels that are already right.

    The weighted mean over labelled pixels of -(1 - p)^gamma log p; `gamma=0` gives torch's weighted
    cross-entropy. A batch without a labelled pixel has the loss 0 and the gradient 0.

    Args:
        class_weights: one weight per class, 0 or more, at least one positive; None: all 1.
        gamma: 0 or more; how strongly right pixels are lowered.
        ignore_index: label of the pixels that do not count.

    Raises:
        ValueError: a weight or `gamma` is out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017; gamma 2 is their choice.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self, class_weights: Sequence[float] | None = None, gamma: float = 2.0, ignore_index: int = 255
    ) -> None:
        super().__init__()
        if not (math.isfinite(gamma) and gamma >= 0):
            raise ValueError(f"gamma: {gamma}, expected 0 or more.")
        self.gamma = gamma
        self.ignore_index = ignore_index
        # A buffer moves with the module to its device; being configuration, it is not saved with it.
        self.register_buffer("class_weights", _checked_weights(class_weights), persistent=False)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: (B, C, H, W), floating point.
            target: (B, H, W) int64, values in 0..C-1 or `ignore_index`.

        Returns:
            A scalar.

        Raises:
            ValueError: shapes, type, label values (on the CPU) or the number of weights do not fit.
        """
        return self.term(checked_log_probabilities(logits, target, self.ignore_index), target)

    def term(self, log_probabilities: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss from log-probabilities (B, C, H, W) and labels that have been checked."""
        if self.class_weights is not None and len(self.class_weights) != log_probabilities.shape[1]:
            raise ValueError(
                f"class_weights: {len(self.class_weights)} weights, expected one for each of the "
                f"{log_probabilities.shape[1]} channels of the logits."
            )
        return focal_term(
            log_probabilities,
            target,
            gamma=self.gamma,
            class_weights=self.class_weights,
            ignore_index=self.ignore_index,
        )


class DiceLoss(nn.Module):
    """1 - the mean Dice coefficient over classes, from probabilities, over the whole batch.

    See `criteria.functional.dice_term` for the formula and for classes that do not occur. A batch
    without a labelled pixel has the loss 0 and the gradient 0.

    Args:
        ignore_index: label of the pixels that do not count.

    Source:
        Milletari et al., "V-Net", 3DV 2016, in the form that HANet is trained with.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; arguments, result and errors as in `FocalLoss.forward`."""
        log_probabilities = checked_log_probabilities(logits, target, self.ignore_index)
        return dice_term(log_probabilities, target, ignore_index=self.ignore_index)


class FocalDiceLoss(nn.Module):
    """Weighted sum of focal and Dice loss, the loss that HANet's authors train with.

    Args:
        class_weights: weights of the focal term, see FocalLoss; the Dice term weighs classes equally.
        gamma: exponent of the focal term; 0.5 in the authors' code.
        ignore_index: label of the pixels that do not count.
        focal_weight: factor of the focal term, 0 or more.
        dice_weight: factor of the Dice term, 0 or more.

    Raises:
        ValueError: a weight or `gamma` is out of range, or both factors are 0.

    Source:
        Han et al., HANet, IEEE JSTARS 16, 2023, DOI 10.1109/JSTARS.2023.3264802, and its code.
    """

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        gamma: float = 0.5,
        ignore_index: int = 255,
        focal_weight: float = 1.0,
        dice_weight: float = 1.0,
    ) -> None:
        super().__init__()
        factors = (focal_weight, dice_weight)
        if not all(math.isfinite(factor) and factor >= 0 for factor in factors) or not any(factors):
            raise ValueError(
                f"focal_weight, dice_weight: {focal_weight} and {dice_weight}, "
                "expected 0 or more, and one of them positive."
            )
        self.focal = FocalLoss(class_weights, gamma, ignore_index)
        self.ignore_index = ignore_index
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; arguments, result and errors as in `FocalLoss.forward`."""
        log_probabilities = checked_log_probabilities(logits, target, self.ignore_index)
        focal = self.focal.term(log_probabilities, target)
        dice = dice_term(log_probabilities, target, ignore_index=self.ignore_index)
        return self.focal_weight * focal + self.dice_weight * dice


def _checked_weights(class_weights: Sequence[float] | None) -> torch.Tensor | None:
    if class_weights is None:
        return None
    weights = list(class_weights)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(f"class_weights: {weights}, expected 0 or more each, and one of them positive.")
    return torch.tensor(weights, dtype=torch.float32)
