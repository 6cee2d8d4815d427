"""FC-EF, FC-Siam-conc and FC-Siam-diff: layers, sizes, gradients."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from pylon.criteria import FocalDiceLoss
from pylon.models import FCEF, FCSiamConc, FCSiamDiff

Model = type[FCEF] | type[FCSiamConc] | type[FCSiamDiff]
MODELS = [FCEF, FCSiamConc, FCSiamDiff]


def image_pair(*size: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    pair = torch.randn(2, *size, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return pair[0], pair[1]


def published_count(in_channels: int, skips: int) -> int:
    """Weights and biases of all 3x3 convolutions, and two numbers per channel of batch norm."""
    encoder = [in_channels, 16, 16, 32, 32, 64, 64, 64, 128, 128, 128]
    layers = list(pairwise(encoder))
    decoder = [
        (128 + skips * 128, 128), (128, 128), (128, 64),
        (64 + skips * 64, 64), (64, 64), (64, 32),
        (32 + skips * 32, 32), (32, 16),
        (16 + skips * 16, 16),
    ]  # fmt: skip
    plain = [(128, 128), (64, 64), (32, 32), (16, 16), (16, 2)]  # upsampling, and the last: no batch norm
    normalised = sum(9 * a * b + 3 * b for a, b in layers + decoder)
    return normalised + sum(9 * a * b + b for a, b in plain)


@pytest.mark.parametrize(
    ("model", "in_channels", "skips", "count"),
    [(FCEF, 6, 1, 1_350_578), (FCSiamConc, 3, 2, 1_545_986), (FCSiamDiff, 3, 1, 1_350_146)],
)
def test_number_of_parameters_follows_from_the_layers_of_the_publication(
    model: Model, in_channels: int, skips: int, count: int
) -> None:
    assert sum(parameter.numel() for parameter in model().parameters()) == count
    assert published_count(in_channels, skips) == count


class Published:
    """The networks as their description reads, in evaluation mode, from the weights of a model."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self.state = state

    def layer(
        self, name: str, x: torch.Tensor, function: Callable[..., torch.Tensor], norm: str | None
    ) -> torch.Tensor:
        x = function(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=1)
        if norm is None:
            return x
        mean, var, weight, bias = (
            self.state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu(functional.batch_norm(x, mean, var, weight, bias))

    def encode(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        skips = []
        for k, depth in enumerate((2, 2, 3, 3)):
            for n in range(depth):
                stage = f"encoder.stages.{k}"
                x = self.layer(f"{stage}.{4 * n}", x, functional.conv2d, f"{stage}.{4 * n + 1}")
            skips.append(x)
            x = functional.max_pool2d(x, 2, 2)
        return skips, x

    def decode(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        for k, depth in enumerate((3, 3, 2, 2)):
            stage, skip = f"decoder.stages.{k}", skips[3 - k]
            weight, bias = self.state[f"{stage}.enlargement.weight"], self.state[f"{stage}.enlargement.bias"]
            x = functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
            while x.shape[-2] < skip.shape[-2]:
                x = torch.cat([x, x[..., -1:, :]], dim=-2)
            while x.shape[-1] < skip.shape[-1]:
                x = torch.cat([x, x[..., -1:]], dim=-1)
            x = torch.cat([x, skip], dim=1)
            for n in range(depth):
                last = (k, n) == (3, 1)
                name = f"{stage}.convolutions.{4 * n}"
                norm = None if last else f"{stage}.convolutions.{4 * n + 1}"
                x = self.layer(name, x, functional.conv_transpose2d, norm)
        return x

    def __call__(self, model: Model, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        if model is FCEF:
            skips, x = self.encode(torch.cat([img_1, img_2], dim=1))
            return self.decode(x, skips)
        skips_1, _ = self.encode(img_1)
        skips_2, x = self.encode(img_2)
        if model is FCSiamConc:
            return self.decode(x, [torch.cat(pair, dim=1) for pair in zip(skips_1, skips_2, strict=True)])
        return self.decode(
            x, [(first - second).abs() for first, second in zip(skips_1, skips_2, strict=True)]
        )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(16, 32), (33, 47)])
def test_model_computes_the_published_network(model: Model, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = model(width=4).double()
    pair = image_pair(2, 3, *size, dtype=torch.float64)
    network(*pair)  # moves the statistics of batch norm
    network.eval()
    with torch.no_grad():
        expected = Published(network.state_dict())(model, *pair)
        assert torch.allclose(network(*pair), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (31, 48), (49, 33)])
def test_logits_have_the_size_of_any_image(model: Model, size: tuple[int, int]) -> None:
    network = model(in_channels=4, num_classes=3, width=2).eval()
    with torch.inference_mode():
        logits = network(*image_pair(2, 4, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("model", MODELS)
def test_result_is_logits_and_no_log_probabilities(model: Model) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        logits = model(width=4).eval()(*image_pair(1, 3, 16, 16))
    assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(1, 16, 16), atol=1e-2)


@pytest.mark.parametrize("model", MODELS)
def test_image_too_small_for_four_poolings_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="height 15 and width 32, expected 16 or more"):
        model(width=2)(*image_pair(1, 3, 15, 32))


@pytest.mark.parametrize("model", MODELS)
def test_images_of_different_shape_are_refused(model: Model) -> None:
    img_1, img_2 = image_pair(2, 3, 16, 16)
    with pytest.raises(ValueError, match="expected the same"):
        model(width=2)(img_1, img_2[:1])


@pytest.mark.parametrize("model", MODELS)
def test_loss_is_finite_and_a_gradient_reaches_every_parameter(model: Model) -> None:
    torch.manual_seed(0)
    network = model(width=4, dropout=0.0)
    target = torch.randint(2, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    loss = FocalDiceLoss()(network(*image_pair(2, 3, 32, 32)), target)
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if parameter.ndim > 1:
            assert parameter.grad.any(), name


@pytest.mark.parametrize("model", MODELS)
def test_dropout_is_random_in_training_only(model: Model) -> None:
    torch.manual_seed(0)
    network, pair = model(width=4), image_pair(2, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(network(*pair), network(*pair))
        network.eval()
        assert torch.equal(network(*pair), network(*pair))
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout2d)} == {0.2}


@pytest.mark.parametrize("model", MODELS)
def test_order_of_the_dates_matters(model: Model) -> None:
    torch.manual_seed(0)
    network = model(width=4, dropout=0.0)
    img_1, img_2 = image_pair(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(network(img_1, img_2), network(img_2, img_1), atol=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_names_of_the_weights_are_stable_for_checkpoints(model: Model) -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = []
    for part, depths, infix in (("encoder", (2, 2, 3, 3), ""), ("decoder", (3, 3, 2, 2), ".convolutions")):
        for k, depth in enumerate(depths):
            stage = f"{part}.stages.{k}"
            for n in range(depth):
                names += [f"{stage}{infix}.{4 * n}.{kind}" for kind in ("weight", "bias")]
                if (part, k, n) != ("decoder", 3, 1):
                    names += [f"{stage}{infix}.{4 * n + 1}.{kind}" for kind in norm]
            if part == "decoder":
                names += [f"{stage}.enlargement.{kind}" for kind in ("weight", "bias")]
    assert sorted(model(width=2).state_dict()) == sorted(names)
