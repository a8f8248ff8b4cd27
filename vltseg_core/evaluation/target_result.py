# SPDX-License-Identifier: Apache-2.0
"""What an evaluation on one target gave, and its form in results.json. K classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.frame_scores import FrameScores


class FrameResult(NamedTuple):
    """One judged frame. number: its place in the data set. mean_iou: over the classes that its truth shows, 0..1."""

    number: int
    name: str
    condition: str
    mean_iou: float


@dataclass(frozen=True)
class TargetResult:
    """How good a checkpoint's labels are on one target, 0..1 throughout.

    by_condition: pixels pooled by weather or light; one entry of name "" where the data set says none.
    mean_classes: those that means are taken over, empty for all that occur in the truth.
    num_frames: that were asked for. unreadable: frames that could not be used, and why.
    seconds_per_frame: from a decoded image to its labels, median.
    """

    class_names: tuple[str, ...]
    mean_classes: tuple[str, ...]
    by_condition: dict[str, ConfusionMatrix]
    frames: tuple[FrameResult, ...]
    num_frames: int
    unreadable: dict[str, str]
    seconds_per_frame: float

    @property
    def pooled(self) -> ConfusionMatrix:
        """The pixels of all conditions together."""
        total = ConfusionMatrix(len(self.class_names))
        for confusion in self.by_condition.values():
            total.merge(confusion)
        return total

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that the data set names."""
        return tuple(name for name in self.by_condition if name)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the pooled pixels, the figure of benchmarks."""
        return self.mean_of(self.pooled)

    @property
    def mean_of_conditions(self) -> float:
        """Mean of the conditions' mean IoUs, each counted alike; NaN without conditions."""
        means = [self.condition_mean_iou(name) for name in self.conditions]
        known = [mean for mean in means if not np.isnan(mean)]
        return float(np.mean(known)) if known else float("nan")

    def condition_mean_iou(self, condition: str) -> float:
        """Mean IoU in one condition; NaN where it does not occur."""
        confusion = self.by_condition.get(condition)
        return float("nan") if confusion is None else self.mean_of(confusion)

    def mean_of(self, confusion: ConfusionMatrix) -> float:
        """Mean IoU over this target's mean classes."""
        return confusion.mean_iou(_class_ids(self.class_names, self.mean_classes))

    def iou(self, condition: str | None = None) -> dict[str, float]:
        """IoU by class name, pooled or in one condition; NaN for a class that the truth never shows."""
        confusion = self.pooled if condition is None else self.by_condition[condition]
        return dict(zip(self.class_names, confusion.iou().tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the confusion counts among them, so that `from_dict` gives the same result again."""
        return {
            "mean_iou": _number(self.mean_iou),
            "mean_of_conditions": _number(self.mean_of_conditions),
            "pixel_accuracy": _number(self.pooled.pixel_accuracy()),
            "iou": {name: _number(value) for name, value in self.iou().items()},
            "class_names": list(self.class_names),
            "mean_classes": list(self.mean_classes),
            "num_frames": self.num_frames,
            "seconds_per_frame": round(self.seconds_per_frame, 5),
            "unreadable": self.unreadable,
            "conditions": {
                name: {
                    "mean_iou": _number(self.mean_of(confusion)),
                    "num_frames": confusion.num_images,
                    "iou": {n: _number(value) for n, value in self.iou(name).items()},
                    "confusion": confusion.counts.tolist(),
                }
                for name, confusion in self.by_condition.items()
            },
            "frames": [[*frame[:3], _number(frame.mean_iou)] for frame in self.frames],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TargetResult:
        """The inverse of `to_dict`; InputError where something is missing."""
        try:
            return cls(
                class_names=tuple(fields["class_names"]),
                mean_classes=tuple(fields["mean_classes"]),
                by_condition={
                    name: ConfusionMatrix.from_counts(np.array(c["confusion"], np.int64), c["num_frames"])
                    for name, c in fields["conditions"].items()
                },
                frames=tuple(FrameResult(i, n, c, np.nan if m is None else m) for i, n, c, m in fields["frames"]),
                num_frames=fields["num_frames"],
                unreadable=dict(fields["unreadable"]),
                seconds_per_frame=fields["seconds_per_frame"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"no result of an evaluation ({error!r}): give a results.json of training/evaluate.py") from error


def target_result(evaluation_set: EvaluationSet, scores: FrameScores, num_frames: int) -> TargetResult:
    """The result that the scores of `num_frames` frames of a set amount to."""
    conditions = evaluation_set.conditions or ("",) * len(evaluation_set.images)
    mean_ids = _class_ids(evaluation_set.class_names, evaluation_set.mean_classes)
    by_condition: dict[str, ConfusionMatrix] = {}
    frames = []
    for index in sorted(scores.counts):
        confusion = ConfusionMatrix.from_counts(scores.counts[index], 1)
        by_condition.setdefault(conditions[index], ConfusionMatrix(scores.num_classes)).merge(confusion)
        name = evaluation_set.frame_names[index]
        frames.append(FrameResult(index, name, conditions[index], confusion.mean_iou(mean_ids)))
    return TargetResult(
        class_names=evaluation_set.class_names,
        mean_classes=evaluation_set.mean_classes,
        by_condition=by_condition,
        frames=tuple(frames),
        num_frames=num_frames,
        unreadable={evaluation_set.frame_names[i]: reason for i, reason in sorted(scores.unreadable.items())},
        seconds_per_frame=float(np.median(list(scores.seconds.values()))) if scores.seconds else float("nan"),
    )


def _class_ids(class_names: tuple[str, ...], chosen: tuple[str, ...]) -> list[int]:
    return [class_names.index(name) for name in chosen]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
