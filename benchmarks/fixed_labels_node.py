# SPDX-License-Identifier: Apache-2.0
"""The segmentation node with a network that takes no time, so that what is measured is the node's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmentation, SegmenterDescription
from vltseg_ros.segmentation_node import main


class FixedLabels:
    """Stands in for `Segmenter`: the same labels for every image, made once for each size."""

    classes = CITYSCAPES
    has_backend_to_build = False
    uploads_beside_the_network = False

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], Segmentation] = {}

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Segmentation]:
        return [self._of(image.shape[:2]) for image in images]

    def _of(self, size: tuple[int, ...]) -> Segmentation:
        if size not in self._made:
            self._made[size] = Segmentation(np.zeros(size, np.uint8), np.full(size, 255, np.uint8))
        return self._made[size]

    def warm_up(self, image_size: tuple[int, int] = (360, 640), batch_size: int = 1) -> float:
        return 0.0

    def describe(self) -> SegmenterDescription:
        return SegmenterDescription("fixed labels", "custom", CITYSCAPES, 0, "cpu", "fp32", "eager", "none", None, "nothing")

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self._made.clear()


def load(checkpoint: str, **options: Any) -> Any:
    return FixedLabels()


if __name__ == "__main__":
    sys.exit(main(segmenter_factory=load))
