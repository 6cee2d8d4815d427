"""Transforms of datapoints: configured callables that draw from the generator they are given."""

from data.transforms.color_jitter import ColorJitter
from data.transforms.compose import Compose
from data.transforms.normalize import Normalize
from data.transforms.random_crop import RandomCrop
from data.transforms.random_flip import RandomFlip
from data.transforms.random_rot90 import RandomRot90
from data.transforms.resize import Resize
from data.transforms.transform import Transform

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
