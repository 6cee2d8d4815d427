"""Change-detection models, called as `model(img_1, img_2)`, and prediction of large images by tiles."""

from pylon import require_namespace as _require_namespace
from pylon.models.fc_siam import FCEF, FCSiamConc, FCSiamDiff
from pylon.models.hanet import HANet
from pylon.models.tiled import tiled_logits

__all__ = ["FCEF", "FCSiamConc", "FCSiamDiff", "HANet", "tiled_logits"]

_require_namespace(__name__)
