# SPDX-License-Identifier: Apache-2.0
"""Features made so that their scores are known: two domains that agree, two that do not, and pure chance."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.analysis.cluster_scores import (
    DomainFeatures,
    FrameBootstrap,
    cross_domain_silhouette,
    domain_is_told,
    nearest_text_is_right,
    silhouette,
)

NUM_CLASSES, NUM_FRAMES, PER_FRAME, WIDTH = 4, 10, 3, 16


def points(centre_of, noise: float = 0.02, seed: int = 0) -> DomainFeatures:
    """Points of each class and domain around `centre_of(class, domain)`, over ten frames a domain."""
    rng = np.random.default_rng(seed)
    rows = [
        (centre_of(c, d) + noise * rng.normal(size=WIDTH), c, d, d * NUM_FRAMES + f)
        for d in (0, 1)
        for f in range(NUM_FRAMES)
        for c in range(NUM_CLASSES)
        for _ in range(PER_FRAME)
    ]
    features = np.stack([row[0] for row in rows])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return DomainFeatures(features, *(np.array([row[i] for row in rows]) for i in (1, 2, 3)))


def aligned() -> DomainFeatures:
    return points(lambda c, d: np.eye(WIDTH)[c])


def apart() -> DomainFeatures:
    """Each class of each domain at a place of its own, all equally far from each other."""
    return points(lambda c, d: np.eye(WIDTH)[c + NUM_CLASSES * d])


def test_aligned_domains_have_a_silhouette_near_one_and_cannot_be_told_apart():
    made = aligned()
    bootstrap = FrameBootstrap(made)
    assert bootstrap.mean(silhouette(made)).value > 0.98
    assert bootstrap.mean(cross_domain_silhouette(made)).value > 0.98
    told = bootstrap.mean(domain_is_told(made))
    assert told.low < 0.5 < told.high


def test_domains_apart_are_told_always_and_lie_with_no_class_of_the_other():
    made = apart()
    bootstrap = FrameBootstrap(made)
    assert bootstrap.mean(domain_is_told(made)).value == 1.0
    assert abs(bootstrap.mean(cross_domain_silhouette(made)).value) < 0.05
    # own class: half at distance 0, half at 1; the nearest other: 1 - 1/2 of the way to its two places
    assert bootstrap.mean(silhouette(made)).value == pytest.approx((1 - 60 / 2 / 59) / 1, abs=0.03)


def test_swapped_classes_lie_with_the_wrong_class_of_the_other_domain():
    made = points(lambda c, d: np.eye(WIDTH)[(c + d) % NUM_CLASSES])
    assert FrameBootstrap(made).mean(cross_domain_silhouette(made)).value < -0.95


def test_the_silhouette_is_that_of_all_pairwise_distances():
    made = points(lambda c, d: np.eye(WIDTH)[c] + 0.5 * np.eye(WIDTH)[8 + d], noise=0.3)
    distance = 1 - made.features @ made.features.T
    expected = []
    for i, own in enumerate(made.classes):
        others = np.arange(len(made.classes)) != i
        within = distance[i, (made.classes == own) & others].mean()
        nearest = min(distance[i, made.classes == c].mean() for c in range(NUM_CLASSES) if c != own)
        expected.append((nearest - within) / max(nearest, within))
    np.testing.assert_allclose(silhouette(made), expected, atol=1e-12)


def test_the_domain_is_asked_of_frames_that_the_means_have_not_seen():
    """Each frame's points lie at a place of the frame's own: known frames would tell the domain, unknown ones cannot."""
    rng = np.random.default_rng(1)
    places = rng.normal(size=(2 * NUM_FRAMES, 400))
    made = points(lambda c, d: np.eye(WIDTH)[c])
    features = places[made.frames] / np.linalg.norm(places[made.frames], axis=1, keepdims=True)
    assert FrameBootstrap(made).mean(domain_is_told(made._replace(features=features))).value < 0.7


def test_the_nearest_text_is_right_where_it_is_a_member_of_the_class():
    made, texts = aligned(), 3.0 * np.eye(WIDTH)[[1, 0, 2, 3]]
    right = nearest_text_is_right(made, texts, [(1,), (0,), (2,), (2, 3)])
    assert right.all()
    assert nearest_text_is_right(made, texts, [(0,), (1,), (2,), (3,)]).mean() == 0.5


def test_every_class_and_domain_weighs_the_same_and_the_interval_is_over_frames():
    made = aligned()
    few = np.flatnonzero((made.classes != 0) | (made.frames % 5 == 0))  # class 0 in a fifth of the frames
    thinned = DomainFeatures(*(field[few] for field in made))
    values = (thinned.classes == 0).astype(float)
    assert FrameBootstrap(thinned).mean(values).value == pytest.approx(1 / NUM_CLASSES)
    by_frame = (made.frames % 2).astype(float)  # half the frames 1, half 0
    interval = FrameBootstrap(made, num_draws=4000).mean(by_frame)
    deviation = np.sqrt(0.25 / (2 * NUM_FRAMES))
    assert interval.value == 0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * deviation, rel=0.12)


def test_a_change_has_an_interval_of_its_own_narrower_than_its_parts():
    made = aligned()
    before = (made.frames % 2).astype(float)
    change = FrameBootstrap(made).change(before, before + 0.25)
    assert change == pytest.approx((0.25, 0.25, 0.25))


def test_values_of_one_domain_alone_and_unknown_ones():
    made = aligned()
    values = np.where(made.domains == 1, 0.75, np.nan)
    assert FrameBootstrap(made).mean(values).value == FrameBootstrap(made).mean(values, domain=1).value == 0.75
