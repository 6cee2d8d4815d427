"""HANet: the published arithmetic, sizes, gradients."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pylon.criteria import FocalDiceLoss
from pylon.models import HANet
from pylon.models.hanet.attention import AxialAttention, ChannelAttention
from pylon.models.hanet.decoder import Decoder


def image_pair(*size: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    pair = torch.randn(2, *size, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return pair[0], pair[1]


def wake(model: nn.Module) -> None:
    """Give attention its say, and batch norm statistics that are not those of a new model."""
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, (ChannelAttention, AxialAttention)):
            module.gamma.data.fill_(0.6)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)


class Published:
    """HANet as its description reads, one line after another, from the weights of a model.

    Evaluation mode; nothing is shared with the implementation but the names of the weights.
    """

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self.state = state

    def conv(
        self, name: str, x: torch.Tensor, padding: int = 0, dilation: int = 1, groups: int = 1
    ) -> torch.Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return functional.conv2d(x, weight, bias, padding=padding, dilation=dilation, groups=groups)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def prelu(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, self.state[f"{name}.weight"] * x)

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        x = self.conv("encoder.stem", image, padding=2)
        levels = []
        for k in range(4):
            cell = f"encoder.cells.{k}"
            if k:
                height, width = x.shape[-2:]
                x = x.reshape(*x.shape[:2], height // 2, 2, width // 2, 2).mean(dim=(3, 5))
            identity = self.conv(f"{cell}.convolution", x, padding=1)
            x = torch.relu(self.norm(f"{cell}.refinement.0", identity))
            x = self.norm(f"{cell}.refinement.3", self.conv(f"{cell}.refinement.2", x))
            x = torch.relu(x + identity)
            levels.append(x)
        return levels

    def channel_attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        weights = torch.softmax(energy.max(dim=-1, keepdim=True).values - energy, dim=-1)
        return self.state[f"{name}.gamma"] * (weights @ flat).reshape(x.shape) + x

    def axial_attention(self, name: str, x: torch.Tensor, columns: bool) -> torch.Tensor:
        query, key, value = (self.conv(f"{name}.{part}", x) for part in ("query", "key", "value"))
        energy, mix = (
            ("bchw,bcgw->bwhg", "bwhg,bcgw->bchw") if columns else ("bchw,bchg->bhwg", "bhwg,bchg->bchw")
        )
        weights = torch.softmax(torch.einsum(energy, query, key), dim=-1)
        return self.state[f"{name}.gamma"] * torch.einsum(mix, weights, value) + x

    def join(self, k: int, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        both, name = torch.cat([first, second], dim=1), f"attention.{k}"
        groups = first.shape[1] // 2
        parallel = [
            self.conv(f"{name}.parallel.branches.{d - 1}", both, padding=d, dilation=d, groups=groups)
            for d in (1, 2, 3, 4)
        ]
        p = self.conv(f"{name}.parallel.mixture", torch.cat(parallel, dim=1))
        branch = f"{name}.channel_branch"
        x = self.prelu(f"{branch}.2", self.norm(f"{branch}.1", self.conv(f"{branch}.0", p, padding=1)))
        x = self.channel_attention(f"{branch}.3", x)
        x = self.prelu(f"{branch}.6", self.norm(f"{branch}.5", self.conv(f"{branch}.4", x, padding=1)))
        columns = self.axial_attention(f"{name}.axial_branch.0", p, columns=True)
        return x + self.axial_attention(f"{name}.axial_branch.1", columns, columns=False)

    def __call__(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        levels = [
            self.join(k, *pair)
            for k, pair in enumerate(zip(self.encode(img_1), self.encode(img_2), strict=True))
        ]
        decoded = levels[3]
        for level in (levels[2], levels[1], levels[0]):
            enlarged = functional.interpolate(decoded, scale_factor=2, mode="bilinear", align_corners=False)
            decoded = torch.cat([level, enlarged], dim=1)
        return self.conv("decoder.classifier", self.conv("decoder.mixture", decoded), padding=1)


def test_default_model_has_exactly_the_live_parameters_of_the_publication() -> None:
    # 3,029,444 in the published code, less four convolutions that it never calls:
    unused = sum(
        9 * fan_in * fan_out + fan_out for fan_in, fan_out in ((320, 80), (160, 80), (80, 80), (40, 40))
    )
    count = sum(parameter.numel() for parameter in HANet().parameters())
    assert count == 3_029_444 - unused == 2_611_564


@pytest.mark.parametrize("size", [(16, 24), (32, 8)])
def test_model_computes_the_published_network(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = HANet(width=4, exact_energy=True).double().eval()
    wake(model)
    pair = image_pair(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        logits = model(*pair)
        expected = Published(model.state_dict())(*pair)
    assert torch.allclose(logits, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


def test_new_model_computes_the_published_network_with_the_finite_energy_too() -> None:
    torch.manual_seed(0)
    model = HANet(width=4).double().eval()
    pair = image_pair(1, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(*pair), Published(model.state_dict())(*pair), rtol=1e-9, atol=1e-9)


def test_finite_energy_differs_from_the_published_one_once_attention_is_learnt() -> None:
    torch.manual_seed(0)
    model, exact = HANet(width=4).eval(), HANet(width=4, exact_energy=True).eval()
    wake(model)
    exact.load_state_dict(model.state_dict())
    pair = image_pair(1, 3, 16, 16)
    with torch.no_grad():
        first, second = model(*pair), exact(*pair)
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, second)


def test_decoder_is_the_published_concatenation() -> None:
    decoder = Decoder((4, 8, 16, 32), hidden_channels=6, num_classes=3).double()
    levels = [torch.randn(2, 4 * 2**k, 16 // 2**k, 24 // 2**k, dtype=torch.float64) for k in range(4)]
    decoded = levels[3]
    for level in levels[2::-1]:
        enlarged = functional.interpolate(decoded, scale_factor=2, mode="bilinear", align_corners=False)
        decoded = torch.cat([level, enlarged], dim=1)
    expected = decoder.classifier(decoder.mixture(decoded))
    assert torch.allclose(decoder(levels), expected, rtol=1e-10, atol=1e-12)


def test_pooling_at_256_gives_the_same_bits_as_the_published_fixed_sizes() -> None:
    torch.manual_seed(0)
    model = HANet(width=2).eval()
    pair = image_pair(1, 3, 256, 256)

    class FixedSizes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.adaptive_avg_pool2d(x, {256: 128, 128: 64, 64: 32}[x.shape[-1]])

    with torch.inference_mode():
        ours = model(*pair)
        model.encoder.pool = FixedSizes()  # type: ignore[assignment]
        assert torch.equal(model(*pair), ours)


@pytest.mark.parametrize("size", [(8, 8), (16, 40), (112, 112)])
def test_logits_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    model = HANet(in_channels=4, num_classes=3, width=2).eval()
    with torch.inference_mode():
        logits = model(*image_pair(2, 4, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.dtype == torch.float32


def test_shapes_without_numbers_are_computed_by_tools_that_ask_for_them() -> None:
    with torch.device("meta"):
        model = HANet(width=8)
        image = torch.rand(1, 3, 32, 32)
    logits = model(image, image)
    assert logits.shape == (1, 2, 32, 32)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [(12, 16), (16, 20), (7, 7)])
def test_size_that_is_no_multiple_of_8_is_refused_with_its_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"height {size[0]} and width {size[1]}, expected multiples of 8"):
        HANet(width=2)(*image_pair(1, 3, *size))


def test_images_of_different_shape_are_refused() -> None:
    img_1, img_2 = image_pair(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"shapes \(1, 3, 16, 16\) and \(1, 3, 16, 8\)"):
        HANet(width=2)(img_1, img_2[..., :8])


@pytest.mark.parametrize("width", [0, -2, 5])
def test_width_that_the_grouped_convolutions_cannot_use_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width: {width}, expected an even number"):
        HANet(width=width)


@pytest.mark.parametrize("exact_energy", [False, True])
def test_loss_is_finite_and_a_gradient_reaches_every_parameter(exact_energy: bool) -> None:
    torch.manual_seed(0)
    model = HANet(width=4, exact_energy=exact_energy)
    target = torch.randint(2, (2, 16, 16), generator=torch.Generator().manual_seed(0))
    start = FocalDiceLoss()(model(*image_pair(2, 3, 16, 16)), target)
    assert torch.isfinite(start)
    wake(model)
    FocalDiceLoss()(model(*image_pair(2, 3, 16, 16)), target).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if parameter.ndim > 1 or "gamma" in name:
            assert parameter.grad.any(), name


def test_order_of_the_dates_matters() -> None:
    torch.manual_seed(0)
    model = HANet(width=4).eval()
    img_1, img_2 = image_pair(1, 3, 16, 16)
    with torch.inference_mode():
        assert not torch.allclose(model(img_1, img_2), model(img_2, img_1))


def test_batch_norm_sees_one_date_at_a_time() -> None:
    model = HANet(width=2).train()
    img_1, img_2 = image_pair(2, 3, 16, 16)
    cell: Any = model.encoder.cells[0]
    with torch.no_grad():
        model(img_1, 10 * img_2)
        first, second = (
            cell.convolution(model.encoder.stem(image)).mean(dim=(0, 2, 3)) for image in (img_1, 10 * img_2)
        )
    expected = 0.9 * (0.1 * first) + 0.1 * second  # momentum 0.1, once per date
    assert torch.allclose(cell.refinement[0].running_mean, expected, atol=1e-5)


def test_weights_start_as_published() -> None:
    torch.manual_seed(0)
    model = HANet(width=16)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4 and parameter.numel() > 4000:
            fan_out = parameter.shape[0] * parameter.shape[2] * parameter.shape[3]
            assert parameter.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1), name
        if name.endswith("gamma"):
            assert parameter.item() == 0.0
        if name.endswith((".1.weight", ".5.weight")) and "channel_branch" in name:
            assert torch.equal(parameter, torch.ones_like(parameter))


def test_same_seed_makes_the_same_model() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(HANet(width=2).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_names_of_the_weights_are_stable_for_checkpoints() -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["encoder.stem.weight", "encoder.stem.bias"]
    for k in range(4):
        cell, level = f"encoder.cells.{k}", f"attention.{k}"
        names += [f"{cell}.convolution.weight", f"{cell}.convolution.bias", f"{cell}.refinement.2.weight"]
        names += [f"{cell}.refinement.{n}.{part}" for n in (0, 3) for part in norm]
        convolutions = [f"parallel.branches.{d}" for d in range(4)]
        convolutions += ["parallel.mixture", "channel_branch.0", "channel_branch.4"]
        convolutions += [f"axial_branch.{a}.{part}" for a in (0, 1) for part in ("query", "key", "value")]
        names += [f"{level}.{name}.{part}" for name in convolutions for part in ("weight", "bias")]
        names += [f"{level}.channel_branch.{n}.{part}" for n in (1, 5) for part in norm]
        names += [f"{level}.channel_branch.{n}.weight" for n in (2, 6)]
        names += [
            f"{level}.{name}.gamma" for name in ("channel_branch.3", "axial_branch.0", "axial_branch.1")
        ]
    names += ["decoder.mixture.weight", "decoder.mixture.bias", "decoder.classifier.weight"]
    assert sorted(HANet(width=2).state_dict()) == sorted(names)
