# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of the mean IoU by bootstrap: what another drive of the same kind could have given.

Frames of one drive look alike, so whole drives are the units, not frames; where there is only one, contiguous blocks of
its frames (Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989). Units get random
weights of the flat Dirichlet distribution (Rubin, "The Bayesian Bootstrap", 1981): drawing whole units instead would leave
a class that few drives show out of a third of the resamples and bias the mean. Conditions are weighted each for itself:
how much of a test is night is its design, not chance. With few units (under about ten) the truth is wider than the
interval says.

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
    """Weighted pixel counts of every class in every resample, float64 [R, K]."""

    hits: NDArray[np.float64]
    union: NDArray[np.float64]
    num_true: NDArray[np.float64]

    def iou(self) -> NDArray[np.float64]:
        """IoU of each class in each resample, float64 [R, K]; NaN where the truth does not show it."""
        seen = self.num_true > 0
        return np.where(seen, self.hits / np.where(seen, self.union, 1.0), np.nan)

    def mean_iou(self) -> NDArray[np.float64]:
        """Mean IoU of each resample over the classes that its truth shows, float64 [R]; NaN where it shows none."""
        seen = self.num_true > 0
        iou = self.hits / np.where(seen, self.union, 1.0) * seen
        with np.errstate(invalid="ignore"):
            return np.asarray(iou.sum(axis=1) / seen.sum(axis=1))


def resample(units: NDArray[np.int64], generator: np.random.Generator, num_resamples: int = NUM_RESAMPLES) -> Resamples:
    """The units' pixels under random weights, `num_resamples` times.

    units: confusion matrices int64 [U, K, K + 1] as `ConfusionMatrix.counts`.
    """
    num_units = len(units)
    weights = num_units * generator.dirichlet(np.ones(num_units), num_resamples)  # [R, U]
    hits = np.diagonal(units, axis1=1, axis2=2).astype(np.float64)  # [U, K]
    num_true = units.sum(axis=2).astype(np.float64)
    num_predicted = units[:, :, :-1].sum(axis=1).astype(np.float64)
    return Resamples(weights @ hits, weights @ (num_true + num_predicted - hits), weights @ num_true)


def pool(strata: Sequence[Resamples]) -> Resamples:
    """Conditions pooled pixel by pixel, resample by resample."""
    hits, union, num_true = (sum(parts[1:], parts[0]) for parts in zip(*strata, strict=True))
    return Resamples(hits, union, num_true)


def interval(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of values [R]; NaN counts for nothing."""
    known = values[~np.isnan(values)]
    return Interval(*map(float, np.percentile(known, (2.5, 97.5)))) if known.size else NO_INTERVAL
