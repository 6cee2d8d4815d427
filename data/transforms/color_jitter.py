"""Change brightness, contrast, saturation and hue of each date on its own."""

import math

import torch

from pylon.data.datapoint import Datapoint
from pylon.data.transforms.transform import chance, check_probability

# Luma of ITU-R BT.601 (1982), the weights of grey in Pillow and OpenCV.
_LUMA = (0.299, 0.587, 0.114)


class ColorJitter:
    """Each input is changed with `probability`, by factors of its own: dates differ in light and season.

    A factor is drawn uniformly from 1 - amount to 1 + amount; hue is turned by up to `hue` of a full
    turn either way, as a rotation about the grey axis of RGB space. Values are cut to 0..1, so this
    comes before normalisation.

    Args:
        brightness, contrast, saturation: amounts, 0..1.
        hue: share of a full turn, 0..0.5.
        probability: of changing an input at all, 0..1.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        probability: float = 1.0,
    ) -> None:
        for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            check_probability(name, value)
        if not 0 <= hue <= 0.5:
            raise ValueError(f"hue: {hue}, expected 0 to 0.5 of a turn.")
        check_probability("probability", probability)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.probability = probability

    def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
        """See Transform. Inputs are RGB, (3, H, W) in 0..1."""
        inputs = {name: self._jittered(value, generator) for name, value in datapoint["inputs"].items()}
        return {"inputs": inputs, "labels": datapoint["labels"], "meta_info": datapoint["meta_info"]}

    def _jittered(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        happens = chance(self.probability, generator)
        draws = (torch.rand(4, generator=generator) * 2 - 1).tolist()
        if not happens:
            return image
        image = image * (1 + self.brightness * draws[0])
        # Row by row: a sum over all pixels at once is split among threads, and its last bits with it.
        mean = _grey(image).mean(dim=-1).mean()
        image = mean + (image - mean) * (1 + self.contrast * draws[1])
        grey = _grey(image)
        image = grey + (image - grey) * (1 + self.saturation * draws[2])
        if self.hue:
            image = _mixed(image, _turn_about_grey(self.hue * draws[3]))
        return image.clamp(0, 1)


def _grey(image: torch.Tensor) -> torch.Tensor:
    """Luma (H, W) of an RGB image (3, H, W)."""
    return _LUMA[0] * image[0] + _LUMA[1] * image[1] + _LUMA[2] * image[2]


def _mixed(image: torch.Tensor, weights: list[list[float]]) -> torch.Tensor:
    """Each channel as a weighted sum of all three."""
    return torch.stack([row[0] * image[0] + row[1] * image[1] + row[2] * image[2] for row in weights])


def _turn_about_grey(turns: float) -> list[list[float]]:
    """Rotation matrix (3, 3) about (1, 1, 1) by `turns` full turns (Rodrigues' formula)."""
    cosine, sine = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns) / math.sqrt(3)
    third = (1 - cosine) / 3
    return [
        [cosine + third, third - sine, third + sine],
        [third + sine, cosine + third, third - sine],
        [third - sine, third + sine, cosine + third],
    ]
