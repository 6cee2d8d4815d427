"""The base of the change detection datasets: images and label maps, checked one by one."""

from typing import Any

import torch

from pylon.data.collate import shown
from pylon.data.dataset import BaseDataset
from pylon.data.errors import DatasetContractError

_INPUT = (torch.float32, 3, "(C, H, W)")
_LABEL = (torch.int64, 2, "(H, W)")


class ChangeDetectionDataset(BaseDataset):
    """Inputs are images, float32 (C, H, W); labels are maps of classes, int64 (H, W)."""

    def _check(self, inputs: dict[str, Any], labels: dict[str, Any], meta_info: dict[str, Any]) -> None:
        super()._check(inputs, labels, meta_info)
        for what, given, (dtype, dims, shape) in (("inputs", inputs, _INPUT), ("labels", labels, _LABEL)):
            for key, value in given.items():
                if not isinstance(value, torch.Tensor) or value.dtype != dtype or value.ndim != dims:
                    raise DatasetContractError(
                        f"{type(self).__name__}._load_datapoint gives {what}[{key!r}] as {shown(value)}, "
                        f"expected {shape} {dtype}."
                    )
