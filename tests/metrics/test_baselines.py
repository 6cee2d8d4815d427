"""What predictions that look at nothing score."""

import pytest
import torch

from pylon.metrics.functional import (
    baseline_confusions,
    confusion_matrices,
    constant_prediction,
    random_prediction,
    segmentation_scores,
)

CONFUSION = torch.tensor([[880, 20], [70, 30]])  # 900 unchanged, 100 changed


@pytest.mark.parametrize("predicted_class", [0, 1])
def test_constant_prediction_counts_as_a_real_one_on_the_same_labels(predicted_class: int) -> None:
    target = torch.tensor([0] * 900 + [1] * 100).view(1, 20, 50)
    real = confusion_matrices(torch.full_like(target, predicted_class), target, 2)[0]
    assert torch.equal(constant_prediction(CONFUSION, predicted_class), real.double())


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9])
def test_random_prediction_is_the_mean_of_many_real_ones(q: float) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([0] * 900 + [1] * 100).expand(200, 1, -1)
    drawn = (torch.rand(target.shape, generator=generator) < q).long()
    mean = confusion_matrices(drawn, target, 2).double().mean(dim=0)
    expected = random_prediction(CONFUSION, torch.tensor([1 - q, q], dtype=torch.float64))
    assert torch.allclose(mean, expected, atol=3.0)


def test_f1_of_the_baselines_is_the_closed_form() -> None:
    p = 0.1
    matrices = baseline_confusions(CONFUSION, ["unchanged", "changed"])
    f1 = {
        name: segmentation_scores(matrix.unsqueeze(0), ["unchanged", "changed"])["f1_changed"].item()
        for name, matrix in matrices.items()
    }
    assert f1 == {
        "all_unchanged": 0.0,
        "all_changed": pytest.approx(2 * p / (1 + p)),
        "random_uniform": pytest.approx(2 * p * 0.5 / (p + 0.5)),
        "random_prevalence": pytest.approx(p),
    }


@pytest.mark.parametrize("probabilities", [[0.5, 0.6], [-0.1, 1.1], [1.0], [0.2, 0.3, 0.5]])
def test_probabilities_that_are_none_are_refused(probabilities: list[float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        random_prediction(CONFUSION, torch.tensor(probabilities))
