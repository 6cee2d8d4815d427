"""Tiles cover every pixel, count it once, and give a local model's own result."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pylon.models import FCSiamDiff, HANet, tiled_logits


class LocalModel(nn.Module):
    """Zero-padded convolutions: a pixel sees `radius` pixels around it."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(8 if k else 6, 8, 3, padding=1) for k in range(radius)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 if radius else 6, 2, 1)).double()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(img_1.shape[-2:]))
        logits: torch.Tensor = self.layers(torch.cat([img_1, img_2], dim=1))
        return logits


class Coordinates(nn.Module):
    """Gives every pixel back, so that a pixel in the wrong place or counted twice shows."""

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        return torch.cat([img_1, img_2], dim=1)


def inputs(*size: int) -> dict[str, torch.Tensor]:
    pair = torch.randn(2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return {"img_1": pair[0], "img_2": pair[1]}


@settings(max_examples=100)
@given(height=st.integers(1, 70), width=st.integers(1, 70), tile_size=st.integers(1, 40), data=st.data())
def test_every_pixel_is_covered_and_comes_out_where_it_was(
    height: int, width: int, tile_size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile_size - 1))
    image = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    result = tiled_logits(
        Coordinates(), {"img_1": image, "img_2": -image}, tile_size=tile_size, overlap=overlap
    )
    assert torch.allclose(result, torch.cat([image, -image], dim=1), rtol=1e-12)


@pytest.mark.parametrize("size", [(20, 20), (33, 50), (20, 61)])
@pytest.mark.parametrize("overlap", [0, 1, 7, 19])
def test_model_of_single_pixels_gives_what_it_gives_on_the_whole(size: tuple[int, int], overlap: int) -> None:
    model, pair = LocalModel(radius=0), inputs(2, 3, *size)
    with torch.no_grad():
        tiled = tiled_logits(model, pair, tile_size=20, overlap=overlap)
        assert tiled.shape == (2, 2, *size)
        assert torch.allclose(tiled, model(**pair), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("radius", "overlap"), [(1, 4), (2, 8), (2, 11), (3, 12)])
def test_model_that_sees_a_quarter_of_the_overlap_gives_what_it_gives_on_the_whole(
    radius: int, overlap: int
) -> None:
    model, pair = LocalModel(radius), inputs(1, 3, 45, 52)
    with torch.no_grad():
        whole = model(**pair)
        tiled = tiled_logits(model, pair, tile_size=20, overlap=overlap)
        assert torch.allclose(tiled, whole, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(tiled_logits(model, pair, tile_size=20, overlap=0), whole)


def test_tiles_of_one_image_all_have_the_tile_size_and_share_the_overlap() -> None:
    model = LocalModel(radius=0)
    with torch.no_grad():
        tiled_logits(model, inputs(1, 3, 45, 20), tile_size=20, overlap=5)
    assert model.shapes == [(20, 20)] * 3  # rows 0, 15 and 25


@pytest.mark.parametrize("size", [(20, 20), (12, 20), (5, 7)])
def test_image_no_larger_than_a_tile_is_predicted_whole(size: tuple[int, int]) -> None:
    model, pair = LocalModel(radius=3), inputs(1, 3, *size)
    with torch.no_grad():
        tiled = tiled_logits(model, pair, tile_size=20, overlap=8)
        assert model.shapes == [size]
        assert torch.equal(tiled, model(**pair))


def test_side_shorter_than_a_tile_is_not_divided() -> None:
    model = LocalModel(radius=0)
    with torch.no_grad():
        tiled_logits(model, inputs(1, 3, 12, 40), tile_size=20, overlap=0)
    assert model.shapes == [(12, 20), (12, 20)]


@pytest.mark.parametrize("model", [HANet(width=2), FCSiamDiff(width=2)])
def test_real_models_predict_a_large_image_by_tiles(model: nn.Module) -> None:
    pair = {name: value.float() for name, value in inputs(1, 3, 40, 64).items()}
    with torch.inference_mode():
        logits = tiled_logits(model.eval(), pair, tile_size=32, overlap=8)
    assert logits.shape == (1, 2, 40, 64)
    assert torch.isfinite(logits).all()


def test_gradient_flows_through_tiles() -> None:
    model, pair = LocalModel(radius=1), inputs(1, 3, 24, 24)
    logits = tiled_logits(model, pair, tile_size=16, overlap=4)
    torch.autograd.backward(logits.sum())
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("tile_size", "overlap"), [(16, 16), (16, -1), (0, 0)])
def test_impossible_tiles_are_refused(tile_size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= overlap < tile_size"):
        tiled_logits(Coordinates(), inputs(1, 1, 8, 8), tile_size=tile_size, overlap=overlap)


def test_images_of_different_size_are_refused() -> None:
    pair = inputs(1, 1, 40, 40)
    pair["img_2"] = pair["img_2"][..., :30]
    with pytest.raises(ValueError, match="expected one size for all"):
        tiled_logits(Coordinates(), pair, tile_size=16, overlap=4)


def test_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="height 0 and width 8"):
        tiled_logits(Coordinates(), inputs(1, 1, 0, 8), tile_size=16, overlap=4)
