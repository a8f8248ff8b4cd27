# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix of a segmentation, and the intersection over union (IoU) that follows from it.

K classes. A pixel whose truth is `IGNORE` counts for nothing; a pixel with a truth and without a predicted class
(`IGNORE`, or any label from K on) counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_core.labels import IGNORE


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, pooled over all images that were added.

    counts: int64 [K, K + 1]; rows are the truth, columns the prediction, the last column pixels without a prediction.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.num_images = 0
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes + 1), np.int64)

    @classmethod
    def from_counts(cls, counts: NDArray[np.int64], num_images: int) -> ConfusionMatrix:
        """The matrix of counts [K, K + 1] that were taken before."""
        confusion = cls(len(counts))
        confusion.counts, confusion.num_images = counts.astype(np.int64), num_images
        return confusion

    def add(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Count one image: `predicted` and `truth` are labels, uint8 [H, W] each.

        Raises InputError where the sizes differ or the truth holds a label that is neither a class nor `IGNORE`.
        """
        if predicted.shape != truth.shape:
            raise InputError(
                f"the prediction is {_size(predicted)} and its ground truth {_size(truth)} (width x height): "
                "use labels of the image's own size"
            )
        annotated = truth != IGNORE
        true_classes = truth[annotated].astype(np.int64)
        if true_classes.size and true_classes.max() >= self.num_classes:
            raise InputError(
                f"the ground truth holds label {true_classes.max()}, expected 0 to {self.num_classes - 1} or {IGNORE} "
                "(not annotated): check that its label space is the one given"
            )
        columns = np.minimum(predicted[annotated].astype(np.int64), self.num_classes)
        width = self.num_classes + 1
        pairs = np.bincount(true_classes * width + columns, minlength=self.num_classes * width)
        self.counts += pairs.reshape(self.num_classes, width)
        self.num_images += 1

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix of the same classes."""
        self.counts += other.counts
        self.num_images += other.num_images

    def iou(self) -> NDArray[np.float64]:
        """IoU of each class, float64 [K], 0..1; NaN for a class that the truth never shows.

        A class absent from the truth has no IoU here, though some pixels were predicted so: those pixels are already
        counted against the classes that they really were.
        """
        hits = np.diagonal(self.counts).astype(np.float64)
        num_true = self.counts.sum(axis=1)
        num_predicted = self.counts[:, : self.num_classes].sum(axis=0)
        union = num_true + num_predicted - hits
        return np.where(num_true > 0, hits / np.maximum(union, 1), np.nan)

    def mean_iou(self, over: Sequence[int] = ()) -> float:
        """Mean IoU over the classes that occur in the truth, 0..1; NaN before the first annotated pixel.

        over: class ids to take the mean over, those of them that occur; empty for all.
        """
        iou = self.iou()[list(over)] if over else self.iou()
        seen = iou[~np.isnan(iou)]
        return float(seen.mean()) if seen.size else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of annotated pixels with the right class, 0..1; NaN before the first annotated pixel."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else float("nan")


def _size(labels: NDArray[np.uint8]) -> str:
    return "x".join(str(side) for side in reversed(labels.shape))
