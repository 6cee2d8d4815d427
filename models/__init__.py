"""Change-detection models, called as `model(img_1, img_2)`, and prediction of large images by tiles."""

from models.fc_siam import FCEF, FCSiamConc, FCSiamDiff
from models.hanet import HANet
from models.tiled import tiled_logits

__all__ = ["FCEF", "FCSiamConc", "FCSiamDiff", "HANet", "tiled_logits"]
