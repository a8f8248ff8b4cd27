# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of the mean IoU by bootstrap: what another drive of the same kind could have given.

Frames of one drive look alike, so whole drives are drawn with replacement, not frames; where there is only one,
contiguous blocks of its frames (Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989).
Conditions are drawn each for itself: how much of a test is night is its design, not chance. With few drives (under
about ten) the true uncertainty is wider than the interval says.

U is the number of units (drives, or blocks), K the number of classes, R the number of resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
SEED = 0


class Interval(NamedTuple):
    """A 95 % interval, 0..1 for an IoU; both ends NaN where one unit says nothing about the spread."""

    low: float
    high: float


NO_INTERVAL = Interval(float("nan"), float("nan"))


class Resamples(NamedTuple):
    """Pixel counts of every class in every resample, float64 [R, K]: hits, and the union of truth and prediction."""

    hits: NDArray[np.float64]
    union: NDArray[np.float64]
    num_true: NDArray[np.float64]

    def mean_iou(self) -> NDArray[np.float64]:
        """Mean IoU of each resample over the classes that its truth shows, float64 [R]; NaN where it shows none."""
        seen = self.num_true > 0
        iou = np.where(seen, self.hits / np.maximum(self.union, 1), 0.0)
        with np.errstate(invalid="ignore"):
            return np.asarray(iou.sum(axis=1) / seen.sum(axis=1))


def resample(units: NDArray[np.int64], generator: np.random.Generator, num_resamples: int = NUM_RESAMPLES) -> Resamples:
    """Draw U of the U units with replacement, `num_resamples` times.

    units: confusion matrices int64 [U, K, K + 1] as `ConfusionMatrix.counts`.
    """
    num_units = len(units)
    drawn = generator.multinomial(num_units, np.full(num_units, 1 / num_units), num_resamples).astype(np.float64)  # [R, U]
    hits = np.diagonal(units, axis1=1, axis2=2).astype(np.float64)  # [U, K]
    num_true = units.sum(axis=2).astype(np.float64)
    num_predicted = units[:, :, :-1].sum(axis=1).astype(np.float64)
    return Resamples(drawn @ hits, drawn @ (num_true + num_predicted - hits), drawn @ num_true)


def pool(strata: Sequence[Resamples]) -> Resamples:
    """Conditions pooled pixel by pixel, resample by resample."""
    hits, union, num_true = (sum(parts[1:], parts[0]) for parts in zip(*strata, strict=True))
    return Resamples(hits, union, num_true)


def interval(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of values [R]; NaN counts for nothing."""
    known = values[~np.isnan(values)]
    return Interval(*map(float, np.percentile(known, (2.5, 97.5)))) if known.size else NO_INTERVAL
