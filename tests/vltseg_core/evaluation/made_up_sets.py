# SPDX-License-Identifier: Apache-2.0
"""Small label sets whose figures can be reckoned by hand, and a segmenter that says what it is shown."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import InputError
from vltseg_core.runtime import Segmentation

ROAD, CAR, SKY = 0, 1, 2
CLASS_NAMES = ("road", "car", "sky")


class ReadingSegmenter:
    """In place of a network: each pixel's red value is its predicted label. boxes: what it was asked to fit images to."""

    def __init__(self) -> None:
        self.num_segmented = 0
        self.boxes: list[tuple[int, int] | None] = []

    def segment(self, images, *, box=None):
        self.num_segmented += len(images)
        self.boxes.append(box)
        return [Segmentation(image[..., 0], np.full(image.shape[:2], 255, np.uint8)) for image in images]


class ListedImages:
    """Frames of given predictions and truths; None stands for a file that cannot be read."""

    def __init__(self, frames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LabelledImage:
        if self.frames[index] is None:
            raise InputError(f"image 'frame_{index}.png' cannot be read")
        predicted, truth = self.frames[index]
        return LabelledImage(np.repeat(np.array([predicted], np.uint8)[..., None], 3, 2), np.array([truth], np.uint8))


def made_up_set(frames, conditions=(), mean_classes=()) -> EvaluationSet:
    """frames: (predicted labels of one row, true labels of it) each, or None."""
    names = tuple(f"frame_{i}" for i in range(len(frames)))
    return EvaluationSet(ListedImages(frames), CLASS_NAMES, np.arange(256, dtype=np.uint8), names, conditions, mean_classes)


DAY_AND_NIGHT = made_up_set(
    [
        ([ROAD, ROAD, CAR, CAR], [ROAD, ROAD, CAR, CAR]),
        ([ROAD, ROAD, ROAD, CAR], [ROAD, ROAD, CAR, CAR]),
        ([ROAD, CAR, CAR, CAR], [ROAD, ROAD, ROAD, 255]),
    ],
    ("day", "day", "night"),
)
"""Day: road 4 of 5, car 3 of 4. Night: road 1 of 3; car does not occur, though it was predicted. Sky occurs nowhere.

Pooled: road hits 5, truth 7, predicted 6: 5/8. Car hits 3, truth 4, predicted 5: 3/6.
"""
