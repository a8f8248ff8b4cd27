# SPDX-License-Identifier: Apache-2.0
"""The pages as a browser shows them: no complaint, every picture there, nothing out of a narrow or a wide window."""

from __future__ import annotations

import json

import pytest

from tests.browser import CHROMIUM, WITHOUT_CHROMIUM, Browser
from tests.vltseg_core.evaluation.made_up_bags import (
    bag_without_answers,
    bag_without_truth,
    improved,
    picture_rows,
    rich_bag,
)
from vltseg_core.evaluation.bag_comparison import compare_bags
from vltseg_core.evaluation.bag_comparison_page import render_bag_comparison
from vltseg_core.evaluation.bag_page import render_bag_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
PAGES = {
    "with truth": lambda: render_bag_page(rich_bag(), picture_rows(), (("overlay.mp4", "every frame"),)),
    "without truth": lambda: render_bag_page(bag_without_truth(), picture_rows(), ()),
    "without answers": lambda: render_bag_page(bag_without_answers(), (), ()),
    "comparison": lambda: render_bag_comparison(compare_bags(rich_bag(), improved(rich_bag(), 0.3))),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width_px", [400, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_readable(browser, tmp_path, name, width_px, dark):
    page = tmp_path / "page.html"
    page.write_text(PAGES[name](), "utf-8")
    look = browser.look(page, width_px, dark=dark)
    assert look.complaints == []
    assert look.broken_images == [] and look.num_images == (6 if name.startswith("with") and "answers" not in name else 0)
    assert look.width_px == width_px and look.beyond == []
    assert look.smallest_px >= 9
    assert ("Bag evaluation" in look.text) != (name == "comparison")


def test_the_browser_sees_what_is_wrong_with_a_page(browser, tmp_path):
    page = tmp_path / "bad.html"
    wide = '<div style="width:900px">wide</div><img alt="gone" src="data:image/jpeg;base64,AAAA">'
    asks = '<img alt="far" src="http://127.0.0.1:9/x.png"><small style="font-size:4px">small</small>'
    page.write_text(f"<!DOCTYPE html>{wide}{asks}<script>console.error({json.dumps('broken')}); nothing();</script>")
    look = browser.look(page, 400)
    assert look.width_px > 800 and "wide" in look.beyond[0] and look.smallest_px == 4
    assert look.broken_images == ["gone", "far"]
    said = " ".join(look.complaints)
    assert "broken" in said and "Uncaught" in said and "http://127.0.0.1:9/x.png" in said
