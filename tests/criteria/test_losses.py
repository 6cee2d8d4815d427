"""Focal, Dice and their sum: against plain NumPy, finite differences, and torch's cross-entropy."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from pylon.criteria import DiceLoss, FocalDiceLoss, FocalLoss

Array = NDArray[np.float64]
LOSSES = [FocalLoss(), FocalLoss(gamma=0.5), DiceLoss(), FocalDiceLoss(), FocalDiceLoss([0.2, 1.0, 1.8])]


def make_batch(classes: int = 3, ignored: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    logits = 2 * torch.randn(2, classes, 4, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (2, 4, 5), generator=generator)
    if ignored:
        target[torch.rand(2, 4, 5, generator=generator) < 0.3] = 255
    return logits, target


def labelled_pixels(logits: torch.Tensor, target: torch.Tensor) -> list[tuple[Array, int]]:
    """The class probabilities and the label of each pixel that counts."""
    pixels = []
    for b, y, x in np.ndindex(*target.shape):
        if int(target[b, y, x]) != 255:
            exponentials = np.exp(logits[b, :, y, x].numpy())
            pixels.append((exponentials / exponentials.sum(), int(target[b, y, x])))
    return pixels


def focal_by_hand(
    logits: torch.Tensor, target: torch.Tensor, gamma: float, weights: Sequence[float]
) -> float:
    numerator = denominator = 0.0
    for probabilities, label in labelled_pixels(logits, target):
        p = probabilities[label]
        numerator -= weights[label] * (1 - p) ** gamma * np.log(p)
        denominator += weights[label]
    return numerator / denominator


def dice_by_hand(logits: torch.Tensor, target: torch.Tensor) -> float:
    classes = logits.shape[1]
    pixels = labelled_pixels(logits, target)
    coefficients = []
    for k in range(classes):
        intersection = sum(probabilities[k] for probabilities, label in pixels if label == k)
        cardinality = sum(probabilities[k] for probabilities, _ in pixels) + sum(
            label == k for _, label in pixels
        )
        coefficients.append(2 * intersection / cardinality)
    return 1 - float(np.mean(coefficients))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("weights", [None, [0.25, 1.0, 1.75]])
def test_focal_loss_is_what_its_formula_says(gamma: float, weights: list[float] | None) -> None:
    logits, target = make_batch()
    expected = focal_by_hand(logits, target, gamma, weights or [1.0, 1.0, 1.0])
    assert FocalLoss(weights, gamma)(logits, target).item() == pytest.approx(expected, rel=1e-9)


def test_dice_loss_is_what_its_formula_says() -> None:
    logits, target = make_batch()
    assert DiceLoss()(logits, target).item() == pytest.approx(dice_by_hand(logits, target), rel=1e-9)


def test_sum_weighs_its_two_terms() -> None:
    logits, target = make_batch()
    weights = [0.5, 1.0, 1.5]
    expected = 0.3 * focal_by_hand(logits, target, 1.5, weights) + 2.0 * dice_by_hand(logits, target)
    loss = FocalDiceLoss(weights, gamma=1.5, focal_weight=0.3, dice_weight=2.0)(logits, target)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weights", [None, [0.0963, 1.9037]])
def test_focal_loss_without_gamma_is_cross_entropy(weights: list[float] | None) -> None:
    logits, target = make_batch(classes=2)
    logits, other = logits.float().requires_grad_(), logits.float().requires_grad_()
    tensor = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(other, target, weight=tensor, ignore_index=255)
    loss = FocalLoss(weights, gamma=0.0)(logits, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    torch.autograd.backward(expected)
    assert logits.grad is not None
    assert other.grad is not None
    assert torch.allclose(logits.grad, other.grad, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_is_that_of_finite_differences(loss: nn.Module) -> None:
    logits, target = make_batch()
    assert torch.autograd.gradcheck(lambda values: loss(values, target), (logits.requires_grad_(),))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_logits_of_ignored_pixels_change_neither_loss_nor_gradient(loss: nn.Module) -> None:
    logits, target = make_batch()
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    assert ignored.any()
    other = torch.where(ignored, -50 * logits, logits).requires_grad_()
    logits.requires_grad_()
    values = loss(logits, target), loss(other, target)
    assert values[0].item() == values[1].item()
    torch.autograd.backward(values)
    assert logits.grad is not None
    assert other.grad is not None
    assert torch.equal(logits.grad, other.grad)
    assert not logits.grad[ignored].any()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_wholly_ignored_batch_costs_nothing_and_moves_nothing(loss: nn.Module) -> None:
    logits, _ = make_batch()
    logits.requires_grad_()
    value = loss(logits, torch.full((2, 4, 5), 255))
    assert value.item() == 0.0
    value.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e2, 6e4])
def test_extreme_logits_give_finite_loss_and_gradient(
    loss: nn.Module, dtype: torch.dtype, size: float
) -> None:
    signs, target = make_batch()
    for factor in (1, -1):
        logits = (factor * size * signs.sign()).to(dtype).requires_grad_()
        value = loss(logits, target)
        value.backward()
        assert logits.grad is not None
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_certain_and_right_pixels_cost_nothing_with_a_finite_gradient(loss: nn.Module) -> None:
    target = torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
    logits = (200 * functional.one_hot(target, 3).movedim(-1, 1)).float().requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_batch_without_a_class_keeps_dice_finite_and_at_its_published_value() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = torch.stack(
        [torch.full((1, 4, 4), 200.0), torch.full((1, 4, 4), -200.0)], dim=1
    ).requires_grad_()
    value = DiceLoss()(logits, target)
    value.backward()
    assert value.item() == pytest.approx(0.5)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_class_of_weight_zero_does_not_count() -> None:
    logits, target = make_batch(classes=2, ignored=False)
    without_class_0 = target.clone()
    without_class_0[target == 0] = 255
    expected = FocalLoss()(logits, without_class_0).item()
    assert FocalLoss([0.0, 1.0])(logits, target).item() == pytest.approx(expected)
    assert FocalLoss([0.0, 1.0])(logits, torch.zeros_like(target)).item() == 0.0


@pytest.mark.parametrize("loss", [FocalLoss(), DiceLoss(), FocalDiceLoss()])
@pytest.mark.parametrize("value", [-1, 3, 254])
def test_label_outside_the_classes_is_refused(loss: nn.Module, value: int) -> None:
    logits, target = make_batch()
    target[0, 0, 0] = value
    with pytest.raises(ValueError, match=rf"target: values \[{value}\], expected 0\.\.2 or 255"):
        loss(logits, target)


@pytest.mark.parametrize("loss", [FocalLoss(), DiceLoss(), FocalDiceLoss()])
def test_shapes_and_types_that_do_not_fit_are_refused(loss: nn.Module) -> None:
    logits, target = make_batch()
    with pytest.raises(ValueError, match=r"expected \(B, C, H, W\) and \(B, H, W\)"):
        loss(logits, target[:, :2])
    with pytest.raises(ValueError, match=r"expected torch\.int64"):
        loss(logits, target.to(torch.uint8))


def test_wrong_number_of_class_weights_is_refused() -> None:
    logits, target = make_batch()
    for loss in (FocalLoss([1.0, 2.0]), FocalDiceLoss([1.0, 2.0])):
        with pytest.raises(ValueError, match="class_weights: 2 weights, expected one for each of the 3"):
            loss(logits, target)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], []])
def test_impossible_class_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="class_weights"):
        FocalDiceLoss(weights)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="gamma: -1"):
        FocalLoss(gamma=-1)
    with pytest.raises(ValueError, match="one of them positive"):
        FocalDiceLoss(focal_weight=0.0, dice_weight=0.0)
    with pytest.raises(ValueError, match="dice_weight"):
        FocalDiceLoss(dice_weight=float("nan"))


def test_class_weights_move_with_the_module_and_are_not_saved() -> None:
    loss = FocalDiceLoss([1.0, 2.0])
    assert loss.state_dict() == {}
    weights = loss.to("meta").focal.class_weights
    assert weights is not None
    assert weights.device.type == "meta"
