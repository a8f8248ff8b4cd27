# SPDX-License-Identifier: Apache-2.0
"""Dots lie where the scores say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from vltseg_core.evaluation.axis_chart import Panel, axis_chart


def dots(chart: str, radius: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(rf'<circle cx="([\d.]+)" cy="([\d.]+)" r="{radius}"', chart)]


def test_runs_and_their_mean_lie_by_value_and_score():
    chart = axis_chart(
        [Panel("model.ptm_weight", {"0": {"dusk": [40.0, 44.0]}, "0.5": {"dusk": [48.0]}, "2": {"dusk": [42.0]}})], ["dusk"]
    )
    ET.fromstring(chart)
    means = dots(chart, "4.5")
    (x0, y0), (x1, y1), (x2, y2) = means
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.01)  # numbers lie by their size
    assert y0 == y2 and y1 < y0  # 42 and 42, 48 above them
    assert len(dots(chart, "3")) == 4
    assert ">40<" in chart and ">48<" in chart  # round ends


def test_words_lie_at_equal_distances_and_a_missing_series_has_no_dot():
    values = {
        "fpn & co": {"dusk": [40.0], "day": []},
        "text": {"dusk": [50.0], "day": [60.0]},
        "none": {"dusk": [45.0], "day": [61.0]},
    }
    chart = axis_chart([Panel("decoder", values)], ["dusk", "day"])
    ET.fromstring(chart)
    xs = [x for x, _ in dots(chart, "4.5")]
    assert len(xs) == 5 and xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert "fpn &amp; co" in chart


def test_one_score_alone_has_a_chart():
    ET.fromstring(axis_chart([Panel("a", {"x": {"t": [50.0]}})], ["t"]))
