"""Draws README's picture from a finished run of the demo: `make run`, then

    .venv/bin/python scripts/draw_readme_picture.py logs/change_detection/demo/HANet_run_0 [PICTURE.png]

writes docs/pictures/prediction.png, or the named file: its first pictures of predictions, small and with
readable captions.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CAPTIONS = ("date 1", "date 2", "true changes", "prediction", "errors")
OUTPUT = Path(__file__).resolve().parents[1] / "docs/pictures/prediction.png"
ROWS = 2
WIDTH, GAP, CAPTION_HEIGHT = 236, 5, 24
# How runners/outputs/pictures.py lays out its panels.
RUN_GAP, RUN_CAPTION_HEIGHT = 4, 16
# A photograph needs no more in this size, and the file stays below 150 kB.
COLOURS = 128


def main(arguments: list[str]) -> int:
    """Draw the picture; the exit code is 2 if the run has none."""
    if len(arguments) not in {1, 2}:
        sys.stderr.write(f"{__doc__}")
        return 2
    folder = Path(arguments[0]) / "predictions"
    pictures = sorted(folder.glob("*.png"))[:ROWS]
    if not pictures:
        sys.stderr.write(
            f"{folder}: expected pictures of a finished run, found none. Run 'make run' first.\n"
        )
        return 2
    rows = [panels(Image.open(path).convert("RGB")) for path in pictures]
    output = Path(arguments[1]) if len(arguments) == 2 else OUTPUT
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows).quantize(COLOURS).save(output, optimize=True)
    return 0


def panels(picture: Image.Image) -> list[Image.Image]:
    """The panels of one prediction, without their captions, each WIDTH wide."""
    width = (picture.width + RUN_GAP) // len(CAPTIONS) - RUN_GAP
    height = picture.height - RUN_CAPTION_HEIGHT
    lefts = [number * (width + RUN_GAP) for number in range(len(CAPTIONS))]
    parts = [picture.crop((left, RUN_CAPTION_HEIGHT, left + width, picture.height)) for left in lefts]
    return [part.resize((WIDTH, WIDTH * height // width), Image.Resampling.LANCZOS) for part in parts]


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """All rows below one line of captions."""
    height = CAPTION_HEIGHT + sum(row[0].height + GAP for row in rows) - GAP
    drawn = Image.new("RGB", (len(CAPTIONS) * (WIDTH + GAP) - GAP, height), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=16)
    for number, caption in enumerate(CAPTIONS):
        pen.text((number * (WIDTH + GAP) + 2, 2), caption, fill="black", font=font)
    top = CAPTION_HEIGHT
    for row in rows:
        for number, panel in enumerate(row):
            drawn.paste(panel, (number * (WIDTH + GAP), top))
        top += row[0].height + GAP
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
