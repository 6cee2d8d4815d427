"""Three stages in one file: a training, a second one that starts from its weights, and a test of those."""

import torch

from pylon.configs.examples.own_classes import MirrorTrainer
from pylon.configs.examples.own_classes import config as training
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of

how = {"score": "wrong", "mirror_weight": 0.0, "initial_checkpoint": "stage:pretrain"}

finetuning = {
    **training,
    "epochs": 2,
    "seed": 2,
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.001}},
    "runner": {"class": MirrorTrainer, "args": how},
}

config = {
    "work_dir": "logs/examples/stages",
    "stages": {
        "pretrain": training,
        "finetune": finetuning,
        "test": evaluation_of(finetuning, SupervisedSingleTaskEvaluator, checkpoint="stage:finetune"),
    },
}
