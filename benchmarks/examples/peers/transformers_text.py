"""Text classification with the Trainer of Hugging Face."""

import sys
from collections.abc import Sequence

import torch
from transformers import EvalPrediction, Trainer, TrainingArguments

from pylon.configs.examples.text import Classifier, Sentences, padded


class WithLoss(torch.nn.Module):
    """The model, with the loss that the Trainer expects of it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Classifier()

    def forward(self, words: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits."""
        logits = self.model(words)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def named(datapoints: Sequence[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    """A batch as the model's arguments."""
    words, kinds = padded(datapoints)
    return {"words": words, "labels": kinds}


def scores(seen: EvalPrediction) -> dict[str, float]:
    """The accuracy."""
    return {"accuracy": float((seen.predictions.argmax(1) == seen.label_ids).mean())}


if __name__ == "__main__":
    arguments = TrainingArguments(
        output_dir=sys.argv[1], num_train_epochs=5, learning_rate=0.01, weight_decay=0.01, seed=1,
        per_device_train_batch_size=32, per_device_eval_batch_size=100, dataloader_num_workers=2,
        lr_scheduler_type="constant", eval_strategy="epoch", save_strategy="epoch", use_cpu=True,
        load_best_model_at_end=True, metric_for_best_model="accuracy", full_determinism=True,
        remove_unused_columns=False, report_to="none",
    )  # fmt: skip
    trainer = Trainer(
        WithLoss(), arguments, named, Sentences(1, 1000, 0.02), Sentences(2, 200), compute_metrics=scores
    )
    trainer.train()
    print(trainer.evaluate(Sentences(3, 200), metric_key_prefix="test"))
