"""The recipes of the check with models that are wrong, each in a way that a part has to find."""

import random
from typing import Any

import torch

from pylon.models import HANet
from tests.gpu import recipes


class UnseededHANet(HANet):
    """In training it draws numbers that no seed decides."""

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(img_1, img_2)
        return logits * (1 + random.SystemRandom().random()) if self.training else logits


class BrokenModel(recipes.GreedyModel):
    """Ends the run by another error than that of used-up memory."""

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        raise ValueError("no memory is missing here")


def hanet(work_dir: str, **arguments: Any) -> recipes.Node:
    config = recipes.hanet(work_dir, **arguments)
    return {**config, "model": {**config["model"], "class": UnseededHANet}}


def greedy(work_dir: str) -> recipes.Node:
    return {**recipes.greedy(work_dir), "model": {"class": BrokenModel, "args": {}}}
