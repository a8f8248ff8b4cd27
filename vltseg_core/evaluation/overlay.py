# SPDX-License-Identifier: Apache-2.0
"""Labels made visible: blended over their image, side by side with it, and with a legend of the colours.

Images are uint8 [H, W, 3] RGB, labels uint8 [H, W] train ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vltseg_core.errors import InputError
from vltseg_core.labels import IGNORE, ClassTable

_CAPTION_BACKGROUND = (24, 26, 30)
_CAPTION_COLOUR = (235, 237, 240)


def blend(image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: ClassTable, opacity: float = 0.55) -> NDArray[np.uint8]:
    """The image with its labels' colours over it, uint8 [H, W, 3] RGB; pixels without a class keep the image.

    opacity: 0 (image only) to 1 (colours only). Raises InputError where image and labels differ in size.
    """
    if image.shape[:2] != labels.shape:
        raise InputError(f"the image is {image.shape[:2]} and its labels {labels.shape} (height, width): give one size")
    colours = np.take(classes.palette, labels, axis=0)
    without_class = labels == IGNORE
    if without_class.any():
        colours[without_class] = image[without_class]
    return np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(colours), opacity))


def side_by_side(panels: Sequence[NDArray[np.uint8]], gap_px: int = 4) -> NDArray[np.uint8]:
    """Images of one height in a row with white gaps, uint8 [H, sum of widths and gaps, 3] RGB."""
    gap = np.full((panels[0].shape[0], gap_px, 3), 255, np.uint8)
    row: list[NDArray[np.uint8]] = []
    for panel in panels:
        row += [gap, panel] if row else [panel]
    return np.concatenate(row, axis=1)


def with_caption(image: NDArray[np.uint8], caption: str, height_px: int | None = None) -> NDArray[np.uint8]:
    """The image with one line of text on a dark strip above it, uint8 [H + height_px, W, 3] RGB.

    height_px: None takes a fifteenth of the image's height, 24 pixels at least.
    """
    height_px = height_px or max(24, image.shape[0] // 15)
    strip = Image.new("RGB", (image.shape[1], height_px), _CAPTION_BACKGROUND)
    font = ImageFont.load_default(size=height_px * 0.58)
    ImageDraw.Draw(strip).text((height_px // 3, height_px // 2), caption, _CAPTION_COLOUR, font, anchor="lm")
    return np.concatenate([np.asarray(strip), image])


def with_legend(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: ClassTable, row_px: int | None = None
) -> NDArray[np.uint8]:
    """The image with the colours and names of the classes that occur in `labels` below it, RGB, as wide as before.

    labels: uint8 of any shape. row_px: None takes an eighteenth of the image's height, 20 pixels at least.
    """
    row_px = row_px or max(20, image.shape[0] // 18)
    width = image.shape[1]
    font = ImageFont.load_default(size=row_px * 0.6)
    present = np.bincount(labels.ravel(), minlength=256) > 0
    places: list[tuple[int, int, str, tuple[int, int, int]]] = []
    x_px, row = 6, 0
    for semantic_class in (c for c in classes.classes if present[c.train_id]):
        entry_px = row_px + int(font.getlength(semantic_class.name)) + 14
        if x_px + entry_px > width and x_px > 6:
            x_px, row = 6, row + 1
        places.append((x_px, row * row_px, semantic_class.name, semantic_class.colour))
        x_px += entry_px
    strip = Image.new("RGB", (width, (row + 1) * row_px + 4), _CAPTION_BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for left, top, name, colour in places:
        draw.rectangle((left, top + row_px // 4, left + row_px * 3 // 5, top + row_px - row_px // 7), colour, _CAPTION_COLOUR)
        draw.text((left + row_px - 3, top + row_px // 2 + 1), name, _CAPTION_COLOUR, font, anchor="lm")
    return np.concatenate([image, np.asarray(strip)])
