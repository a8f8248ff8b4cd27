# SPDX-License-Identifier: Apache-2.0
"""What a segmenter gives back for one image, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.labels import ClassTable
from vltseg_core.runtime.augmentation import PLAIN, InferenceAugmentation
from vltseg_core.runtime.sliding_window import SlidingWindow


class Segmentation(NamedTuple):
    """The result for one image.

    labels: train ids, uint8 [H, W], at the image's own size.
    confidence: probability of the chosen class, uint8 [H, W], 0 (none) to 255 (certain).
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


@dataclass(frozen=True)
class SegmenterDescription:
    """What runs where: for logs, /diagnostics and reports."""

    checkpoint: str
    """Path of the weights file, or "none (random weights)"."""
    preset: str
    """Name of the network preset, or "custom"."""
    classes: ClassTable
    num_parameters: int
    device: str
    """For example "cpu" or "cuda:0 (NVIDIA H200)"."""
    precision: str
    """One of "fp32", "fp16" or "bf16"."""
    backend: str
    """One of "eager", "compile", "tensorrt" or "onnxruntime"."""
    backend_reason: str
    """Why this backend: one clause."""
    input_size: tuple[int, int] | None
    """(height, width) in pixels that every image is resized to, or None: the image's own, see `max_input_pixels`."""
    trained_on: str
    """Data sets named in the weights file, or "nothing"."""
    max_input_pixels: int = 0
    """Most pixels with which an image enters where there is no input size, 0 for any number."""
    window: SlidingWindow | None = None
    """The window that slides over larger images, or None: whole images."""
    augmentation: InferenceAugmentation = PLAIN
    """The test-time augmentation."""
