# SPDX-License-Identifier: Apache-2.0
"""Training augmentation: scale, crop, flip, photometric distortion. Arrays in, arrays out, all chance from one rng."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.labelled_images import LabelledImage
from vltseg_core.labels import IGNORE

_MAX_CROP_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied.

    crop_size: side of the square crop in pixels. scales: smallest and largest random enlargement (log-uniform between).
    max_class_share: a crop in which one class has more of the annotated pixels is drawn again (10 tries).
    """

    crop_size: int
    scales: tuple[float, float] = (0.75, 2.0)
    max_class_share: float = 0.75

    def __call__(self, labelled: LabelledImage, rng: np.random.Generator) -> LabelledImage:
        """A crop uint8 [S, S, 3] with its codes uint8 [S, S] and its depth, S being `crop_size`."""
        low, high = np.log(self.scales)
        labelled = _rescale(labelled, float(np.exp(rng.uniform(low, high))))
        labelled = self._crop(labelled, rng)
        if rng.random() < 0.5:
            labelled = _everywhere(labelled, lambda pixels: pixels[:, ::-1])
        labelled = labelled._replace(image=photometric_distortion(labelled.image, rng))
        return _everywhere(labelled, np.ascontiguousarray)

    def _crop(self, labelled: LabelledImage, rng: np.random.Generator) -> LabelledImage:
        size = self.crop_size
        height, width = labelled.codes.shape
        pad = (0, max(0, size - height), 0, max(0, size - width))
        if any(pad):
            labelled = _padded(labelled, pad)
            height, width = labelled.codes.shape
        for _ in range(_MAX_CROP_TRIES):
            top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
            codes = labelled.codes[top : top + size, left : left + size]
            counts = np.bincount(codes[codes != IGNORE], minlength=1)
            if counts.sum() > 0 and counts.max() <= self.max_class_share * counts.sum():
                break
        return _everywhere(labelled, lambda pixels: pixels[top : top + size, left : left + size])


def _everywhere(labelled: LabelledImage, change: Callable[[NDArray[Any]], NDArray[Any]]) -> LabelledImage:
    """The same change to image, codes and depth."""
    depth_m = None if labelled.depth_m is None else change(labelled.depth_m)
    return LabelledImage(change(labelled.image), change(labelled.codes), depth_m)


def _padded(labelled: LabelledImage, pad: tuple[int, int, int, int]) -> LabelledImage:
    image, codes, depth_m = labelled
    if depth_m is not None:
        depth_m = np.asarray(cv2.copyMakeBorder(depth_m, *pad, cv2.BORDER_REFLECT_101), np.float32)
    return LabelledImage(
        np.asarray(cv2.copyMakeBorder(image, *pad, cv2.BORDER_REFLECT_101), np.uint8),
        np.asarray(cv2.copyMakeBorder(codes, *pad, cv2.BORDER_CONSTANT, value=IGNORE), np.uint8),
        depth_m,
    )


def _rescale(labelled: LabelledImage, scale: float) -> LabelledImage:
    image, codes, depth_m = labelled
    height, width = codes.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    if depth_m is not None:  # a distance stays what it is
        depth_m = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST), np.float32)
    return LabelledImage(
        np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8),
        np.asarray(cv2.resize(codes, size, interpolation=cv2.INTER_NEAREST), np.uint8),
        depth_m,
    )


def photometric_distortion(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness, contrast, saturation and hue, each with probability one half (Liu et al., "SSD", 2016).

    Image uint8 [H, W, 3] RGB, and so is the result.
    """
    gain = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    offset = rng.uniform(-32, 32) if rng.random() < 0.5 else 0.0
    varied = cv2.LUT(image, np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8))
    changes_saturation, changes_hue = rng.random(2) < 0.5
    if changes_saturation or changes_hue:
        hsv = cv2.cvtColor(varied, cv2.COLOR_RGB2HSV)
        if changes_saturation:
            saturation = np.clip(np.arange(256) * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)
            hsv[..., 1] = saturation[hsv[..., 1]]
        if changes_hue:
            hsv[..., 0] = ((np.arange(256) + rng.integers(-9, 10)) % 180).astype(np.uint8)[hsv[..., 0]]
        varied = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.asarray(varied, np.uint8)
