# SPDX-License-Identifier: Apache-2.0
"""One bag's figures: by condition, by drive, mean and pooled; written and read back; and what is demanded of them."""

from __future__ import annotations

import json
import math
import re

import pytest

from tests.vltseg_core.evaluation.made_up_bags import bag, drive
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_markdown import render_markdown
from vltseg_core.evaluation.flicker import Flicker
from vltseg_core.evaluation.sequence_result import BLOCK_FRAMES, FrameTiming, SequenceResult
from vltseg_core.evaluation.thresholds import parse_thresholds, require_known, shortfalls
from vltseg_core.labels import CITYSCAPES

NAN = float("nan")


@pytest.fixture
def two_conditions():
    return bag(
        drive("day", "a", [0.8] * 12, [10.0, 20.0, NAN]),
        drive("day", "b", [0.6] * 12, [40.0]),
        drive("night", "c", [0.2] * 6, [120.0, 60.0]),
    )


def test_pooled_counts_pixels_and_mean_counts_conditions(two_conditions):
    assert two_conditions.by_condition["day"].value == pytest.approx(0.7)
    assert two_conditions.pooled.value == pytest.approx((12 * 0.8 + 12 * 0.6 + 6 * 0.2) / 30)
    assert two_conditions.mean.value == pytest.approx((0.7 + 0.2) / 2)


def test_intervals_are_over_drives_where_there_are_several(two_conditions):
    assert two_conditions.conditions[0].num_units == 2
    assert two_conditions.by_condition["day"].interval == pytest.approx((0.605, 0.795), abs=0.01)
    # the one night drive has six frames, one block: of its spread nothing is known
    assert all(math.isnan(end) for end in two_conditions.by_condition["night"].interval)
    assert two_conditions.mean.interval == pytest.approx((0.4025, 0.4975), abs=0.01)


def test_one_drive_is_drawn_in_blocks_of_its_frames():
    one = bag(drive("day", "a", [0.9] * BLOCK_FRAMES + [0.5] * BLOCK_FRAMES + [0.7] * 3))
    assert one.total.num_units == 3
    low, high = one.pooled.interval
    assert 0.5 < low < 0.6 and 0.8 < high < 0.9


def test_frames_are_answered_dropped_rejected_or_late(two_conditions):
    day, night = two_conditions.conditions
    assert (day.num_frames, day.num_answered, day.num_dropped, day.num_late) == (4, 3, 1, 0)
    assert (night.num_answered, night.num_late) == (2, 1)
    two_conditions.sequences[0].timings[2] = FrameTiming(NAN, NAN, 100.0, refused=True)
    assert (day.num_dropped, day.num_refused) == (0, 1)


def test_what_is_written_is_read_back_whole(two_conditions):
    two_conditions.sequences[0].flicker = Flicker(1000, 25)
    document = json.loads(json.dumps(bag_figures.write(two_conditions)))
    again = bag_figures.read(document)
    assert bag_figures.write(again) == document
    assert again.pooled == two_conditions.pooled and again.classes.names == CITYSCAPES.names
    assert document["conditions"]["day"]["flicker"] == 0.025


def test_the_figures_are_there_by_name(two_conditions):
    figures = bag_figures.write(two_conditions)
    day = figures["conditions"]["day"]
    assert day["iou"]["road"] == 0.7 and day["iou"]["car"] is None
    assert day["latency_ms"]["median"] == 20.0 and day["latency_from_stamp_ms"]["median"] == 25.0
    assert day["answered_within_ms"] == {"33": 0.5, "50": 0.75, "100": 0.75}
    assert day["calibration"]["expected_error"] == pytest.approx(0.1)
    assert day["class_shares"]["road"] == 0.7 and day["class_shares"]["sidewalk"] == 0.3
    assert figures["mean_iou_over_conditions"]["value"] == 0.45
    assert [entry["sequence"] for entry in figures["sequences"]] == ["a", "b", "c"]


def test_another_file_is_no_result():
    with pytest.raises(InputError, match="no results.json of vltseg evaluate-bag"):
        bag_figures.read({"sections": {}})


def test_a_bag_without_ground_truth_has_times_and_class_shares():
    result = bag(SequenceResult("sequence", "", [FrameTiming(12.0, NAN, 100.0)]))
    figures = bag_figures.write(result)
    assert not result.has_truth and figures["mean_iou_pooled"]["value"] is None
    assert "iou" not in figures["overall"] and "calibration" not in figures["overall"]
    assert "IoU" not in render_markdown(result) and "| overall | 1 | 1 | 0 | 0 | 0 | 12.0 / 12.0 / 12.0 |" in render_markdown(
        result
    )


def test_the_tables_say_what_the_figures_say(two_conditions):
    page = render_markdown(two_conditions)
    assert re.search(r"\| day \| 70.0 \| 60.\d to 79.\d \| 24 \|", page)
    assert re.search(r"\| mean of conditions \| 45.0 \| 40.\d to 49.\d \|", page)
    assert "| road | 70.0 | 20.0 | 60.0 |" in page and "| car |" not in page
    assert "| c | night | 20.0 | 6 |" in page and "- mind the gap" in page


def test_what_falls_short_is_named(two_conditions):
    assert shortfalls(two_conditions, parse_thresholds("day=70,overall=60")) == []
    assert shortfalls(two_conditions, parse_thresholds("night=55, overall=65")) == [
        "night has 20.0 % mean IoU, 55 % are demanded",
        "overall has 60.0 % mean IoU, 65 % are demanded",
    ]


def test_a_condition_that_is_not_there_is_said(two_conditions):
    with pytest.raises(ConfigurationError, match="'nigth', which the bag does not have: did you mean 'night'"):
        require_known({"nigth": 50.0}, ["day", "night"])
    require_known({"night": 50.0, "overall": 50.0}, ["day", "night"])
    assert shortfalls(two_conditions, {"nigth": 50.0}) == ["the bag has no condition 'nigth': did you mean 'night'?"]


@pytest.mark.parametrize("text", ["night", "night=much", "=55", "night=155", "night=55,,"])
def test_thresholds_that_are_none_are_refused(text):
    with pytest.raises(ConfigurationError, match="is no NAME=PERCENT"):
        parse_thresholds(text)


def test_no_ground_truth_falls_short():
    result = bag(SequenceResult("fog", "", [FrameTiming(12.0, NAN, 100.0)]))
    assert shortfalls(result, {"fog": 10.0}) == ["fog has no ground truth, 10 % are demanded"]
