# SPDX-License-Identifier: Apache-2.0
"""What the evaluation of one bag gave: counts by drive and condition, and what the mean IoU of all of it is.

Nothing here renders: `bag_figures` makes results.json, `bag_markdown` results.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vltseg_core.evaluation import bootstrap
from vltseg_core.evaluation.bootstrap import NO_INTERVAL, SEED, Interval
from vltseg_core.evaluation.sequence_result import ResultGroup, SequenceResult
from vltseg_core.labels import ClassTable

INTERVAL_CAUTION = (
    "A condition with one block adds no spread to the intervals of all conditions together, one with a single drive only "
    "the spread within that drive. From fewer than ten drives or blocks an interval comes out too narrow."
)


class MeanIou(NamedTuple):
    """A mean IoU with its 95 % interval; NaN where there is no ground truth."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class BagResult:
    """One bag's results. All but `sequences` says how they came about."""

    source: str
    """What was played, in words."""
    lossless: bool
    """Whether each frame waited for the answer to the one before, rather than for its time."""
    rate: float
    """Speed of playing; 1 is real time."""
    min_confidence: float
    """Pixels less certain got label 255."""
    drawn: bool
    """Whether the frames are drawn scenes rather than pictures of a camera."""
    classes: ClassTable
    """The classes that IoU is taken over."""
    sequences: tuple[SequenceResult, ...]
    playing_s: float
    """From the first frame's publishing to the last frame's, plus one frame interval, in seconds."""
    network: tuple[tuple[str, str], ...]
    """Label and value: checkpoint, what it was trained on, device, precision, backend."""
    machine: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...] = ()
    """Sentences that a reader must see."""

    @cached_property
    def total(self) -> ResultGroup:
        """Everything as one group."""
        return ResultGroup("overall", self.sequences)

    @cached_property
    def conditions(self) -> tuple[ResultGroup, ...]:
        """One group a condition, in the order of playing."""
        by_name: dict[str, list[SequenceResult]] = {}
        for sequence in self.sequences:
            by_name.setdefault(sequence.condition, []).append(sequence)
        return tuple(ResultGroup(name, tuple(members)) for name, members in by_name.items())

    @property
    def has_truth(self) -> bool:
        """Whether anything was compared with a ground truth."""
        return self.total.confusion is not None

    @property
    def by_condition(self) -> dict[str, MeanIou]:
        """Each condition's own mean IoU."""
        generator = np.random.default_rng(SEED)
        return {group.name: MeanIou(group.mean_iou, group.interval(generator)) for group in self.conditions}

    @property
    def pooled(self) -> MeanIou:
        """All pixels together: a condition counts by how much of it was driven."""
        drawn = self._resamples()
        if not drawn:
            return MeanIou(self.total.mean_iou, NO_INTERVAL)
        return MeanIou(self.total.mean_iou, bootstrap.interval(bootstrap.pool(drawn).mean_iou()))

    @property
    def mean(self) -> MeanIou:
        """The conditions' mean IoU averaged: each counts the same."""
        values = [group.mean_iou for group in self.conditions if group.confusion is not None]
        value = float(np.mean(values)) if values else float("nan")
        drawn = self._resamples()
        if not drawn:
            return MeanIou(value, NO_INTERVAL)
        return MeanIou(value, bootstrap.interval(np.mean([resamples.mean_iou() for resamples in drawn], axis=0)))

    def _resamples(self) -> list[bootstrap.Resamples]:
        """Each condition drawn anew; none where no condition has two units to draw from."""
        if all(group.num_units < 2 for group in self.conditions):
            return []
        generator = np.random.default_rng(SEED)
        return [drawn for group in self.conditions if (drawn := group.resamples(generator)) is not None]
