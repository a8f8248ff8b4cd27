# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix and IoU against a pixel by pixel count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.labels import IGNORE


def naive_iou(predicted, truth, num_classes):
    """IoU by class, straight from its definition."""
    result = []
    for label in range(num_classes):
        both = either = true = 0
        for p, t in zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if t == IGNORE:
                continue
            true += t == label
            both += t == label and p == label
            either += t == label or p == label
        result.append(both / either if true else math.nan)
    return result


def random_labels(seed, num_classes, shape=(23, 31)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, shape).astype(np.uint8)
    labels[rng.random(shape) < 0.15] = IGNORE
    return labels


@pytest.mark.parametrize("num_classes", [1, 2, 11, 19])
def test_iou_equals_a_count_pixel_by_pixel(num_classes):
    predicted, truth = random_labels(1, num_classes), random_labels(2, num_classes)
    matrix = ConfusionMatrix(num_classes)
    matrix.add(predicted, truth)
    np.testing.assert_allclose(matrix.iou(), naive_iou(predicted, truth, num_classes), rtol=0, atol=1e-12)
    assert matrix.counts.sum() == np.count_nonzero(truth != IGNORE)


def test_images_are_pooled_not_averaged():
    pairs = [(random_labels(seed, 5), random_labels(seed + 50, 5, (23, 31))) for seed in range(4)]
    pooled, halves = ConfusionMatrix(5), (ConfusionMatrix(5), ConfusionMatrix(5))
    for index, (predicted, truth) in enumerate(pairs):
        pooled.add(predicted, truth)
        halves[index % 2].add(predicted, truth)
    halves[0].merge(halves[1])
    stacked = naive_iou(np.stack([p for p, _ in pairs]), np.stack([t for _, t in pairs]), 5)
    np.testing.assert_allclose(pooled.iou(), stacked, atol=1e-12)
    np.testing.assert_array_equal(halves[0].counts, pooled.counts)
    assert pooled.num_images == halves[0].num_images == 4


def test_a_perfect_prediction_scores_one_and_an_ignored_pixel_counts_for_nothing():
    truth = random_labels(3, 7)
    predicted = np.where(truth == IGNORE, 4, truth).astype(np.uint8)
    matrix = ConfusionMatrix(7)
    matrix.add(predicted, truth)
    assert matrix.mean_iou() == 1.0 and matrix.pixel_accuracy() == 1.0


def test_a_pixel_without_prediction_is_a_miss():
    truth = np.zeros((2, 4), np.uint8)
    predicted = np.array([[0, 0, 0, 0], [0, 0, IGNORE, 200]], np.uint8)
    matrix = ConfusionMatrix(3)
    matrix.add(predicted, truth)
    assert matrix.iou()[0] == 6 / 8
    assert matrix.pixel_accuracy() == 6 / 8


def test_the_mean_runs_over_the_classes_of_the_truth():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    predicted = np.array([[0, 2, 1, 1]], np.uint8)  # class 2 occurs in the prediction only
    matrix = ConfusionMatrix(4)
    matrix.add(predicted, truth)
    assert np.isnan(matrix.iou()[2:]).all()
    assert matrix.mean_iou() == (1 / 2 + 1) / 2


def test_without_annotated_pixels_there_is_no_score():
    matrix = ConfusionMatrix(3)
    matrix.add(np.zeros((2, 2), np.uint8), np.full((2, 2), IGNORE, np.uint8))
    assert math.isnan(matrix.mean_iou()) and math.isnan(matrix.pixel_accuracy())


def test_sizes_must_agree():
    with pytest.raises(InputError, match="4x2 and its ground truth 2x4"):
        ConfusionMatrix(3).add(np.zeros((2, 4), np.uint8), np.zeros((4, 2), np.uint8))


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(InputError, match="label 11, expected 0 to 10"):
        ConfusionMatrix(11).add(np.zeros((2, 2), np.uint8), np.full((2, 2), 11, np.uint8))
