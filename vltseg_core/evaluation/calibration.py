# SPDX-License-Identifier: Apache-2.0
"""How far the confidence can be believed: expected calibration error, and accuracy against coverage.

Counted by the 256 levels that a confidence can have, so that a drive of any length takes 4 kB and nothing is binned
twice. Level c stands for a probability of c / 255.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_core.labels import IGNORE

NUM_LEVELS = 256
NUM_BINS = 15
"""Bins of equal width, as Guo et al., "On Calibration of Modern Neural Networks" (2017), have them."""


class ReliabilityBin(NamedTuple):
    """One bin of the reliability diagram. num_pixels: annotated pixels in it; both means are NaN where there are none."""

    num_pixels: int
    confidence: float
    accuracy: float


class CoveragePoint(NamedTuple):
    """What is left when pixels under a threshold become 255.

    min_confidence: the threshold, 0..1. coverage: share of all annotated pixels that keep their label. accuracy: share of
    those whose label is right; NaN where none is left.
    """

    min_confidence: float
    coverage: float
    accuracy: float


class Calibration:
    """Annotated pixels with a label and the right ones among them by confidence; num_pixels, num_right: int64 [256].

    num_left_out: annotated pixels that the node gave no label. The calibration error says nothing of them; they count as
    not covered.
    """

    def __init__(self) -> None:
        self.num_pixels: NDArray[np.int64] = np.zeros(NUM_LEVELS, np.int64)
        self.num_right: NDArray[np.int64] = np.zeros(NUM_LEVELS, np.int64)
        self.num_left_out = 0

    def add(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count one image, uint8 [H, W] each; a pixel whose truth is `IGNORE` counts for nothing.

        Raises InputError where the sizes differ.
        """
        if not predicted.shape == truth.shape == confidence.shape:
            sizes = ", ".join(str(labels.shape) for labels in (predicted, truth, confidence))
            raise InputError(f"prediction, ground truth and confidence have sizes {sizes}: give one size")
        annotated = truth != IGNORE
        right = annotated & (predicted == truth)
        self.num_pixels += np.bincount(confidence[annotated], minlength=NUM_LEVELS)
        self.num_right += np.bincount(confidence[right], minlength=NUM_LEVELS)

    def merge(self, other: Calibration) -> None:
        """Add another's counts."""
        self.num_pixels += other.num_pixels
        self.num_right += other.num_right
        self.num_left_out += other.num_left_out

    @property
    def has_pixels(self) -> bool:
        """Whether anything was counted."""
        return bool(self.num_pixels.any())

    def reliability(self) -> list[ReliabilityBin]:
        """The bins from the least certain to the most; the last one takes in a confidence of 1."""
        pixels, right, total = _binned(self.num_pixels, self.num_right)
        with np.errstate(invalid="ignore"):
            confidence, accuracy = total / pixels / (NUM_LEVELS - 1), right / pixels
        return [ReliabilityBin(int(n), float(c), float(a)) for n, c, a in zip(pixels, confidence, accuracy, strict=True)]

    def expected_error(self) -> float:
        """ECE, 0..1: |accuracy - mean confidence| of each bin, weighted by its share of pixels; NaN without any."""
        return float(expected_errors(self.num_pixels, self.num_right))

    def coverage_curve(self) -> list[CoveragePoint]:
        """One point for each level as the threshold, from 0 (every pixel with a label) up; empty where nothing was counted."""
        if not self.has_pixels:
            return []
        kept = np.cumsum(self.num_pixels[::-1])[::-1]
        right = np.cumsum(self.num_right[::-1])[::-1]
        with np.errstate(invalid="ignore"):
            accuracy = right / kept
        thresholds = np.arange(NUM_LEVELS) / (NUM_LEVELS - 1)
        coverage = kept / (kept[0] + self.num_left_out)
        return [CoveragePoint(*map(float, point)) for point in zip(thresholds, coverage, accuracy, strict=True)]


def expected_errors(num_pixels: NDArray[Any], num_right: NDArray[Any]) -> NDArray[np.float64]:
    """ECE, 0..1, of counts by level [..., 256] each, whole or weighted: float64 [...]; NaN where there are none."""
    pixels, right, total = _binned(num_pixels, num_right)
    gaps = np.abs(right - total / (NUM_LEVELS - 1)).sum(axis=-1)
    counted = pixels.sum(axis=-1)
    return np.where(counted > 0, gaps / np.where(counted > 0, counted, 1), np.nan)


def _binned(num_pixels: NDArray[Any], num_right: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Pixels, right ones and the sum of levels in each bin, float64 [..., 15] each."""
    levels = np.arange(NUM_LEVELS)
    bin_of = np.minimum(levels * NUM_BINS // (NUM_LEVELS - 1), NUM_BINS - 1)
    first = np.searchsorted(bin_of, np.arange(NUM_BINS))
    counts = (num_pixels, num_right, num_pixels * levels)
    return tuple(np.add.reduceat(count.astype(np.float64), first, axis=-1) for count in counts)
