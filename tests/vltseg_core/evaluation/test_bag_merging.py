# SPDX-License-Identifier: Apache-2.0
"""Bags add up: what is merged is what one evaluation of all their frames would have counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_merging import NamedBag, merge
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.flicker import Flicker
from vltseg_core.evaluation.sequence_result import FrameTiming, SequenceResult
from vltseg_core.labels import CAMVID, CITYSCAPES


def drive(condition, name, seed, num_frames=12, classes=CITYSCAPES):
    """Frames of noise against noise."""
    generator = np.random.default_rng(seed)
    result = SequenceResult(condition, name, [FrameTiming(ms, ms + 5, 100.0) for ms in generator.uniform(5, 150, num_frames)])
    for _ in range(num_frames):
        predicted, truth = (generator.integers(0, len(classes), (20, 20)).astype(np.uint8) for _ in range(2))
        frame = ConfusionMatrix(len(classes))
        frame.add(predicted, truth)
        result.add_confusion(frame)
        result.calibration.add(predicted, truth, generator.integers(0, 256, (20, 20)).astype(np.uint8))
        result.label_pixels += np.bincount(predicted.ravel(), minlength=256)
    result.flicker = Flicker(100 + seed, 10)
    return result


def bag(*drives, **changes):
    said = {
        "source": "a bag",
        "lossless": True,
        "rate": 1.0,
        "min_confidence": 0.0,
        "drawn": False,
        "classes": CITYSCAPES,
        "playing_s": 2.0,
        "network": (("checkpoint", "tiny"), ("device", "cpu")),
        "machine": (("cores", "2"),),
    }
    return BagResult(sequences=drives, **{**said, **changes})


@pytest.fixture
def two_bags():
    """Both have a drive `first` at night."""
    return [
        NamedBag("monday", bag(drive("night", "first", 1), drive("day", "second", 2))),
        NamedBag("tuesday", bag(drive("night", "first", 3, 25), machine=(("cores", "64"),), playing_s=3.5)),
    ]


def test_counts_add_exactly(two_bags):
    merged = merge(two_bags)
    parts = [one.result.total for one in two_bags]
    np.testing.assert_array_equal(merged.total.confusion.counts, sum(part.confusion.counts for part in parts))
    np.testing.assert_array_equal(merged.total.calibration.num_right, sum(part.calibration.num_right for part in parts))
    np.testing.assert_array_equal(merged.total.label_pixels, sum(part.label_pixels for part in parts))
    assert merged.total.latencies_ms == [ms for part in parts for ms in part.latencies_ms]
    assert (merged.total.num_frames, merged.total.confusion.num_images, merged.playing_s) == (49, 49, 5.5)
    assert merged.total.flicker.num_still == 101 + 102 + 103


def test_figures_are_those_of_one_bag_with_all_the_drives(two_bags):
    drives = [sequence for one in two_bags for sequence in one.result.sequences]
    names = ["monday: first", "monday: second", "tuesday: first"]
    whole = bag(*(replace(one, sequence=name) for one, name in zip(drives, names, strict=True)))
    merged = bag_figures.write(merge(two_bags))
    for said in ("mean_iou_pooled", "mean_iou_over_conditions", "overall", "conditions", "sequences", "counts"):
        assert merged[said] == bag_figures.write(whole)[said], said


def test_drives_of_the_same_name_stay_two_and_conditions_pool(two_bags):
    merged = merge(two_bags)
    assert [(one.condition, one.sequence) for one in merged.sequences] == [
        ("night", "monday: first"),
        ("day", "monday: second"),
        ("night", "tuesday: first"),
    ]
    night, day = merged.conditions
    assert (night.name, night.num_frames, night.num_units) == ("night", 37, 2)
    assert (day.name, day.num_frames) == ("day", 12)


def test_a_drive_without_a_name_has_its_bags():
    assert merge([NamedBag("monday", bag(drive("day", "", 1)))]).sequences[0].sequence == "monday"


def test_the_bags_given_are_left_as_they_were(two_bags):
    before = [bag_figures.write(one.result) for one in two_bags]
    merge(two_bags)
    assert [bag_figures.write(one.result) for one in two_bags] == before


def test_what_differs_between_bags_is_said_with_all_its_values(two_bags):
    merged = merge(two_bags)
    assert merged.network == (("checkpoint", "tiny"), ("device", "cpu"))
    assert merged.machine == (("cores", "2 / 64"),)


def test_remarks_name_their_bag(two_bags):
    late = NamedBag("late", replace(two_bags[0].result, remarks=("mind the gap",)))
    assert merge([*two_bags, late]).remarks == ("late: mind the gap",)


def test_ground_truth_in_other_classes_counts_in_no_iou_and_that_is_said(two_bags):
    other = NamedBag("camvid", bag(drive("day", "a", 5, classes=CAMVID), classes=CAMVID))
    merged = merge([other, *two_bags])
    assert merged.classes.names == CITYSCAPES.names and len(merged.remarks) == 1
    np.testing.assert_array_equal(merged.total.confusion.counts, merge(two_bags).total.confusion.counts)
    assert merged.total.num_frames == 49 + 12 and "camvid: its ground truth has other classes" in merged.remarks[0]
    np.testing.assert_array_equal(merged.total.calibration.num_pixels, merge(two_bags).total.calibration.num_pixels)


def test_drawn_scenes_among_pictures_are_named(two_bags):
    drawn = NamedBag("drawn", replace(two_bags[0].result, drawn=True))
    merged = merge([*two_bags, drawn])
    assert merged.drawn and "Drawn scenes are among the pictures of cameras: drawn." in merged.remarks


def test_bags_that_were_not_played_alike_are_refused(two_bags):
    slow = NamedBag("slow", replace(two_bags[0].result, rate=0.5))
    with pytest.raises(InputError, match="bag 'slow' was not played as 'monday'"):
        merge([*two_bags, slow])


def test_a_name_given_twice_and_no_bag_are_refused(two_bags):
    with pytest.raises(InputError, match="two bags have the name 'monday'"):
        merge([*two_bags, two_bags[0]])
    with pytest.raises(InputError, match="no bag's result to merge"):
        merge([])
