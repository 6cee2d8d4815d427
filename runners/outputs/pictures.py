"""`predictions/*.png`: image 1, image 2, truth, prediction and errors side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from pylon.storage import atomic_path

_CAPTION_HEIGHT = 16
_GAP = 4
_CAPTIONS = ("image 1", "image 2", "truth", "prediction", "errors")
_IGNORED = 255


def draw_batch(folder: Path, batch: dict[str, Any], outputs: Any, at_most: int) -> int:  # noqa: ANN401
    """Draw the first datapoints of a batch, each as `folder/<idx>.png`.

    Args:
        folder: where the pictures go.
        batch: two inputs (B, C, H, W), one label (B, H, W) and `meta_info['idx']`.
        outputs: logits (B, num_classes, H, W).
        at_most: how many to draw.

    Returns:
        How many were drawn: 0 if the data is not of this kind (two inputs, one label).
    """
    count = 0
    for name, sheet in pictures_of(batch, outputs, at_most):
        _write(folder / name, sheet)
        count += 1
    return count


def pictures_of(
    batch: dict[str, Any],
    outputs: Any,  # noqa: ANN401 - whatever a model gives
    at_most: int,
) -> Iterator[tuple[str, Image.Image]]:
    """What `draw_batch` draws: the name of each file, and the picture."""
    images, labels = _maps(batch["inputs"], 4), _maps(batch["labels"], 3)
    if len(images) != 2 or len(labels) != 1 or len(_maps({"": outputs}, 4)) != 1:
        return
    predictions = outputs.argmax(dim=1)
    for row, idx in enumerate(batch["meta_info"]["idx"][:at_most]):
        yield f"{idx:05d}.png", _sheet((images[0][row], images[1][row]), labels[0][row], predictions[row])


def _maps(values: Any, dims: int) -> list[torch.Tensor]:  # noqa: ANN401 - any nested value
    """The values of a dict if all are tensors of so many dimensions, else nothing."""
    found = list(values.values()) if isinstance(values, dict) else []
    return found if all(isinstance(one, torch.Tensor) and one.ndim == dims for one in found) else []


def draw_prediction(
    path: Path, images: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor, prediction: torch.Tensor
) -> None:
    """Write one datapoint's picture at its own resolution, atomically; errors: red false alarm, blue missed.

    Args:
        path: the PNG to write.
        images: both dates, (C, H, W) float; C >= 3 shows the first three channels, else the first.
            Each is stretched from its own minimum and maximum to 0..255: normalised values have no
            fixed range.
        target: (H, W) int64, class 0 is background, 255 is ignored and drawn grey.
        prediction: (H, W) int64.
    """
    _write(path, _sheet(images, target, prediction))


def _write(path: Path, sheet: Image.Image) -> None:
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def _sheet(
    images: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor, prediction: torch.Tensor
) -> Image.Image:
    truth, predicted = target.cpu().numpy(), prediction.cpu().numpy()
    panels = [
        *(_stretched(image) for image in images),
        _mask(truth),
        _mask(predicted),
        _errors(truth, predicted),
    ]
    height, width = truth.shape
    sheet = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height + _CAPTION_HEIGHT), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (panel, caption) in enumerate(zip(panels, _CAPTIONS, strict=True)):
        left = number * (width + _GAP)
        pen.text((left + 2, 2), caption, fill="black")
        sheet.paste(Image.fromarray(panel), (left, _CAPTION_HEIGHT))
    return sheet


def _stretched(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    shown = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    pixels = shown.detach().float().cpu().permute(1, 2, 0).numpy()
    low, high = pixels.min(), pixels.max()
    scaled = (pixels - low) / max(float(high - low), 1e-12)
    rounded: npt.NDArray[np.uint8] = np.round(scaled * 255).astype(np.uint8)
    return rounded


def _mask(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    colours = np.zeros((*classes.shape, 3), np.uint8)
    colours[classes > 0] = 255
    colours[classes == _IGNORED] = 128
    return colours


def _errors(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    colours = _mask(truth)
    wrong = (truth != predicted) & (truth != _IGNORED)
    colours[wrong & (predicted > 0)] = (220, 40, 40)
    colours[wrong & (predicted == 0)] = (50, 90, 230)
    return colours
