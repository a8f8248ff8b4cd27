# SPDX-License-Identifier: Apache-2.0
"""Calibration of constructed predictions whose figures follow by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_core.evaluation.calibration import NUM_BINS, Calibration


def counted(*groups):
    """Calibration of (number of pixels, of these right, confidence level) each."""
    calibration = Calibration()
    for num_pixels, num_right, level in groups:
        truth = np.zeros((1, num_pixels), np.uint8)
        predicted = (np.arange(num_pixels) >= num_right).astype(np.uint8)[None]
        calibration.add(predicted, truth, np.full((1, num_pixels), level, np.uint8))
    return calibration


def test_a_confidence_that_is_the_accuracy_has_no_error():
    assert counted((5, 1, 51), (5, 4, 204), (3, 3, 255)).expected_error() == pytest.approx(0)  # 51 / 255 is 1 / 5


def test_the_error_is_the_gap_of_each_bin_by_its_share_of_pixels():
    # 30 pixels sure and all wrong: gap 1; 70 with confidence 0.2 and accuracy 0.5: gap 0.3
    assert counted((30, 0, 255), (70, 35, 51)).expected_error() == pytest.approx(0.3 * 1 + 0.7 * 0.3)


def test_errors_of_one_bin_cancel_as_they_do_in_the_definition():
    # levels 0 and 16 share the first of 15 bins (17 levels each): accuracy 1/2, mean confidence 8 / 255
    assert counted((10, 0, 0), (10, 10, 16)).expected_error() == pytest.approx(0.5 - 8 / 255)


def test_every_level_lies_in_the_bin_of_its_probability():
    for level in (0, 16, 17, 33, 34, 237, 238, 254, 255):
        bins = counted((1, 1, level)).reliability()
        assert [entry.num_pixels for entry in bins].index(1) == min(level // 17, NUM_BINS - 1)
        assert len(bins) == NUM_BINS


def test_raising_the_threshold_leaves_fewer_and_surer_pixels():
    curve = counted((50, 10, 100), (30, 27, 200), (20, 20, 255)).coverage_curve()
    assert curve[0] == (0.0, 1.0, pytest.approx(0.57))
    assert curve[100][1:] == (1.0, pytest.approx(0.57))  # the node drops what is under the threshold, not what is at it
    assert curve[101] == (101 / 255, 0.5, pytest.approx(47 / 50))
    assert curve[201][1:] == (0.2, 1.0) and curve[255][1:] == (0.2, 1.0)


def test_pixels_without_a_truth_count_for_nothing():
    calibration = Calibration()
    calibration.add(np.array([[0, 1]], np.uint8), np.array([[255, 1]], np.uint8), np.array([[255, 255]], np.uint8))
    assert calibration.num_pixels.sum() == 1 and calibration.expected_error() == 0


def test_coverage_is_of_all_annotated_pixels_and_the_error_of_those_with_a_label():
    kept = counted((50, 10, 100), (50, 45, 200))
    error = kept.expected_error()
    kept.num_left_out = 300
    curve = kept.coverage_curve()
    assert curve[0] == (0.0, 0.25, pytest.approx(0.55)) and curve[200][1:] == (0.125, 0.9)
    assert kept.expected_error() == error


def test_adding_up_is_counting_together():
    together, first = counted((5, 2, 10), (7, 7, 250)), counted((5, 2, 10))
    first.merge(counted((7, 7, 250)))
    np.testing.assert_array_equal(first.num_pixels, together.num_pixels)
    np.testing.assert_array_equal(first.num_right, together.num_right)


def test_nothing_counted_is_not_known():
    assert math.isnan(Calibration().expected_error()) and Calibration().coverage_curve() == []


def test_sizes_that_differ_are_an_error():
    with pytest.raises(InputError, match=r"\(1, 2\), \(1, 2\), \(2, 1\)"):
        Calibration().add(np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
