"""Regression on a table with the Trainer of Hugging Face."""

import sys

import torch
from transformers import EvalPrediction, Trainer, TrainingArguments

from pylon.configs.examples.tabular import Regressor, Table


class WithLoss(torch.nn.Module):
    """The model, with the loss that the Trainer expects of it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Regressor(mean=16.0, scale=6.0)

    def forward(
        self, numbers: torch.Tensor, category: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Loss and values."""
        values = self.model(numbers, category)
        return {"loss": torch.nn.functional.mse_loss(values, labels), "logits": values}


def scores(seen: EvalPrediction) -> dict[str, float]:
    """The root of the mean squared error."""
    return {"error": float(((seen.predictions - seen.label_ids) ** 2).mean() ** 0.5)}


if __name__ == "__main__":
    arguments = TrainingArguments(
        output_dir=sys.argv[1], num_train_epochs=10, learning_rate=0.01, weight_decay=0.01, seed=1,
        per_device_train_batch_size=64, per_device_eval_batch_size=500, lr_scheduler_type="cosine",
        eval_strategy="epoch", save_strategy="epoch", use_cpu=True, load_best_model_at_end=True,
        metric_for_best_model="error", greater_is_better=False, full_determinism=True,
        remove_unused_columns=False, report_to="none",
    )  # fmt: skip
    trainer = Trainer(WithLoss(), arguments, None, Table(1, 2000), Table(2, 500), compute_metrics=scores)
    trainer.train()
    print(trainer.evaluate(Table(3, 500), metric_key_prefix="test"))
