"""Losses, called as `criterion(logits, target)`."""

from criteria.segmentation import DiceLoss, FocalDiceLoss, FocalLoss

__all__ = ["DiceLoss", "FocalDiceLoss", "FocalLoss"]
