# SPDX-License-Identifier: Apache-2.0
"""What a fleet's command line names, and what each input is called."""

from __future__ import annotations

import pytest

from vltseg_ros import bags
from vltseg_ros.fleet_bags import conditions_of, expand, named


@pytest.fixture
def fleet(tmp_path):
    for name in (
        "monday/drive.mcap",
        "tuesday/drive.mcap",
        "tuesday/notes.txt",
        "images/0.png",
        "images/1.png",
        "a.mp4",
        "b.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(*sources):
    return [bag.name for bag in named([str(source) for source in sources])]


def test_a_pattern_gives_its_bags_by_name_and_nothing_else(fleet):
    assert expand([f"{fleet}/*day/*"]) == [f"{fleet}/monday/drive.mcap", f"{fleet}/tuesday/drive.mcap"]


def test_every_input_comes_once_in_the_order_given(fleet):
    tuesday = f"{fleet}/tuesday/drive.mcap"
    assert expand([tuesday, f"{fleet}/*day/drive.mcap"]) == [tuesday, f"{fleet}/monday/drive.mcap"]


def test_a_pattern_of_images_is_one_input_and_one_of_videos_gives_each(fleet):
    assert expand([f"{fleet}/images/*"]) == [f"{fleet}/images/*"]
    assert expand([f"{fleet}/*.mp4"]) == [f"{fleet}/a.mp4", f"{fleet}/b.mp4"]


def test_what_does_not_exist_stays_so_that_its_evaluation_says_so(fleet):
    assert expand([f"{fleet}/absent.mcap", f"{fleet}/absent*"]) == [f"{fleet}/absent.mcap", f"{fleet}/absent*"]


def test_an_input_is_called_by_its_file_name_and_by_more_of_its_path_where_two_are_alike(fleet):
    assert names(fleet / "a.mp4", fleet / "monday/drive.mcap") == ["a", "drive"]
    assert names(fleet / "a.mp4", fleet / "monday/drive.mcap", fleet / "tuesday/drive.mcap") == [
        "a",
        "monday-drive",
        "tuesday-drive",
    ]


def test_names_are_file_names_and_all_different(fleet):
    found = names(fleet / "x/drive.mcap", fleet / "x/drive.db3", fleet / "x/my drive:2.mcap", "/", fleet / "images/*.png")
    assert len(set(found)) == 5 and not any("/" in name or ":" in name or " " in name or not name for name in found)


def test_conditions_are_known_beforehand_where_every_bag_names_them(tmp_path):
    for name, listed in (("a", '["fog", "night"]'), ("b", '["night", "rain"]'), ("c", None), ("d", "junk")):
        with bags.BagWriter(tmp_path / name) as writer:
            if listed is not None:
                writer.describe({"vltseg.conditions": listed})
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    assert conditions_of([a, b]) == ["fog", "night", "rain"]
    assert conditions_of([a, c]) == conditions_of([d]) == conditions_of([str(tmp_path / "none")]) == []
