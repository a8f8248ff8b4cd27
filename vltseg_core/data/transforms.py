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
_WANTED_SHARE = 1500 / 512**2


@dataclass(frozen=True)
class Augmentation:
    """How a training image is varied.

    crop_size: side of the square crop in pixels. image_size: width and height that every image is brought to first, None
    for its own. scales: smallest and largest random enlargement after that (log-uniform between); 1 and 1 for none.
    max_class_share: a crop in which one class has more of the annotated pixels is drawn again (10 tries).
    """

    crop_size: int
    image_size: tuple[int, int] | None = None
    scales: tuple[float, float] = (1.0, 1.0)
    max_class_share: float = 0.75

    def __call__(self, labelled: LabelledImage, rng: np.random.Generator, wanted_code: int | None = None) -> LabelledImage:
        """A crop uint8 [S, S, 3] with its codes uint8 [S, S] and its depth, S being `crop_size`.

        wanted_code: a code that the crop should show, at least as much of it as in 1,500 pixels of 512x512 (10 tries).
        """
        low, high = np.log(self.scales)
        labelled = self._resized(labelled, float(np.exp(rng.uniform(low, high))))
        labelled = self._crop(labelled, rng, wanted_code)
        if rng.random() < 0.5:
            labelled = _everywhere(labelled, lambda pixels: pixels[:, ::-1])
        labelled = labelled._replace(image=photometric_distortion(labelled.image, rng))
        return _everywhere(labelled, np.ascontiguousarray)

    def _resized(self, labelled: LabelledImage, scale: float) -> LabelledImage:
        height, width = labelled.codes.shape
        if self.image_size is not None:
            width, height = self.image_size
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # The published training brings images to their size bilinearly, without a filter.
        smooth = self.image_size is None and scale < 1
        return labelled if size == labelled.codes.shape[::-1] else _resize(labelled, size, smooth=smooth)

    def _crop(self, labelled: LabelledImage, rng: np.random.Generator, wanted_code: int | None) -> LabelledImage:
        size = self.crop_size
        height, width = labelled.codes.shape
        pad = (0, max(0, size - height), 0, max(0, size - width))
        if any(pad):
            labelled = _padded(labelled, pad)
            height, width = labelled.codes.shape
        for _ in range(_MAX_CROP_TRIES):
            top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
            if self._accepts(labelled.codes[top : top + size, left : left + size], wanted_code):
                break
        return _everywhere(labelled, lambda pixels: pixels[top : top + size, left : left + size])

    def _accepts(self, codes: NDArray[np.uint8], wanted_code: int | None) -> bool:
        counts = np.bincount(codes[codes != IGNORE], minlength=IGNORE)
        shows = wanted_code is None or counts[wanted_code] >= _WANTED_SHARE * codes.size
        return bool(shows and counts.sum() > 0 and counts.max() <= self.max_class_share * counts.sum())


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


def _resize(labelled: LabelledImage, size: tuple[int, int], *, smooth: bool) -> LabelledImage:
    """At another size (width, height); smooth: with a filter that keeps a smaller image free of aliasing."""
    image, codes, depth_m = labelled
    interpolation = cv2.INTER_AREA if smooth else cv2.INTER_LINEAR
    if depth_m is not None:  # a distance stays what it is
        depth_m = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST), np.float32)
    return LabelledImage(
        np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8),
        np.asarray(cv2.resize(codes, size, interpolation=cv2.INTER_NEAREST), np.uint8),
        depth_m,
    )


def photometric_distortion(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness, contrast, saturation and hue, each with probability one half (Liu et al., "SSD", 2016).

    Brightness comes first; contrast next or, half the time, last; every result is cut off at 0 and 255.
    Image uint8 [H, W, 3] RGB, and so is the result.
    """
    values = np.arange(256)
    offset = rng.uniform(-32, 32) if rng.random() < 0.5 else 0.0
    gain = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    contrast_first = rng.random() < 0.5
    brightness, contrast = _in_bytes(values + offset), _in_bytes(values * gain)
    varied = cv2.LUT(image, contrast[brightness] if contrast_first else brightness)
    changes_saturation, changes_hue = rng.random(2) < 0.5
    if changes_saturation or changes_hue:
        hsv = cv2.cvtColor(varied, cv2.COLOR_RGB2HSV)
        if changes_saturation:
            hsv[..., 1] = _in_bytes(values * rng.uniform(0.5, 1.5))[hsv[..., 1]]
        if changes_hue:
            hsv[..., 0] = ((values + rng.integers(-9, 10)) % 180).astype(np.uint8)[hsv[..., 0]]
        varied = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.asarray(varied if contrast_first else cv2.LUT(varied, contrast), np.uint8)


def _in_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(values, 0, 255).astype(np.uint8)
