# SPDX-License-Identifier: Apache-2.0
"""The page of a bag's evaluation says its figures, whatever the bag has, and needs nothing but itself."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.html_structure import Page, require_self_contained
from tests.vltseg_core.evaluation.made_up_bags import bag, bag_without_answers, bag_without_truth, drive, picture_rows, rich_bag
from vltseg_core.evaluation.bag_charts import Curve, Tick, confusion_table, curve_chart, interval_chart, reliability_chart
from vltseg_core.evaluation.bag_page import render_bag_page
from vltseg_core.evaluation.bootstrap import NO_INTERVAL, Interval
from vltseg_core.evaluation.calibration import ReliabilityBin
from vltseg_core.labels import CITYSCAPES

FILES = (("overlay.mp4", "every frame beside its overlay"), ("results.json", "the figures"))


@pytest.mark.parametrize("made", [rich_bag, bag_without_truth, bag_without_answers, lambda: bag(drive("day", "", [0.5], [10.0]))])
def test_every_page_is_whole_and_needs_nothing_from_elsewhere(made):
    assert require_self_contained(Page(render_bag_page(made(), picture_rows(), FILES))) == 6
    assert require_self_contained(Page(render_bag_page(made(), (), ()))) == 0


def test_the_page_says_the_figures():
    result = bag(
        drive("day", "a", [0.8] * 12, [10.0, 20.0, float("nan")]),
        drive("day", "b", [0.6] * 12, [40.0]),
        drive("night", "c", [0.2] * 6, [120.0, 60.0]),
    )
    text = Page(render_bag_page(result, picture_rows(), FILES)).text
    for words in ("60.0 %", "mean of the 2 conditions", "45.0 %", "5 / 6", "1 dropped,", "1 late,", "0 rejected", "40 ms"):
        assert words in text, words
    assert "95 %: 40" in text and "mind the gap" in text and "66.7 % of the frames within 100 ms" in text
    assert "33.3 % within 33 ms 50.0 % within 50 ms" in text
    assert "The best frames" in text and "The worst frames" in text and "overlay.mp4" in text
    assert re.search(r"c night 20.0 6 2 2 1 90 ms", text)  # the drive's row
    assert "Class shares" not in text and "no ground truth" not in text


def test_without_truth_it_shows_class_shares_and_no_iou():
    text = Page(render_bag_page(bag_without_truth(), (), ())).text
    assert "IoU" not in text and "Confusion" not in text and "no ground truth" in text
    assert "road 50.0" in text and "sky 30.0" in text and "no label 10.0" in text and "0.50 %" in text


def test_markup_in_names_is_shown_not_run():
    result = bag(drive("<b>fog</b>", "<script>", [0.5] * 3, [10.0]), drive("day", "x", [0.5], [10.0]), drive("day", "y", [0.5]))
    html = render_bag_page(result, (), (("a&b", "<i>"),))
    assert "<script" not in html and "<b>fog" not in html
    assert "<b>fog</b>" in Page(html).text and "a&b" in Page(html).text


def test_whiskers_reach_over_the_interval():
    chart = interval_chart([("day", 0.5, Interval(0.4, 0.7)), ("fog", float("nan"), NO_INTERVAL)], "mIoU")
    assert re.findall(r'<line x1="([\d.]+)%" x2="([\d.]+)%"', chart) == [
        ("40.00", "70.00"),
        ("40.00", "40.00"),
        ("70.00", "70.00"),
    ]
    assert 'width="50.00%"' in chart and "40.0 to 70.0" in chart and ">none<" in chart


def test_confusion_is_in_percent_of_the_truth_s_row():
    counts = np.zeros((19, 20), np.int64)
    counts[0, 0], counts[0, 1], counts[0, 19] = 75, 20, 5
    counts[13, 13] = 10
    html = confusion_table(counts, CITYSCAPES)
    for title in (
        "75.00 % of road is labelled road",
        "20.00 % of road is labelled sidewalk",
        "5.00 % of road is labelled no label",
    ):
        assert title in html
    assert html.count('scope="row"') == 2 and html.count('scope="col"') == 4  # sidewalk is said, never true; no sky at all
    assert "sky" not in html and "100.00 % of car is labelled car" in html


def test_reliability_bars_are_as_high_as_the_share_that_is_right():
    bins = [ReliabilityBin(0, float("nan"), float("nan"))] * 14 + [ReliabilityBin(100, 0.97, 0.5)]
    chart = reliability_chart(bins, "reliability")
    assert re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', chart) == [("937.3", "85.0", "85.0")]
    assert "confidence 0.93 to 1.00: 50.0 % right, 100.0 % of the pixels" in chart


def test_curves_run_through_their_points():
    curve = Curve("red", np.array([0.0, 0.5]), np.array([0.0, 1.0]))
    chart = curve_chart([curve], [Tick(0.25, "33", True)], [Tick(1.0, "100 %")], "deadlines")
    assert 'points="0,170.0 500,0.0"' in chart and 'left:25.00%">33<' in chart and 'stroke-dasharray="4 4"' in chart
