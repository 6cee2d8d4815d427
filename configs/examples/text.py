"""Text classification with sentences of any length: is a review of a film kind or unkind? It is generated."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import Dataset

from pylon.data import DataLoader
from pylon.metrics import BaseMetric, Direction
from pylon.runners import SupervisedSingleTaskTrainer

KIND = ("good", "great", "touching", "funny", "brilliant")
UNKIND = ("bad", "dull", "boring", "slow", "awful")
OTHER = ("the", "film", "was", "and", "its", "music", "a", "story", "that", "i", "saw", "in", "april")
VOCABULARY = {word: number for number, word in enumerate(("<pad>", "<other>", "not", *KIND, *UNKIND, *OTHER))}


class Sentences(Dataset[tuple[torch.Tensor, int]]):
    """Word numbers (L,) of a sentence, L from 3 to 30, and 1 if it is kind; `not` turns its word around.

    To change: read your texts and classes in `__init__`, and the words of a text in `__getitem__`.

    Args:
        seed: of the sentences; another one for each split.
        count: how many.
        forget: the share of words that are replaced by <other>, drawn at each access: augmentation.
    """

    def __init__(self, seed: int, count: int, forget: float = 0.0) -> None:
        generator = random.Random(seed)
        self.texts = [_sentence(generator) for _ in range(count)]
        self.forget = forget

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        text, kind = self.texts[index]
        words = torch.tensor([VOCABULARY.get(word, 1) for word in text.split()])
        return torch.where(torch.rand(len(words)) < self.forget, 1, words), kind


def _sentence(generator: random.Random) -> tuple[str, int]:
    kind = generator.randrange(2)
    turned = generator.randrange(2)
    judgement = [generator.choice(KIND if kind != turned else UNKIND)]
    words = generator.choices(OTHER, k=generator.randint(1, 28))
    place = generator.randint(0, len(words))
    words[place:place] = ["not", *judgement] if turned else ["a", *judgement]
    return " ".join(words), kind


def padded(datapoints: Sequence[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Word numbers (B, longest) and classes (B,), filled up with <pad>.

    To change: nothing for other texts; `torch.utils.data.default_collate` if all have one length.
    """
    words = nn.utils.rnn.pad_sequence([words for words, _ in datapoints], batch_first=True)
    return words, torch.tensor([kind for _, kind in datapoints])


class Classifier(nn.Module):
    """A convolution over three words, and the maximum of each channel.

    To change: any model that gives logits (B, classes) for word numbers (B, L).
    """

    def __init__(
        self, words: int = len(VOCABULARY), width: int = 32, classes: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes) of word numbers (B, L)."""
        seen = self.convolution(self.embedding(words).transpose(1, 2)).relu()
        logits: torch.Tensor = self.head(seen.masked_fill(words[:, None] == 0, 0.0).amax(dim=2))
        return logits


class Accuracy(BaseMetric):
    """The share of right answers, next to that of the most frequent class.

    To change: nothing but `classes`, or a metric of torchmetrics such as MulticlassF1Score.
    """

    directions: ClassVar[Mapping[str, Direction]] = {"accuracy": "higher"}

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.classes = classes

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        right = outputs.argmax(dim=1) == target
        return torch.cat([right[:, None].long(), nn.functional.one_hot(target, self.classes)], dim=1)

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": statistics[:, 0] / statistics[:, 1:].sum(dim=1)}

    def baselines(
        self, buffer: Mapping[int, torch.Tensor] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """See BaseMetric."""
        entries = self.get_buffer() if buffer is None else buffer
        of_class = torch.stack(list(entries.values()))[:, 1:].sum(dim=0)
        return {"most_frequent": {"accuracy": float(of_class.max() / of_class.sum())}}


def _split(seed: int, count: int, forget: float = 0.0) -> dict[str, Any]:
    return {"class": Sentences, "args": {"seed": seed, "count": count, "forget": forget}}


config = {
    "runner": {"class": SupervisedSingleTaskTrainer, "args": {"score": "accuracy"}},
    "work_dir": "logs/examples/text",
    "epochs": 5,
    "seed": 1,
    "model": {"class": Classifier, "args": {}},
    "criterion": {"class": nn.CrossEntropyLoss, "args": {}},
    "metric": {"class": Accuracy, "args": {}},
    "optimizer": {"class": torch.optim.AdamW, "args": {"lr": 0.01}},
    "train_dataset": _split(1, 1000, forget=0.02),
    "train_dataloader": {
        "class": DataLoader,
        "args": {"batch_size": 32, "shuffle": True, "num_workers": 2, "collate_fn": padded},
    },
    "val_dataset": _split(2, 200),
    "val_dataloader": {"class": DataLoader, "args": {"batch_size": 100, "collate_fn": padded}},
    "test_dataset": _split(3, 200),
    "test_dataloader": {"class": DataLoader, "args": {"batch_size": 100, "collate_fn": padded}},
}
