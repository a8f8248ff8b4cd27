# SPDX-License-Identifier: Apache-2.0
"""What cannot be the answer to an image is seen."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vltseg_core.runtime import Segmentation
from vltseg_ros.frame_answering import unfit_answer

IMAGE = np.zeros((4, 6, 3), np.uint8)
LABELS = np.full((4, 6), 18, np.uint8)


def test_an_answer_that_fits_passes() -> None:
    assert unfit_answer([IMAGE, IMAGE], [Segmentation(LABELS, LABELS)] * 2, 19) is None


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([], "0 answers to 1 images"),
        ([Segmentation(LABELS[1:], LABELS)], "labels uint8 [3, 6] for an image of [4, 6]"),
        ([Segmentation(LABELS, LABELS.T)], "confidence uint8 [6, 4] for an image of [4, 6]"),
        ([Segmentation(LABELS.astype(np.int64), LABELS)], "labels int64 [4, 6]"),
        ([Segmentation(LABELS + np.uint8(1), LABELS)], "label 19 of a network with 19 classes"),
    ],
)
def test_an_answer_that_cannot_be_right_is_named(results: list[Segmentation], sentence: str) -> None:
    assert sentence in str(unfit_answer([IMAGE], results, 19))
