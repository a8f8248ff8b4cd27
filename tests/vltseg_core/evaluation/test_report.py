# SPDX-License-Identifier: Apache-2.0
"""The report says what was measured, and needs nothing but itself."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.html_page import Panel, PictureRow
from vltseg_core.evaluation.report import RunReport, SectionResult, render_html, results
from vltseg_core.labels import CITYSCAPES

NAN = float("nan")


def confusion(share_right: float) -> ConfusionMatrix:
    """Road and car, 100 pixels each; the given share of the road pixels is right, the others are called car."""
    truth = np.repeat(np.array([0, 13], np.uint8), 100)[None]
    predicted = truth.copy()
    predicted[0, : round(100 * (1 - share_right))] = 13
    matrix = ConfusionMatrix(len(CITYSCAPES))
    matrix.add(predicted, truth)
    return matrix


@pytest.fixture
def report() -> RunReport:
    picture = np.full((30, 40, 3), (250, 10, 10), np.uint8)
    row = PictureRow("clear, 1.00 s", (Panel("camera image", picture), Panel("labels over it", picture)))
    return RunReport(
        title="Title <with> markup",
        source="drawn scenes, seed 0",
        drawn=True,
        classes=CITYSCAPES,
        overlay_classes=CITYSCAPES,
        sections=(
            SectionResult("clear", [10.0, 20.0, 30.0, NAN], confusion(1.0)),
            SectionResult("fog", [40.0, NAN, NAN, 60.0], confusion(0.5)),
        ),
        playing_s=2.0,
        network=(("checkpoint", "tiny"), ("trained on", "demo scenes & CamVid")),
        machine=(("processor", "Test 3000"),),
        pictures=(row,),
        files=(("overlay.mp4", "every frame"),),
        remarks=("One remark.",),
    )


class Page(HTMLParser):
    """Collects tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_section_figures_are_those_of_the_answered_frames(report):
    clear = report.sections[0]
    assert (clear.num_frames, clear.num_answered, clear.num_dropped) == (4, 3, 1)
    assert clear.latency_ms(50) == 20.0
    assert clear.latency_ms(95) == pytest.approx(29.0)
    assert report.sections[1].mean_iou == pytest.approx((50 / 100 + 100 / 150) / 2)


def test_the_total_pools_pixels_and_latencies(report):
    total = report.total
    assert (total.num_frames, total.num_answered) == (8, 5)
    assert total.mean_iou == pytest.approx((150 / 200 + 200 / 250) / 2)
    assert (report.frame_rate_in_hz, report.frame_rate_out_hz) == (4.0, 2.5)
    assert report.sections[0].confusion.num_images == 1  # pooling leaves the parts alone


def test_results_are_json_without_nan(report):
    silent = dataclasses.replace(report, sections=(SectionResult("all", [NAN, NAN]),), playing_s=0.0)
    for some in (report, silent):
        assert "NaN" not in json.dumps(results(some))
    figures = results(report)
    assert figures["all"]["frames_dropped"] == 3
    assert figures["sections"]["fog"]["iou"]["road"] == 0.5
    assert figures["sections"]["fog"]["iou"]["sky"] is None
    assert "mean_iou" not in results(silent)["all"]
    assert results(silent)["all"]["latency_median_ms"] is None


def test_the_page_needs_nothing_from_elsewhere(report):
    html = render_html(report)
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] for tag, attributes in page.tags if "src" in attributes]
    assert len(sources) == 2 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", html))
    assert "url(" not in html and "@import" not in html


def test_the_pictures_in_the_page_are_the_ones_given(report):
    source = next(a["src"] for tag, a in Page(render_html(report)).tags if tag == "img")
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        assert image.size == (40, 30)
        np.testing.assert_allclose(np.asarray(image).mean(axis=(0, 1)), (250, 10, 10), atol=4)


def test_the_page_says_the_figures_and_where_they_come_from(report):
    text = " ".join(Page(render_html(report)).text.split())
    for words in ("5 / 8", "2.5 Hz", "masks, of 4.0 Hz in", "100.0 %", "58.3 %", "77.5 %", "One remark.", "Test 3000"):
        assert words in text, words
    assert "drawn, not photographed" in text
    assert "Title <with> markup" in text and "demo scenes & CamVid" in text  # escaped, not interpreted
    assert "sky" not in text.partition("IoU by class")[2].partition("does not occur")[0]


def test_real_input_without_truth_shows_neither_iou_nor_the_drawn_note(report):
    sections = (SectionResult("sequence", [10.0, NAN]),)
    html = render_html(dataclasses.replace(report, drawn=False, sections=sections, pictures=(), remarks=()))
    text = Page(html).text
    assert "IoU" not in text and "drawn, not photographed" not in text
    assert "1 / 2" in text


def test_a_run_without_any_answer_still_has_a_page(report):
    html = render_html(dataclasses.replace(report, sections=(SectionResult("sequence", [NAN]),), playing_s=0.0))
    text = Page(html).text
    assert "0 / 1" in text and not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert math.isnan(SectionResult("x", [NAN]).latency_ms(50))
