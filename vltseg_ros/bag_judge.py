# SPDX-License-Identifier: Apache-2.0
"""Judges the answered frames of a replay one by one, drive by drive, and remembers the best and the worst."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from vltseg_core.evaluation.html_page import PictureRow
from vltseg_core.evaluation.sequence_result import SequenceResult
from vltseg_core.labels import IGNORE
from vltseg_ros.answered_frame import AnsweredFrame, save_row
from vltseg_ros.ground_truth import LabelSpace
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay_evaluation import section_name
from vltseg_ros.replay_record import PlayedFrame, ReplayRecord

NUM_EXTREMES = 3
"""How many of the best frames, and of the worst, are shown."""


class _Ranked(NamedTuple):
    """A frame with its key in a heap whose smallest goes first: the least extreme of those kept, the latest among equals."""

    rank: float
    earlier: int
    mean_iou: float
    answered: AnsweredFrame


class BagJudge:
    """Counts by drive and condition; give it to `ReplayEvaluation.run` as `on_answered`."""

    def __init__(self, record: ReplayRecord, rate: float, space: LabelSpace) -> None:
        self._space, self._played = space, record.frames
        self._results: dict[tuple[str, str], SequenceResult] = {}
        self._last: SequenceResult | None = None
        self._best: list[_Ranked] = []
        self._worst: list[_Ranked] = []
        for played, timing in zip(record.frames, record.timings(rate), strict=True):
            self._result_of(played).timings.append(timing)

    @property
    def sequences(self) -> tuple[SequenceResult, ...]:
        """What was counted, in the order of playing."""
        return tuple(self._results.values())

    def judge(self, answered: AnsweredFrame) -> None:
        """Count one frame."""
        result = self._result_of(self._played[answered.index])
        if result is not self._last:
            result.flicker.restart()
            self._last = result
        result.flicker.add(answered.image, answered.labels)
        result.label_pixels += np.bincount(answered.labels.ravel(), minlength=256)
        if answered.truth is None or answered.confusion is None:
            return
        result.add_confusion(answered.confusion)
        if answered.confidence is not None:
            # a pixel that the node left out has no class to be right or wrong with its confidence
            truth = np.where(answered.labels == IGNORE, np.uint8(IGNORE), answered.truth)
            result.calibration.add(self._space.from_cityscapes[answered.labels], truth, answered.confidence)
        mean_iou = answered.confusion.mean_iou()
        if not np.isnan(mean_iou):
            _keep(self._best, _Ranked(mean_iou, -answered.index, mean_iou, answered))
            _keep(self._worst, _Ranked(-mean_iou, -answered.index, mean_iou, answered))

    def extremes(self, folder: OutputFolder) -> list[PictureRow]:
        """Rows of the best and the worst frames, also written into the folder's overlays; none without ground truth."""
        rows = []
        for kind, ranked in (("best", self._best), ("worst", self._worst)):
            for place, entry in enumerate(sorted(ranked, reverse=True), 1):
                row = entry.answered.picture_row(self._space, f"{kind} {place}, mean IoU {100 * entry.mean_iou:.1f} %: ")
                row = row._replace(kind=f"The {kind} frames")
                path = folder.overlays / f"{kind}_{place}_{entry.answered.file_name}.png"
                save_row(row, entry.answered.labels_to_name(self._space), path)
                rows.append(row)
        return rows

    def _result_of(self, played: PlayedFrame) -> SequenceResult:
        key = (section_name(played), played.sequence)
        return self._results.setdefault(key, SequenceResult(*key))


def _keep(heap: list[_Ranked], entry: _Ranked) -> None:
    """Keep the `NUM_EXTREMES` greatest; no two entries of a heap are equal before their pictures, which do not compare."""
    if len(heap) < NUM_EXTREMES:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
