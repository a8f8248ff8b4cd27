# SPDX-License-Identifier: Apache-2.0
"""The charts' shapes have the sizes that the figures ask for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vltseg_core.evaluation.charts import bar_chart, grouped_bar_chart, latency_chart, line_chart, series_key

NAN = float("nan")


def lines(chart: str, colour: str) -> list[tuple[float, float]]:
    """Place and height of each vertical line of a colour."""
    found = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="\1" y2="([\d.]+)" stroke="var\(--(\w+)\)"', chart)
    return [(float(x), float(bottom) - float(top)) for x, top, bottom, name in found if name == colour]


def test_bars_are_as_long_as_their_values():
    chart = bar_chart([("clear", 0.75), ("night & fog", 0.3333), ("rain", NAN)], "mean IoU")
    assert re.findall(r'width="([\d.]+)%" height="16" rx="3" fill="var\(--bar\)"', chart) == ["75.00", "33.33"]
    assert "75.0 %" in chart and "33.3 %" in chart and "none" in chart and "night &amp; fog" in chart


def test_stems_are_as_high_as_their_latencies_and_drops_are_marked():
    chart = latency_chart(np.array([50.0, NAN, 100.0]), [("clear", 2), ("fog", 1)], "latency")
    assert lines(chart, "bar") == [(0.5, 70.0), (2.5, 140.0)]  # the axis ends at 100 ms, 140 px high
    assert [x for x, _ in lines(chart, "dropped")] == [1.5]
    assert "100 ms" in chart and 'width:66.67%">clear' in chart


@pytest.mark.parametrize(("highest_ms", "axis"), [(99.0, "100 ms"), (101.0, "200 ms"), (4.0, "5 ms"), (10.0, "10 ms")])
def test_the_axis_ends_at_a_round_number(highest_ms, axis):
    assert f">{axis}<" in latency_chart(np.array([highest_ms]), [("x", 1)], "latency")


def test_a_long_run_shares_stems_and_hides_no_drop():
    latencies_ms = np.full(4000, 20.0)
    latencies_ms[1234] = NAN
    latencies_ms[3210] = 200.0
    chart = latency_chart(latencies_ms, [("sequence", 4000)], "latency")
    assert len(lines(chart, "bar")) == 400
    assert len(lines(chart, "dropped")) == 1
    assert max(height for _, height in lines(chart, "bar")) == 140.0


def test_nothing_played_is_an_empty_chart():
    assert lines(latency_chart(np.array([]), [], "latency"), "bar") == []


def test_grouped_bars_have_a_colour_a_series():
    chart = grouped_bar_chart([("day", [0.5, NAN]), ("night", [0.25, 1.0])], "mIoU")
    bars = re.findall(r'<rect width="([\d.]+)%" y="(\d+)" height="14" rx="3" fill="var\(--series-(\d)\)"', chart)
    assert bars == [("50.00", "1", "0"), ("25.00", "1", "0"), ("100.00", "18", "1")]
    assert "50.0 %<br>none" in chart
    assert series_key(["a & b", "c"]).count("swatch") == 2 and "a &amp; b" in series_key(["a & b"])


def test_lines_join_neighbours_and_leave_gaps():
    chart = line_chart(["0", "1", "2", "3"], [(2, [0.8, 0.4, NAN, 0.0])], "mIoU by severity")
    joints = re.findall(r'x1="(\d)" y1="([\d.]+)" x2="(\d)" y2="([\d.]+)" stroke="var\(--series-2\)" stroke-width="2"', chart)
    assert joints == [("0", "0.0", "1", "70.0")]
    assert chart.count('stroke-linecap="round"') == 3 and ">80 %<" in chart and 'left:33.33%">1<' in chart
