"""Losses, called as `criterion(logits, target)`."""

from pylon import require_namespace as _require_namespace
from pylon.criteria.segmentation import DiceLoss, FocalDiceLoss, FocalLoss

__all__ = ["DiceLoss", "FocalDiceLoss", "FocalLoss"]

_require_namespace(__name__)
