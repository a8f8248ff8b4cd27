# SPDX-License-Identifier: Apache-2.0
"""Two evaluations of one bag: differences and intervals as reckoned by hand, and noise called noise."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.html_structure import Page, require_self_contained
from tests.vltseg_core.evaluation.made_up_bags import NAN, bag, bag_without_truth, drive, improved, rich_bag
from vltseg_core.errors import InputError
from vltseg_core.evaluation.bag_comparison import compare_bags
from vltseg_core.evaluation.bag_comparison_page import difference_chart, render_bag_comparison
from vltseg_core.evaluation.bag_comparison_tables import as_json, as_markdown, number, summary
from vltseg_core.evaluation.bootstrap import Interval
from vltseg_core.evaluation.change import NO_SPREAD, Change, Spread, Verdict
from vltseg_core.evaluation.sequence_result import FrameTiming
from vltseg_core.labels import CAMVID

POOLED, MEAN = "mIoU, all pixels pooled", "mIoU, mean of conditions"
TIMES = [10.0] * 20


def two_drives(first, second, **changes):
    return bag(drive("day", "a", [first] * 10, TIMES), drive("day", "b", [second] * 10, TIMES), **changes)


def test_identical_runs_differ_by_nothing():
    comparison = compare_bags(rich_bag(), rich_bag())
    assert comparison.remarks == () and comparison.settings == ()
    verdicts = comparison.verdicts
    assert [len(verdicts[v]) for v in (Verdict.BETTER, Verdict.WORSE, Verdict.UNKNOWN)] == [0, 0, 0]
    assert len(verdicts[Verdict.NOISE]) == 2 + 2 + 19 + 3 + 6 + 2
    assert comparison.accuracy[POOLED].difference == 0 and comparison.accuracy[POOLED].interval == (0, 0)
    assert summary(comparison)[-1] == "Nothing changed by more than noise."


def test_what_is_the_same_in_every_drive_has_no_spread_when_paired():
    comparison = compare_bags(two_drives(0.8, 0.6), two_drives(0.9, 0.7))
    change = comparison.accuracy[POOLED]
    assert (change.before, change.after) == pytest.approx((0.7, 0.8))
    assert change.interval == pytest.approx((0.1, 0.1)) and change.verdict is Verdict.BETTER
    assert change.spread == Spread(True, "2 drives") and MEAN not in comparison.accuracy
    assert comparison.classes["road"].interval == pytest.approx((0.1, 0.1)) and "car" not in comparison.classes
    assert compare_bags(two_drives(0.9, 0.7), two_drives(0.8, 0.6)).accuracy[POOLED].verdict is Verdict.WORSE


def test_what_changes_in_one_drive_of_two_varies_with_its_weight():
    # the second drive gains 0.2 and its weight is uniform between 0 and 1
    change = compare_bags(two_drives(0.8, 0.6), two_drives(0.8, 0.8)).accuracy[POOLED]
    assert change.difference == pytest.approx(0.1) and change.interval == pytest.approx((0.005, 0.195), abs=0.008)
    change = compare_bags(two_drives(0.8, 0.6), two_drives(0.7, 0.8)).accuracy[POOLED]
    assert change.difference == pytest.approx(0.05) and change.verdict is Verdict.NOISE  # between -0.1 and 0.2


def test_blocks_of_one_drive_pair_where_both_answered_the_same_frames():
    shares = [0.9] * 10 + [0.5] * 10
    better = [share + 0.05 for share in shares]
    own = bag(drive("day", "a", shares, TIMES))
    paired = compare_bags(own, bag(drive("day", "a", better, TIMES)))
    assert paired.accuracy[POOLED].spread == Spread(True, "2 blocks of 10 frames")
    assert paired.accuracy[POOLED].verdict is Verdict.BETTER
    dropped = drive("day", "a", better[1:], [NAN, *TIMES[1:]])
    alone = compare_bags(own, bag(dropped))
    assert not alone.accuracy[POOLED].spread.is_paired and alone.accuracy[POOLED].verdict is Verdict.NOISE
    assert "judged on different frames" in " ".join(alone.remarks)


def test_an_improvement_is_found_overall_by_condition_and_by_class():
    comparison = compare_bags(rich_bag(), improved(rich_bag(), 0.5))
    for changes in (comparison.accuracy, comparison.conditions, comparison.classes):
        assert {change.verdict for change in changes.values()} == {Verdict.BETTER}
    assert set(comparison.accuracy) == {POOLED, MEAN} and len(comparison.classes) == 19
    assert {change.verdict for change in comparison.latencies.values()} == {Verdict.NOISE}
    only_day = compare_bags(rich_bag(), improved(rich_bag(), 0.5, sequences=("a", "b"))).conditions
    assert [change.verdict for change in only_day.values()] == [Verdict.BETTER, Verdict.NOISE]


def test_chance_alone_is_rarely_called_a_change():
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(30):
        runs = [
            bag(*(drive("day", str(i), [share], TIMES[:1]) for i, share in enumerate(generator.normal(0.6, 0.05, 25).round(2))))
            for _ in range(2)
        ]
        found += compare_bags(*runs).accuracy[POOLED].verdict is not Verdict.NOISE
    assert found <= 5  # 1 or 2 are to be expected


def test_one_block_says_nothing_of_the_spread():
    comparison = compare_bags(bag(drive("day", "", [0.5], TIMES[:5])), bag(drive("day", "", [0.7], TIMES[:5])))
    change = comparison.accuracy[POOLED]
    assert change.verdict is Verdict.UNKNOWN and change.spread == NO_SPREAD and math.isnan(change.interval.low)
    assert comparison.shares["frames dropped"].verdict is Verdict.NOISE  # no change at all


def test_times_and_drops():
    own = bag(drive("day", "", [0.5] * 20, TIMES))
    slow = bag(drive("day", "", [0.5] * 20, [30.0] * 20))
    median = compare_bags(own, slow).latencies["latency median"]
    assert median == Change(10.0, 30.0, Interval(20.0, 20.0), Spread(True, "2 blocks of 10 frames"), False)
    assert median.verdict is Verdict.WORSE and compare_bags(slow, own).latencies["latency p99"].verdict is Verdict.BETTER
    late_end = bag(drive("day", "", [0.5] * 20, [10.0] * 19 + [110.0]))
    latencies = compare_bags(own, late_end).latencies
    assert latencies["latency median"].interval == (0, 0)
    assert latencies["latency p99"].interval == (0, 100)  # none where the second block weighs little, all else
    dropping = compare_bags(own, bag(drive("day", "", [0.5] * 10, [10.0] * 10 + [NAN] * 10)))
    for name, sign in (("frames dropped", 1), ("frames within 33 ms", -1)):
        change = dropping.shares[name]
        assert change.difference == sign * 0.5 and change.verdict is Verdict.WORSE
        assert sorted(abs(end) for end in change.interval) == pytest.approx([0.025, 0.975], abs=0.02)


def test_calibration_is_drawn_by_drives():
    # a confidence of 0.8: in the better run 80 % are right, as said
    change = compare_bags(two_drives(0.6, 0.5), two_drives(0.8, 0.8)).steadiness["calibration error (ECE)"]
    assert (change.before, change.after) == pytest.approx((0.25, 0.0)) and change.verdict is Verdict.BETTER
    assert change.interval == pytest.approx((-0.2975, -0.2025), abs=0.004) and change.spread == Spread(True, "2 drives")


def test_other_classes_and_other_bags_are_one_sentence():
    with pytest.raises(InputError, match=r"different classes \(19 and 11; .* differs\): compare evaluations"):
        compare_bags(rich_bag(), bag(*rich_bag().sequences, classes=CAMVID))
    with pytest.raises(InputError, match="no drive in common .*evaluate the same bag twice"):
        compare_bags(rich_bag(), bag_without_truth())
    with pytest.raises(InputError, match="no drive in common"):  # one name, other lengths
        compare_bags(bag(drive("day", "", [0.5], TIMES)), bag(drive("day", "", [0.5], TIMES[1:])))


def test_drives_that_only_one_run_has_are_left_out_and_named():
    whole = two_drives(0.8, 0.6)
    comparison = compare_bags(whole, bag(*whole.sequences, drive("fog", "c", [0.1], TIMES)))
    assert "Compared over the 2 drives that both runs played alike; left out: fog c." in comparison.remarks
    assert comparison.accuracy[POOLED].difference == 0 and list(comparison.conditions) == ["day"]


def test_a_faster_replay_is_the_same_bag_and_is_said():
    own = two_drives(0.8, 0.6)
    faster = two_drives(0.8, 0.6, rate=2.0, network=(("checkpoint", "large"),))
    for one in faster.sequences:
        one.timings = [FrameTiming(t.latency_ms, NAN, t.interval_ms / 2) for t in one.timings]
    comparison = compare_bags(own, faster)
    assert [tuple(setting) for setting in comparison.settings] == [
        ("played", "at 1 times real time", "at 2 times real time"),
        ("checkpoint", "tiny", "large"),
    ]
    assert "different paces" in comparison.remarks[0]


def test_calibration_over_different_pixels_is_not_compared():
    assert "calibration error (ECE)" in compare_bags(rich_bag(), rich_bag()).steadiness
    comparison = compare_bags(rich_bag(), replace(rich_bag(), min_confidence=0.5))
    assert list(comparison.steadiness) == ["flicker"]
    assert "The runs kept different pixels (min_confidence)" in comparison.remarks[0]


def test_without_truth_times_are_compared():
    comparison = compare_bags(bag_without_truth(), bag_without_truth())
    assert not comparison.accuracy and not comparison.classes and comparison.latencies
    assert "IoU" not in as_markdown(comparison)
    assert require_self_contained(Page(render_bag_comparison(comparison))) == 0


def test_json_tables_and_page_say_the_same():
    comparison = compare_bags(two_drives(0.8, 0.6), two_drives(0.9, 0.7))
    document = json.loads(json.dumps(as_json(comparison), allow_nan=False))
    change = document["mean_iou"][POOLED]
    assert (change["before"], change["after"], change["difference"]) == (0.7, 0.8, 0.1)
    assert change["interval_95"] == [0.1, 0.1] and change["verdict"] == "better" and change["bootstrap"] == "paired, 2 drives"
    assert f"| {POOLED} | 70.00 | 80.00 | +10.00 | +10.00 to +10.00 | better | paired, 2 drives |" in as_markdown(comparison)
    page = Page(render_bag_comparison(comparison))
    assert require_self_contained(page) == 0
    for words in (
        "70.00 to 80.00 % (+10.00 points; 95 % interval of the difference +10.00 to +10.00, paired, 2 drives): better",
    ):
        assert words in page.text and words in summary(comparison)[0]


def test_dots_lie_by_their_difference_and_are_grey_in_noise():
    better = Change(0.5, 0.6, Interval(0.05, 0.15), Spread(True, "9 drives"))
    noise = Change(0.5, 0.45, Interval(-0.15, 0.05), Spread(True, "9 drives"))
    chart = difference_chart({"day": better, "night": noise}, "points", "differences")
    reach = 0.15 * 1.08
    assert f'cx="{50 + 50 * 0.1 / reach:.2f}%" cy="11" r="5" fill="var(--better)"' in chart
    assert f'cx="{50 - 50 * 0.05 / reach:.2f}%" cy="11" r="5" fill="var(--noise)"' in chart
    assert number(-0.00001, "points", signed=True) == "0.00" and number(NAN, "ms") == "–"
