"""What predictions that look at no image would score on the same labels.

Only the number of pixels of each true class is needed, which is the row sums of any prediction's
confusion matrix. The matrix of a random prediction holds expected counts, so its scores are those
of the expectation; over the thousands of pixels of one image the difference is far below a percent.
"""

from collections.abc import Sequence

import torch


def constant_prediction(confusion: torch.Tensor, predicted_class: int) -> torch.Tensor:
    """The confusion matrix of predicting one class everywhere.

    Args:
        confusion: (C, C), rows are true classes; the columns do not matter.
        predicted_class: the class, 0..C-1.

    Returns:
        (C, C) float64.
    """
    labelled = confusion.to(torch.float64).sum(dim=1)
    result = torch.zeros(len(labelled), len(labelled), dtype=torch.float64)
    result[:, predicted_class] = labelled
    return result


def random_prediction(confusion: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """The expected confusion matrix of drawing each pixel's class at random.

    Args:
        confusion: (C, C), rows are true classes; the columns do not matter.
        probabilities: (C,), the probability of each class; their sum is 1.

    Returns:
        (C, C) float64.

    Raises:
        ValueError: `probabilities` has another shape, a negative entry or another sum.
    """
    labelled = confusion.to(torch.float64).sum(dim=1)
    probabilities = probabilities.to(torch.float64)
    if probabilities.shape != labelled.shape:
        raise ValueError(
            f"probabilities: shape {tuple(probabilities.shape)}, expected {tuple(labelled.shape)}."
        )
    total = float(probabilities.sum())
    if bool((probabilities < 0).any()) or abs(total - 1) > 1e-9:
        raise ValueError(f"probabilities: {probabilities.tolist()}, expected none negative and the sum 1.")
    return torch.outer(labelled, probabilities)


def baseline_confusions(confusion: torch.Tensor, class_names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The confusion matrices of all baselines on the labels behind `confusion`.

    Args:
        confusion: (C, C), rows are true classes; all zero if every pixel is ignored.
        class_names: C names.

    Returns:
        By name, (C, C) float64: `all_<class>` for each class, `random_uniform` (each class equally
        likely) and `random_prevalence` (each class as likely as it is among the labels).
    """
    labelled = confusion.to(torch.float64).sum(dim=1)
    uniform = torch.full_like(labelled, 1 / len(labelled))
    prevalence = labelled / labelled.sum() if bool(labelled.any()) else uniform
    return {
        **{f"all_{name}": constant_prediction(confusion, k) for k, name in enumerate(class_names)},
        "random_uniform": random_prediction(confusion, uniform),
        "random_prevalence": random_prediction(confusion, prevalence),
    }
