# SPDX-License-Identifier: Apache-2.0
"""What a replay gave for one drive under one condition, in counts that add up, and the figures of any group of them.

K is the number of classes, N the number of frames that were played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.evaluation import bootstrap, latency
from vltseg_core.evaluation.bootstrap import NO_INTERVAL, Interval, Resamples
from vltseg_core.evaluation.calibration import Calibration
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.flicker import Flicker

BLOCK_FRAMES = 10
"""Contiguous evaluated frames that are drawn together where there is only one drive."""


class FrameTiming(NamedTuple):
    """One played frame; latencies in milliseconds, NaN without an answer.

    latency_ms: from publishing to receipt of the mask. stamp_latency_ms: from the header's stamp to it, NaN also where
    the stamps are of another clock than the bag's times. interval_ms: until the camera's next frame. refused: whether the
    node said that it rejected or lost it.
    """

    latency_ms: float
    stamp_latency_ms: float
    interval_ms: float
    refused: bool = False


@dataclass
class SequenceResult:
    """One drive (`sequence`, may be empty) under one condition; a drive through two conditions gives two of these."""

    condition: str
    sequence: str = ""
    timings: list[FrameTiming] = field(default_factory=list)
    """All frames in the order of playing."""
    blocks: list[ConfusionMatrix] = field(default_factory=list)
    """The answered frames that have a ground truth, `BLOCK_FRAMES` together; empty without ground truth."""
    calibration: Calibration = field(default_factory=Calibration)
    flicker: Flicker = field(default_factory=Flicker)
    label_pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels by published label, whatever the ground truth; int64 [256]."""

    def add_confusion(self, frame: ConfusionMatrix) -> None:
        """Count one evaluated frame."""
        if not self.blocks or self.blocks[-1].num_images >= BLOCK_FRAMES:
            self.blocks.append(ConfusionMatrix(frame.num_classes))
        self.blocks[-1].merge(frame)

    @property
    def num_left_out(self) -> int:
        """Annotated pixels that the node gave no label, in frames with a confidence.

        They are what the calibration lacks of the annotated pixels; where it lacks whole frames, whose confidence never
        came, no more than were compared without a class.
        """
        num_annotated = sum(int(block.counts.sum()) for block in self.blocks)
        num_unclassed = sum(int(block.counts[:, -1].sum()) for block in self.blocks)
        return max(min(num_annotated - int(self.calibration.num_pixels.sum()), num_unclassed), 0)

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """Over all evaluated frames; None without ground truth."""
        return _merged(self.blocks)


@dataclass(frozen=True)
class ResultGroup:
    """Several sequences seen as one: a condition's, or all of a bag."""

    name: str
    sequences: tuple[SequenceResult, ...]

    @property
    def timings(self) -> list[FrameTiming]:
        """All frames."""
        return [timing for sequence in self.sequences for timing in sequence.timings]

    @property
    def latencies_ms(self) -> list[float]:
        """From publishing to the mask, NaN for a frame without one."""
        return [timing.latency_ms for timing in self.timings]

    @property
    def stamp_latencies_ms(self) -> list[float]:
        """From the header's stamp to the mask; NaN where that is not known."""
        return [timing.stamp_latency_ms for timing in self.timings]

    @property
    def num_frames(self) -> int:
        """Frames that were published."""
        return len(self.timings)

    @property
    def num_answered(self) -> int:
        """Frames whose mask came back."""
        return int(np.count_nonzero(~np.isnan(self.latencies_ms)))

    @property
    def num_refused(self) -> int:
        """Frames that the node is known to have rejected or lost."""
        return sum(timing.refused for timing in self.timings)

    @property
    def num_dropped(self) -> int:
        """Frames without a mask that nothing else is known of: a newer one overtook them, or they never arrived.

        Which frames a node rejected in real time is not known, only how many: they count here.
        """
        return self.num_frames - self.num_answered - self.num_refused

    @property
    def num_late(self) -> int:
        """Frames answered later than the camera's next one came."""
        return latency.count_late(self.latencies_ms, [timing.interval_ms for timing in self.timings])

    @cached_property
    def confusion(self) -> ConfusionMatrix | None:
        """Pooled over all pixels; None without ground truth."""
        return _merged([block for sequence in self.sequences for block in sequence.blocks])

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the pooled pixels, 0..1; NaN without ground truth."""
        return self.confusion.mean_iou() if self.confusion is not None else float("nan")

    @property
    def calibration(self) -> Calibration:
        """Over all annotated pixels that came with a confidence; those left without a label are counted apart."""
        total = Calibration()
        for sequence in self.sequences:
            total.merge(sequence.calibration)
            total.num_left_out += sequence.num_left_out
        return total

    @property
    def flicker(self) -> Flicker:
        """Over all sequences."""
        total = Flicker()
        for sequence in self.sequences:
            total.merge(sequence.flicker)
        return total

    @property
    def label_pixels(self) -> NDArray[np.int64]:
        """Pixels by published label, int64 [256]."""
        return sum((sequence.label_pixels for sequence in self.sequences), np.zeros(256, np.int64))

    @cached_property
    def num_units(self) -> int:
        """How many units the interval is drawn from."""
        return len(self.units)

    @property
    def has_several_drives(self) -> bool:
        """Whether the units are drives; else they are blocks of one drive's frames."""
        return sum(bool(sequence.blocks) for sequence in self.sequences) > 1

    @property
    def units(self) -> list[ConfusionMatrix]:
        """What the interval is drawn from: drives, or blocks of `BLOCK_FRAMES` where there is one drive."""
        drives = [confusion for sequence in self.sequences if (confusion := sequence.confusion) is not None]
        return drives if len(drives) > 1 else [block for sequence in self.sequences for block in sequence.blocks]

    def resamples(self, generator: np.random.Generator) -> Resamples | None:
        """The drives drawn anew, or blocks of frames where there is one drive; None without ground truth."""
        units = self.units
        return bootstrap.resample(np.stack([unit.counts for unit in units]), generator) if units else None

    def interval(self, generator: np.random.Generator) -> Interval:
        """95 % interval of the mean IoU, of this group's drives or blocks."""
        resamples = self.resamples(generator)
        if resamples is None or self.num_units < 2:
            return NO_INTERVAL
        return bootstrap.interval(resamples.mean_iou())


def _merged(matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix | None:
    if not matrices:
        return None
    total = ConfusionMatrix(matrices[0].num_classes)
    for matrix in matrices:
        total.merge(matrix)
    return total
