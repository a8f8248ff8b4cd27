# SPDX-License-Identifier: Apache-2.0
"""What a node asks of a `Segmenter` besides masks, for stand-ins that only differ in these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmentation, SegmenterDescription


class StandInSegmenter:
    """Stands in for the network: label 0 everywhere, confidence 0."""

    classes = CITYSCAPES
    has_backend_to_build = False
    serves_meanwhile = False
    uploads_beside_the_network = False

    def load(self, checkpoint: str, **options: Any) -> Any:
        return self

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Segmentation]:
        return [Segmentation(np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], np.uint8)) for image in images]

    def warm_up(self, image_size: tuple[int, int] = (360, 640), batch_size: int = 1) -> float:
        return 0.001

    def describe(self) -> SegmenterDescription:
        return SegmenterDescription("stand-in", "custom", CITYSCAPES, 1, "cpu", "fp32", "eager", "no other", None, "nothing")

    def memory_bytes(self) -> int:
        return 1_000_000

    def close(self) -> None: ...
