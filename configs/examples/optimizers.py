"""Parameter groups, and a schedule that warms up before it anneals."""

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from pylon.configs.examples.own_classes import MirrorTrainer
from pylon.configs.examples.own_classes import config as training

groups = [
    {"kind": "norms_and_biases", "weight_decay": 0.0},
    {"pattern": "layers.0.*", "lr": 0.005},
]
warm_up = {"class": LinearLR, "args": {"start_factor": 0.1, "total_iters": 2}}
anneal = {"class": CosineAnnealingLR, "args": {"T_max": 4}}

config = {
    **training,
    "work_dir": "logs/examples/optimizers",
    "runner": {
        "class": MirrorTrainer,
        "args": {"score": "wrong", "mirror_weight": 0.0, "parameter_groups": groups},
    },
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01, "weight_decay": 0.05}},
    "scheduler": {"class": SequentialLR, "args": {"schedulers": [warm_up, anneal], "milestones": [2]}},
}
