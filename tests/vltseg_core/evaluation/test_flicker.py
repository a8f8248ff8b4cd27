# SPDX-License-Identifier: Apache-2.0
"""Flicker counts label changes where the image holds still, and nowhere else."""

from __future__ import annotations

import math

import numpy as np

from vltseg_core.evaluation.flicker import Flicker

SIZE = (40, 40)


def grey(level):
    return np.full((*SIZE, 3), level, np.uint8)


def labels(num_ones=0):
    flat = np.zeros(SIZE[0] * SIZE[1], np.uint8)
    flat[:num_ones] = 1
    return flat.reshape(SIZE)


def test_a_still_image_of_still_labels_has_none():
    flicker = Flicker()
    for _ in range(3):
        flicker.add(grey(90), labels())
    assert (flicker.num_still, flicker.num_changed, flicker.share) == (2 * 1600, 0, 0.0)


def test_changed_labels_of_a_still_image_are_counted():
    flicker = Flicker()
    for num_ones in (0, 400, 400, 0):
        flicker.add(grey(90), labels(num_ones))
    assert flicker.share == 800 / (3 * 1600)


def test_what_moved_does_not_count():
    flicker = Flicker()
    moved = grey(90)
    moved[20:] = 200
    flicker.add(grey(90), labels())
    flicker.add(moved, labels(1600))
    assert flicker.num_still == flicker.num_changed == 18 * 40  # two rows beside the change lie in its neighbourhood


def test_noise_of_a_sensor_does_not_hide_stillness():
    generator = np.random.default_rng(0)
    flicker = Flicker()
    for _ in range(5):
        noise = generator.normal(0, 5, (*SIZE, 1))
        flicker.add(np.clip(90 + noise, 0, 255).astype(np.uint8).repeat(3, axis=2), labels())
    assert flicker.num_still > 0.95 * 4 * 1600


def test_a_restart_and_another_size_begin_anew():
    flicker = Flicker()
    flicker.add(grey(90), labels())
    flicker.restart()
    flicker.add(grey(90), labels(1600))
    flicker.add(np.full((20, 20, 3), 90, np.uint8), np.zeros((20, 20), np.uint8))
    assert math.isnan(flicker.share)


def test_counts_add_up():
    flicker = Flicker(100, 10)
    flicker.merge(Flicker(300, 10))
    assert flicker.share == 0.05
