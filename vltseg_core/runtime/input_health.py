# SPDX-License-Identifier: Apache-2.0
"""Whether a camera still sees: cheap figures of a picture, and what they say in an operator's words.

Everything is computed on a grey thumbnail, so that it costs a few milliseconds for a picture of 1920x1080 at most. The limits
lie between the drawn scenes and CamVid (day, dusk, night, fog, rain, snow) and the same pictures degraded, see
docs/reliability.md.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.runtime.segmentation import Segmentation

_SAMPLED_PX = 480
_THUMBNAIL_PX = 160
_SATURATED = 250
_SMALLEST_SIDE_PX = 32


class InputFinding(Enum):
    """What is wrong with a picture, as it is told. trust: what the confidence of such a picture is multiplied by."""

    COVERED = ("lens covered or dirty (no contrast)", 0.0)
    TOO_DARK = ("too dark (under-exposed or covered)", 0.0)
    FROZEN = ("frozen image (camera repeats one picture)", 0.0)
    OVER_EXPOSED = ("over-exposed (most of it white)", 0.5)
    BLURRED = ("blurred (out of focus or wet lens)", 0.5)
    SUDDEN_CHANGE = ("sudden change (another picture than the last)", 0.5)

    def __init__(self, words: str, trust: float) -> None:
        self.words = words
        self.trust = trust


class PictureFigures(NamedTuple):
    """Of one picture's thumbnail, in grey levels from 0 to 255 unless said otherwise.

    brightest: the level that one pixel in a hundred reaches. contrast: standard deviation. saturated: share of white
    pixels, 0 to 1. sharpness: the largest second differences over the contrast, without unit.
    """

    brightness: float
    brightest: float
    contrast: float
    saturated: float
    sharpness: float


class PictureChange(NamedTuple):
    """From one picture to the next: mean absolute difference in grey levels, correlation of the details from -1 to 1."""

    difference: float
    correlation: float


@dataclass(frozen=True)
class InputLimits:
    """Where a picture stops being a healthy one; the units of the figures."""

    darkest_brightest: float = 48.0
    least_contrast: float = 10.0
    most_saturated: float = 0.5
    least_sharpness: float = 1.0
    frozen_after_s: float = 1.0
    frozen_after_pictures: int = 5
    comparable_within_s: float = 0.2
    """Pictures farther apart are not compared: a vehicle has moved on."""
    least_correlation: float = 0.25
    least_difference: float = 15.0
    largest_difference: float = 45.0


class InputReport(NamedTuple):
    """What was found in one picture; figures: None where it is too small to judge."""

    findings: tuple[InputFinding, ...]
    figures: PictureFigures | None

    @property
    def trust(self) -> float:
        """What the confidence is multiplied by, 0 to 1."""
        return min((finding.trust for finding in self.findings), default=1.0)


class InputHealth:
    """Judges one camera's pictures, each by itself and against the last. For one thread."""

    def __init__(self, limits: InputLimits | None = None) -> None:
        self._limits = limits or InputLimits()
        self._last: _Seen | None = None
        self._repeated_since_s = 0.0
        self._num_repeated = 0

    def check(self, image: NDArray[np.uint8], received_s: float) -> InputReport:
        """What is wrong with the camera's next picture.

        Args:
            image: uint8 [H, W, 3] RGB; one with a side under 32 pixels is not judged.
            received_s: when it came, in seconds by a steady clock.
        """
        if min(image.shape[:2]) < _SMALLEST_SIDE_PX:
            return InputReport((), None)
        sample = _sample(image)
        thumbnail = _thumbnail(sample)
        seen = _Seen(received_s, zlib.crc32(sample.data), _details(thumbnail), thumbnail)
        figures = figures_of(thumbnail)
        findings = [*self._appearance(figures), *self._course(seen)]
        self._last = seen
        return InputReport(tuple(findings), figures)

    def _appearance(self, figures: PictureFigures) -> list[InputFinding]:
        """At most one: which of several explanations comes first."""
        limits = self._limits
        if figures.saturated > limits.most_saturated:
            return [InputFinding.OVER_EXPOSED]
        if figures.brightest < limits.darkest_brightest:
            return [InputFinding.TOO_DARK]
        if figures.contrast < limits.least_contrast:
            return [InputFinding.COVERED]
        return [InputFinding.BLURRED] if figures.sharpness < limits.least_sharpness else []

    def _course(self, seen: _Seen) -> list[InputFinding]:
        """What the last picture says of this one."""
        last, limits = self._last, self._limits
        if last is None or last.thumbnail.shape != seen.thumbnail.shape:
            self._repeated_since_s, self._num_repeated = seen.received_s, 1
            return []
        if last.checksum == seen.checksum:
            self._num_repeated += 1
            lasted_s = seen.received_s - self._repeated_since_s
            frozen = self._num_repeated >= limits.frozen_after_pictures and lasted_s >= limits.frozen_after_s
            return [InputFinding.FROZEN] if frozen else []
        self._repeated_since_s, self._num_repeated = seen.received_s, 1
        if seen.received_s - last.received_s > limits.comparable_within_s:
            return []
        change = _change(last, seen)
        is_another = change.correlation < limits.least_correlation and change.difference > limits.least_difference
        return [InputFinding.SUDDEN_CHANGE] if is_another or change.difference > limits.largest_difference else []


def figures_of(thumbnail: NDArray[np.uint8]) -> PictureFigures:
    """The figures of a grey thumbnail uint8 [h, w]."""
    mean, deviation = cv2.meanStdDev(thumbnail)
    contrast = float(deviation[0, 0])
    edges = np.abs(cv2.Laplacian(thumbnail, cv2.CV_16S)).astype(np.uint16)
    return PictureFigures(
        brightness=float(mean[0, 0]),
        brightest=_reached_by(thumbnail, 0.01),
        contrast=contrast,
        saturated=float(np.count_nonzero(thumbnail >= _SATURATED)) / thumbnail.size,
        sharpness=_reached_by(edges, 0.005) / max(contrast, 1.0),
    )


def thumbnail_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey thumbnail uint8 [h, w] of a picture uint8 [H, W, 3] RGB, its longer side 160 pixels, or less."""
    return _thumbnail(_sample(image))


def trusted(segmentation: Segmentation, trust: float) -> Segmentation:
    """The segmentation with its confidence multiplied by `trust`, 0 to 1; the labels stay."""
    if trust >= 1:
        return segmentation
    return segmentation._replace(
        confidence=cv2.convertScaleAbs(segmentation.confidence, alpha=trust).astype(np.uint8, copy=False)
    )


class _Seen(NamedTuple):
    received_s: float
    checksum: int
    details: NDArray[np.float32]
    thumbnail: NDArray[np.uint8]


def _sample(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th pixel in grey, contiguous; noise is not averaged, so that a camera that lives never repeats itself."""
    step = max(1, round(max(image.shape[:2]) / _SAMPLED_PX))
    grey_rows = cv2.cvtColor(image[::step], cv2.COLOR_RGB2GRAY)  # bytes are picked faster than pixels of three are
    return np.ascontiguousarray(grey_rows[:, ::step], np.uint8)


def _thumbnail(sample: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = sample.shape
    scale = min(1.0, _THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(sample, size, interpolation=cv2.INTER_AREA), np.uint8)


def _details(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Edges and textures alone, of mean 0 and deviation 1: what no change of light changes."""
    size = (max(1, thumbnail.shape[1] // 2), max(1, thumbnail.shape[0] // 2))
    half = cv2.resize(thumbnail, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    details = half - cv2.blur(half, (15, 15))
    return np.asarray((details - details.mean()) / max(float(details.std()), 1.0), np.float32)


def _change(last: _Seen, seen: _Seen) -> PictureChange:
    difference = float(cv2.absdiff(last.thumbnail, seen.thumbnail).mean())
    return PictureChange(difference, float((last.details * seen.details).mean()))


def _reached_by(levels: NDArray[Any], share: float) -> float:
    """The level that this share of the pixels reaches."""
    flat = levels.ravel()
    rank = min(flat.size - 1, int(flat.size * (1 - share)))
    return float(np.partition(flat, rank)[rank])
