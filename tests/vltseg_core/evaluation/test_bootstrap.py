# SPDX-License-Identifier: Apache-2.0
"""Intervals come from drawing whole units, and their spread is the units' spread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vltseg_core.evaluation import bootstrap


def unit(hits, misses):
    """Counts of two classes: of class 0 so many hits, and misses that went to class 1, which the truth never shows."""
    counts = np.zeros((2, 3), np.int64)
    counts[0, 0], counts[0, 1] = hits, misses
    return counts


def drawn(*units, seed=0, num_resamples=4000):
    return bootstrap.resample(np.stack(units), np.random.default_rng(seed), num_resamples)


def test_units_that_are_alike_leave_no_doubt():
    values = drawn(unit(60, 40), unit(60, 40), unit(60, 40)).mean_iou()
    assert bootstrap.interval(values) == pytest.approx((0.6, 0.6))


def test_two_units_are_mixed_in_every_proportion():
    """Their weights are uniform, so 95 % of the mixtures lie in the middle 95 % between them."""
    low, high = bootstrap.interval(drawn(unit(60, 40), unit(80, 20), num_resamples=20000).mean_iou())
    assert low == pytest.approx(0.605, abs=0.002) and high == pytest.approx(0.795, abs=0.002)


def test_a_class_of_one_unit_is_in_every_resample():
    rare = np.zeros((2, 3), np.int64)
    rare[1, 1] = 100
    values = drawn(unit(60, 40), unit(60, 40), rare).mean_iou()
    assert values.min() > 0.3, "without the rare class it would be 0.6 in some, with it about (0.6 + iou) / 2"
    assert len(set(values.tolist())) == len(values)


def test_the_interval_of_many_units_is_that_of_their_mean():
    generator = np.random.default_rng(1)
    shares = generator.uniform(0.4, 0.8, 100)
    values = drawn(*(unit(round(1000 * share), 1000 - round(1000 * share)) for share in shares)).mean_iou()
    low, high = bootstrap.interval(values)
    half = 1.96 * shares.std() / 10
    assert low == pytest.approx(shares.mean() - half, abs=0.004) and high == pytest.approx(shares.mean() + half, abs=0.004)


def test_the_same_seed_gives_the_same_interval():
    units = [unit(10 * i, 100 - i) for i in range(1, 8)]
    first, again, other = (bootstrap.interval(drawn(*units, seed=seed, num_resamples=99).mean_iou()) for seed in (0, 0, 1))
    assert first == again != other


def test_pooling_adds_pixels_not_figures():
    pooled = bootstrap.pool([drawn(unit(90, 10)), drawn(unit(100, 800))])
    assert bootstrap.interval(pooled.mean_iou()) == pytest.approx((0.19, 0.19))


def test_what_shows_no_class_is_not_known():
    assert np.isnan(drawn(unit(0, 0), unit(0, 0)).mean_iou()).all()
    assert all(math.isnan(end) for end in bootstrap.interval(np.array([np.nan])))
