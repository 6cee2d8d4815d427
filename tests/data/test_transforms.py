from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pylon.data import Datapoint
from pylon.data.transforms import (
    ColorJitter,
    Compose,
    Normalize,
    RandomCrop,
    RandomFlip,
    RandomRot90,
    Resize,
    Transform,
)
from tests.data.samples import coordinates, label_of

SEEDS = st.integers(0, 2**63 - 1)


def pair(height: int = 24, width: int = 32) -> Datapoint:
    image, label = coordinates(height, width)
    return {
        "inputs": {"img_1": image, "img_2": image.clone()},
        "labels": {"change_map": label},
        "meta_info": {"idx": 0},
    }


def apply(transform: Transform, seed: int, datapoint: Datapoint | None = None) -> Datapoint:
    return transform(datapoint or pair(), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "transform", [RandomCrop((10, 17)), RandomRot90(), RandomFlip()], ids=lambda t: type(t).__name__
)
@given(seed=SEEDS)
def test_label_and_both_dates_move_together(transform: Transform, seed: int) -> None:
    moved = apply(transform, seed)
    first, second = moved["inputs"].values()
    assert torch.equal(first, second)
    assert torch.equal(moved["labels"]["change_map"], label_of(first))


def places(results: list[Datapoint]) -> set[tuple[float, ...]]:
    return {
        tuple(result["inputs"]["img_1"][:2, 0, 0].tolist()) + tuple(result["inputs"]["img_1"].shape)
        for result in results
    }


def test_every_place_of_a_crop_occurs_and_no_other() -> None:
    results = [apply(RandomCrop((23, 30)), seed) for seed in range(120)]
    assert len(places(results)) == 2 * 3


def test_crop_as_large_as_the_image_keeps_it() -> None:
    assert torch.equal(apply(RandomCrop((24, 32)), 0)["inputs"]["img_1"], pair()["inputs"]["img_1"])


def test_crop_larger_than_the_image_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"\(25, 25\) does not fit into 24 x 32"):
        apply(RandomCrop(25), 0)


def test_all_four_rotations_occur_and_turn_back() -> None:
    image = pair()["inputs"]["img_1"]
    turned = [apply(RandomRot90(), seed)["inputs"]["img_1"] for seed in range(40)]
    kinds = {
        turns
        for result in turned
        for turns in range(4)
        if torch.equal(torch.rot90(image, turns, (1, 2)), result)
    }
    assert kinds == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("flip", "dims"),
    [(RandomFlip(1, 0), (2,)), (RandomFlip(0, 1), (1,)), (RandomFlip(1, 1), (1, 2)), (RandomFlip(0, 0), ())],
)
def test_flip_with_certainty_mirrors_that_axis_alone(flip: RandomFlip, dims: tuple[int, ...]) -> None:
    assert torch.equal(apply(flip, 3)["inputs"]["img_1"], pair()["inputs"]["img_1"].flip(dims))


def test_both_flips_are_drawn_independently() -> None:
    assert len(places([apply(RandomFlip(), seed) for seed in range(40)])) == 4


@pytest.mark.parametrize("size", [8, 24, (48, 64), (13, 90)])
def test_resize_gives_the_size_and_invents_no_class(size: int | tuple[int, int]) -> None:
    datapoint = pair()
    datapoint["labels"]["change_map"][0, :5] = 255
    resized = apply(Resize(size), 0, datapoint)
    expected = (size, size) if isinstance(size, int) else size
    assert resized["inputs"]["img_2"].shape == (3, *expected)
    assert resized["labels"]["change_map"].shape == expected
    assert resized["labels"]["change_map"].dtype == torch.int64
    assert set(resized["labels"]["change_map"].unique().tolist()) <= {0, 1, 255}


def test_enlarged_label_lies_on_the_enlarged_image() -> None:
    resized = apply(Resize((96, 128)), 0)
    expected = pair()["labels"]["change_map"].repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(resized["labels"]["change_map"], expected)


def test_jitter_changes_each_date_on_its_own_and_never_the_label() -> None:
    jittered = apply(ColorJitter(0.4, 0.4, 0.4, 0.1), 5)
    first, second = jittered["inputs"].values()
    original = pair()
    assert not torch.equal(first, original["inputs"]["img_1"])
    assert not torch.equal(first, second)
    assert torch.equal(jittered["labels"]["change_map"], original["labels"]["change_map"])


@given(seed=SEEDS)
def test_jitter_stays_in_range(seed: int) -> None:
    jittered = apply(ColorJitter(1.0, 1.0, 1.0, 0.5), seed)
    for image in jittered["inputs"].values():
        assert image.min() >= 0
        assert image.max() <= 1


def test_jitter_of_probability_zero_keeps_the_bits() -> None:
    jittered = apply(ColorJitter(1.0, 1.0, 1.0, 0.5, probability=0.0), 5)
    assert torch.equal(jittered["inputs"]["img_1"], pair()["inputs"]["img_1"])


@pytest.mark.parametrize("hue", [0.0, 0.5])
def test_grey_has_no_hue_and_no_saturation_to_change(hue: float) -> None:
    datapoint = pair()
    datapoint["inputs"] = dict.fromkeys(datapoint["inputs"], torch.full((3, 8, 8), 0.4))
    jittered = apply(ColorJitter(saturation=1.0, hue=hue), 5, datapoint)
    torch.testing.assert_close(jittered["inputs"]["img_1"], torch.full((3, 8, 8), 0.4))


def test_third_of_a_turn_makes_red_green() -> None:
    datapoint = pair()
    red = torch.zeros(3, 4, 4)
    red[0] = 0.6
    datapoint["inputs"] = {"img_1": red, "img_2": red}

    jitter = ColorJitter(hue=1 / 3)
    # The turn is drawn from -1/3 to 1/3: take a seed that draws nearly 1/3.
    seed = max(range(400), key=lambda s: float(torch.rand(5, generator=torch.Generator().manual_seed(s))[4]))
    green = apply(jitter, seed, datapoint)["inputs"]["img_1"][:, 0, 0]
    assert green.argmax() == 1
    assert green[1] > 0.55


def test_normalisation_is_per_date_and_channel() -> None:
    mean = {"img_1": [0.1, 0.2, 0.3], "img_2": [0.4, 0.5, 0.6]}
    std = {"img_1": [1.0, 2.0, 4.0], "img_2": [0.5, 0.25, 0.125]}
    normalised = apply(Normalize(mean, std), 0)
    for name, image in pair()["inputs"].items():
        for channel in range(3):
            expected = (image[channel] - mean[name][channel]) / std[name][channel]
            torch.testing.assert_close(normalised["inputs"][name][channel], expected)


@pytest.mark.parametrize(
    ("mean", "std", "told"),
    [
        ({"img_1": [0.5]}, {"img_2": [0.5]}, "same inputs"),
        ({"img_1": [0.5]}, {"img_1": [0.0]}, "above 0"),
        ({"img_1": [0.5, 0.5]}, {"img_1": [0.5]}, "one of each per channel"),
    ],
)
def test_normalisation_that_makes_no_sense_is_refused(
    mean: dict[str, list[float]], std: dict[str, list[float]], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Normalize(mean, std)


def test_one_number_for_three_channels_is_refused_rather_than_spread() -> None:
    one = {"img_1": [0.5], "img_2": [0.5]}
    with pytest.raises(ValueError, match="1 numbers for 3 channels"):
        apply(Normalize(one, one), 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomFlip(horizontal=1.5),
        lambda: RandomFlip(vertical=-0.1),
        lambda: ColorJitter(brightness=2.0),
        lambda: ColorJitter(hue=0.7),
        lambda: ColorJitter(probability=-1.0),
        lambda: RandomCrop(0),
        lambda: Resize((8, 0)),
    ],
)
def test_argument_out_of_range_is_refused(make: Callable[[], Transform]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


def test_transforms_leave_the_given_datapoint_as_it_is() -> None:
    original, given_one = pair(), pair()
    everything = Compose(
        [RandomCrop(20), RandomRot90(), RandomFlip(1, 1), ColorJitter(0.5, 0.5, 0.5, 0.2), Resize(10)]
    )
    apply(everything, 1, given_one)
    assert torch.equal(original["inputs"]["img_1"], given_one["inputs"]["img_1"])
    assert torch.equal(original["labels"]["change_map"], given_one["labels"]["change_map"])


@pytest.mark.slow
@given(seed=SEEDS)
def test_same_seed_same_bits_for_any_number_of_threads(seed: int) -> None:
    everything = Compose([RandomFlip(), ColorJitter(0.5, 0.5, 0.5, 0.2), Resize((200, 310))])
    former = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = apply(everything, seed, pair(230, 260))
        torch.set_num_threads(3)
        three = apply(everything, seed, pair(230, 260))
    finally:
        torch.set_num_threads(former)
    assert torch.equal(one["inputs"]["img_1"], three["inputs"]["img_1"])
    assert torch.equal(one["inputs"]["img_2"], three["inputs"]["img_2"])
