# SPDX-License-Identifier: Apache-2.0
"""How features of two domains lie to each other: scores of each point, and their mean with a bootstrap interval.

N points, D width, G classes, K texts, F frames. Features have length 1 and distances are cosine distances, as pixel-text
matching compares; the mean distance to a group is then 1 - cosine to the group's mean vector, which needs no N x N matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NUM_FOLDS = 5


class DomainFeatures(NamedTuple):
    """Points of two domains. features: float64 [N, D] of length 1. classes, domains (0 or 1), frames: int64 [N]."""

    features: Floats
    classes: NDArray[np.int64]
    domains: NDArray[np.int64]
    frames: NDArray[np.int64]


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def silhouette(points: DomainFeatures) -> Floats:
    """Each point's silhouette by class over both domains, [N] in -1..1 (Rousseeuw, 1987)."""
    classes, own = np.unique(points.classes, return_inverse=True)
    means = np.stack([points.features[points.classes == c].mean(0) for c in classes])
    distance = 1 - points.features @ means.T  # [N, G]
    counts = np.bincount(own).astype(float)[own]
    rows = np.arange(len(own))
    within = distance[rows, own] * counts / np.maximum(counts - 1, 1)  # the point itself, at distance 0, left out
    distance[rows, own] = np.inf
    return _silhouette(within, distance.min(1))


def cross_domain_silhouette(points: DomainFeatures) -> Floats:
    """Each point's silhouette among the other domain's classes, [N] in -1..1.

    Over 0: the point lies nearer to its own class of the other domain than to any other class there.
    """
    classes, own = np.unique(points.classes, return_inverse=True)
    result = np.empty(len(own))
    for domain in (0, 1):
        here, there = points.domains == domain, points.domains != domain
        means = np.stack([points.features[there & (points.classes == c)].mean(0) for c in classes])
        distance = 1 - points.features[here] @ means.T
        rows, columns = np.arange(len(distance)), own[here]
        within = distance[rows, columns].copy()
        distance[rows, columns] = np.inf
        result[here] = _silhouette(within, distance.min(1))
    return result


def _silhouette(within: Floats, nearest_other: Floats) -> Floats:
    return (nearest_other - within) / np.maximum(np.maximum(nearest_other, within), 1e-12)


def domain_is_told(points: DomainFeatures) -> Floats:
    """Whether the nearer of its class's two domain means is that of the point's own domain, [N] of 0 and 1.

    The means come from other frames (five folds by frame): features that do not tell domains apart give 0.5 on average.
    NaN where a fold leaves a domain without points of the class.
    """
    result = np.full(len(points.classes), np.nan)
    fold_of = points.frames % _NUM_FOLDS
    for semantic_class in np.unique(points.classes):
        of_class = points.classes == semantic_class
        for fold in range(_NUM_FOLDS):
            asked = of_class & (fold_of == fold)
            known = [of_class & (fold_of != fold) & (points.domains == domain) for domain in (0, 1)]
            if not all(members.any() for members in known):
                continue
            means = np.stack([points.features[members].mean(0) for members in known])
            squared_distance = (means**2).sum(1) - 2 * points.features[asked] @ means.T
            result[asked] = squared_distance.argmin(1) == points.domains[asked]
    return result


def nearest_text_is_right(points: DomainFeatures, texts: Floats, members: Sequence[Sequence[int]]) -> Floats:
    """Whether the nearest text is one of the point's class, [N] of 0 and 1.

    texts: [K, D] of any length. members: the texts' numbers that each class admits, by class.
    """
    directions = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    nearest = (points.features @ directions.T).argmax(1)
    admitted = np.zeros((len(members), len(texts)), bool)
    for semantic_class, numbers in enumerate(members):
        admitted[semantic_class, list(numbers)] = True
    return admitted[points.classes, nearest].astype(float)


class FrameBootstrap:
    """Draws frames with replacement, as many of each domain as it has: pixels of one frame are no independent evidence.

    The same draws serve every score, so that a difference of two scores has an interval of its own.
    """

    def __init__(self, points: DomainFeatures, *, num_draws: int = 1000, seed: int = 0) -> None:
        frames, self._frame = np.unique(points.frames, return_inverse=True)
        self._cells = points.classes * 2 + points.domains
        self._domains = points.domains
        domain_of = np.zeros(len(frames), np.int64)
        domain_of[self._frame] = points.domains
        rng = np.random.default_rng(seed)
        self._draws = np.zeros((num_draws, len(frames)))
        for domain in (0, 1):
            members = np.flatnonzero(domain_of == domain)
            self._draws[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), num_draws)

    def mean(self, values: Floats, *, domain: int | None = None) -> Estimate:
        """Mean over the classes and domains, each weighing the same; NaN values do not count."""
        return estimate(*self._means(values, domain))

    def change(self, before: Floats, after: Floats, *, domain: int | None = None) -> Estimate:
        """The mean after less the mean before."""
        value_before, drawn_before = self._means(before, domain)
        value_after, drawn_after = self._means(after, domain)
        return estimate(value_after - value_before, drawn_after - drawn_before)

    def _means(self, values: Floats, domain: int | None) -> tuple[float, Floats]:
        """The mean of all frames, and of each draw of frames."""
        counted = ~np.isnan(values) & ((self._domains == domain) if domain is not None else True)
        shape = self._draws.shape[1], int(self._cells.max()) + 1
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (self._frame[counted], self._cells[counted]), values[counted])
        np.add.at(counts, (self._frame[counted], self._cells[counted]), 1.0)
        draws = np.vstack((np.ones((1, shape[0])), self._draws))
        drawn_sums, drawn_counts = draws @ sums, draws @ counts  # [1 + draws, cells]
        cell_means = np.where(drawn_counts > 0, drawn_sums / np.maximum(drawn_counts, 1), 0.0)
        means = cell_means.sum(1) / np.maximum((drawn_counts > 0).sum(1), 1)
        return float(means[0]), means[1:]


def estimate(value: float, drawn: Floats) -> Estimate:
    """A value with the middle 95 % of what the draws gave."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(value, float(low), float(high))
