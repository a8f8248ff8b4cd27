# SPDX-License-Identifier: Apache-2.0
"""Networks side by side: means over targets, published figures where they belong, and the page and tables that say so."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.vltseg_core.evaluation.made_up_sets import CAR, DAY_AND_NIGHT, ROAD, ReadingSegmenter, made_up_set
from vltseg_core.errors import InputError
from vltseg_core.evaluation.comparison import CheckpointResults, Comparison, FramePicture, Measurement, joined_comparison
from vltseg_core.evaluation.comparison_markdown import render_markdown
from vltseg_core.evaluation.comparison_page import render_comparison
from vltseg_core.evaluation.evaluator import evaluate
from vltseg_core.evaluation.frame_pictures import chosen_frames, class_table
from vltseg_core.evaluation.published_numbers import PUBLISHED_NUMBERS, published_for, sources_of
from vltseg_core.evaluation.targets import Weather
from vltseg_core.labels import CAMVID

PROTOCOL = "windows of 512 px, step 426, images at 1024x512, no TTA"
PERFECT = evaluate(ReadingSegmenter(), made_up_set([([ROAD, CAR], [ROAD, CAR])]))
HALF = evaluate(ReadingSegmenter(), made_up_set([([ROAD, ROAD], [ROAD, CAR]), None]))  # road 1/2, car 0
BY_LIGHT = evaluate(ReadingSegmenter(), DAY_AND_NIGHT)


def comparison(**changes: object) -> Comparison:
    measurements = (
        Measurement("cityscapes", "cityscapes", None, PROTOCOL, PERFECT),
        Measurement("acdc", "acdc", None, PROTOCOL, BY_LIGHT),
        Measurement("acdc", "acdc", Weather("fog", 2), PROTOCOL, HALF),
        Measurement("bdd100k", "bdd100k", None, PROTOCOL, HALF),
    )
    checkpoint = CheckpointResults("mine", "GTA5 (Richter et al., 2016)", (("weights", "mine.safetensors"),), measurements)
    return replace(Comparison((checkpoint,), (("processor", "Test 3000"),), "2026-11-24 12:00"), **changes)


def test_the_mean_is_over_targets_and_leaves_source_domains_out() -> None:
    values = comparison().summary()[0].values
    assert values == pytest.approx((1, 0.5625, 0.25, (1 + 0.5625 + 0.25) / 3))
    assert comparison(source_domains=("cityscapes",)).summary()[0].values[-1] == pytest.approx((0.5625 + 0.25) / 2)
    assert math.isnan(comparison(source_domains=("cityscapes", "acdc")).summary()[0].values[-1])  # of one target: no mean


def test_published_figures_of_the_same_sources_and_targets_stand_beside() -> None:
    rows = {row.name: row for row in comparison().summary() if row.is_published}
    assert rows["VLTSeg gta_1"].values == pytest.approx((0.6523, 0.6234, 0.5956, (0.6523 + 0.6234 + 0.5956) / 3))
    assert rows["VLTSeg, the paper"].values[0] == pytest.approx(0.656) and math.isnan(rows["VLTSeg, the paper"].values[-1])
    assert not [name for name in rows if "cityscapes_1" in name]
    other = replace(comparison().checkpoints[0], trained_on="CamVid train (Brostow et al., 2009)")
    assert len(comparison(checkpoints=(other,)).summary()) == 1


def test_remarks_name_unreadable_frames_and_other_protocols() -> None:
    remarks = " ".join(comparison(limit=7).remarks())
    assert "At most 7 frames" in remarks and "bdd100k: 1 of 2 frames could not be read" in remarks and "(frame_1)" in remarks
    assert "mine on acdc was measured with windows of 512 px, step 426, images at 1024x512, no TTA; the published" in remarks
    assert "mine on cityscapes" not in remarks


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    fields = comparison(source_domains=("cityscapes",)).to_dict()
    assert fields["summary"]["mine"]["acdc"] == 0.5625 and "NaN" not in json.dumps(fields)
    (tmp_path / "results.json").write_text(json.dumps(fields))
    assert Comparison.read(tmp_path).to_dict() == Comparison.read(tmp_path / "results.json").to_dict() == fields


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "not found: give a results.json"), ("[1]", "is no results.json"), ('{"format": "x/9"}', "is of form 'x/9'")],
)
def test_what_is_no_result_is_said(text: str | None, sentence: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        Comparison.read(tmp_path)


def test_two_runs_are_joined_and_a_name_that_is_taken_gets_its_run() -> None:
    both = joined_comparison([("a", comparison(limit=3)), ("b", comparison()), ("b", comparison())])
    assert [checkpoint.name for checkpoint in both.checkpoints] == ["mine", "b: mine", "b: mine 2"]
    assert both.limit == 3


def test_the_page_and_the_tables_say_the_figures(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), (200, 30, 30)).save(tmp_path / "a.jpg")
    alone = comparison()
    shown = replace(alone.checkpoints[0].measurements[1], pictures=(FramePicture("best: frame_0", (tmp_path / "a.jpg",) * 3),))
    measurements = (*alone.checkpoints[0].measurements[:1], shown, *alone.checkpoints[0].measurements[2:])
    alone = replace(alone, checkpoints=(replace(alone.checkpoints[0], measurements=measurements),))
    for several in (alone, joined_comparison([("a", alone), ("b", comparison())])):
        html = render_comparison(several)
        for words in ("56.2", "mean of conditions", "VLTSeg gta_1", "best: frame_0", "Test 3000", "frame_1.png", "severity"):
            assert words in html, words
        assert (
            "<script" not in html
            and "http" not in html
            and "nan" not in html.lower().replace("data:image", "").split("base64")[0]
        )
    markdown = render_markdown(alone)
    assert "| mine | 100.0 | 56.2 | 25.0 | 60.4 |" in markdown
    assert "| mine | fog | 56.2 | – | 25.0 | – | – | – |" in markdown
    assert "| sky | – |" in markdown


def test_sources_are_read_from_what_a_weights_file_says() -> None:
    assert sources_of("SYNTHIA-RAND-CITYSCAPES (Ros et al., 2016); GTA5 (Richter et al., 2016)") == {"synthia", "gta5"}
    assert sources_of("Mapillary Vistas and Cityscapes, 20,000 and 40,000 iterations") == {"mapillary", "cityscapes"}
    assert sources_of("nothing") == frozenset()


def test_published_figures_are_those_of_the_tables() -> None:
    assert {n.method: n.mean_iou_percent for n in published_for(frozenset({"acdc"}), "acdc")} == {"VLTSeg acdc_1": 81.44}
    assert {n.condition for n in published_for(frozenset({"cityscapes"}), "acdc")} == {"", "night", "fog", "rain", "snow"}
    assert all(0 < number.mean_iou_percent < 100 for number in PUBLISHED_NUMBERS)


def test_best_and_worst_frames_are_each_shown_once() -> None:
    chosen = chosen_frames(BY_LIGHT)
    assert [(place, frame.name) for place, frame in chosen] == [("best", "frame_0"), ("best", "frame_1"), ("worst", "frame_2")]


def test_classes_keep_their_known_colours_and_others_get_one_each() -> None:
    assert class_table(CAMVID.names) == CAMVID
    colours = [c.colour for c in class_table(("road", "barrier", "hedge")).classes]
    assert colours[0] == (128, 64, 128) and len(set(colours)) == 3
    assert np.asarray(colours).max() <= 255
