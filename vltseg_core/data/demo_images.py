# SPDX-License-Identifier: Apache-2.0
"""Single frames of the drawn demo scenes, as a data set: image i is one frame of the sequence with seed first_seed + i."""

from __future__ import annotations

import numpy as np

from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.labels import CITYSCAPES

FIRST_UNSEEN_SEED = 1_000_000
"""Training uses seeds below it, measuring this one and those above."""

_LONGEST_SEQUENCE = 300


class DemoImages:
    """So many frames in one condition, each of another street."""

    def __init__(
        self, num_images: int, *, first_seed: int = 0, condition: str = "clear", image_size: tuple[int, int] = (360, 480)
    ) -> None:
        self._num_images, self._first_seed = num_images, first_seed
        self._condition, self._image_size = condition, image_size

    def __len__(self) -> int:
        return self._num_images

    def __getitem__(self, index: int) -> LabelledImage:
        seed = self._first_seed + index
        frame_index = int(np.random.default_rng(seed).integers(_LONGEST_SEQUENCE))
        frame = DemoSequence(seed, condition=self._condition, image_size=self._image_size).frame(frame_index)
        return LabelledImage(frame.image, frame.labels, frame.depth_m)


def evaluation_set(condition: str, num_images: int, *, image_size: tuple[int, int] = (360, 480)) -> EvaluationSet:
    """Unseen streets in one condition to measure on, over the 19 classes; image_size: (height, width) in pixels."""
    images = DemoImages(num_images, first_seed=FIRST_UNSEEN_SEED, condition=condition, image_size=image_size)
    names = tuple(f"{condition}_{index:04d}" for index in range(num_images))
    return EvaluationSet(images, CITYSCAPES.names, np.arange(256, dtype=np.uint8), names, (condition,) * num_images)
