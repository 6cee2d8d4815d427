"""Transforms of datapoints: configured callables that draw from the generator they are given."""

from pylon.data.transforms.color_jitter import ColorJitter
from pylon.data.transforms.compose import Compose
from pylon.data.transforms.normalize import Normalize
from pylon.data.transforms.random_crop import RandomCrop
from pylon.data.transforms.random_flip import RandomFlip
from pylon.data.transforms.random_rot90 import RandomRot90
from pylon.data.transforms.resize import Resize
from pylon.data.transforms.transform import Transform

__all__ = [
    "ColorJitter",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomFlip",
    "RandomRot90",
    "Resize",
    "Transform",
]
