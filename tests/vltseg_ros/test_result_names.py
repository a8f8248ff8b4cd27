# SPDX-License-Identifier: Apache-2.0
"""Names of results: as short as they can be, never the same for two pictures, and found again by a run that goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_core.evaluation.video import VideoWriter
from vltseg_ros import bag_messages, bags
from vltseg_ros.result_names import named_inputs, unique_names


@pytest.fixture
def make(tmp_path):
    """Makes files of one picture, and gives their paths."""

    def make_files(*names):
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".mp4":
                with VideoWriter(path, 5.0) as video:
                    video.add(np.zeros((16, 16, 3), np.uint8))
            elif path.suffix == "":
                with bags.BagWriter(path) as bag:
                    image = bag_messages.image_message(np.zeros((4, 6, 3), np.uint8), 1, "front")
                    bag.write("/image", bag_messages.IMAGE_TYPE, 1, image)
            else:
                Image.new("RGB", (8, 6)).save(path)
        return [str(path) for path in paths]

    return make_files


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/1.png", "/d/2.png"], ["1", "2"]),
        (["/d/left/1.png", "/d/right/2.png"], ["1", "2"]),
        (["/d/left/1.png", "/d/right/1.png", "/d/right/2.png"], ["left_1", "right_1", "right_2"]),
        (["/d/dup/a.png", "/d/other/dup/a.png"], ["dup_a", "other_dup_a"]),
        (["/d/a.png", "/d/a.jpg", "/d/b.png"], ["a_png", "a_jpg", "b"]),
        (["/d/a/b_c.png", "/d/a_b/c.png", "/d/x/c.png"], ["a_b_c_png", "a_b_c_png_2", "x_c"]),
        (["/d/a.png", "/d/a.jpg", "/d/a_png.png"], ["a_png", "a_jpg", "a_png_2"]),
    ],
)
def test_a_name_is_as_long_as_it_takes_to_tell_pictures_apart(paths, names):
    assert list(unique_names([Path(path) for path in paths]).values()) == names
    in_reverse = unique_names([Path(path) for path in reversed(paths)])
    assert [in_reverse[Path(path)] for path in paths] == names


def test_single_files_keep_their_names_and_one_given_twice_counts_once(make, tmp_path, monkeypatch):
    given = make("many/1.png", "many/2.png")
    monkeypatch.chdir(tmp_path)
    inputs = named_inputs([*given, "many/1.png", "many"], tmp_path / "out")
    assert inputs.images == {tmp_path / "many/1.png": "1", tmp_path / "many/2.png": "2"} and not inputs.streams


def test_a_pattern_does_not_reach_into_the_results(make, tmp_path):
    make("a/1.png", "b/2.png", "out/overlay/1.png")
    inputs = named_inputs([str(tmp_path / "**/*.png")], tmp_path / "out")
    assert sorted(inputs.images.values()) == ["1", "2"]


def test_videos_and_bags_of_one_name_are_told_apart(make, tmp_path):
    given = make("v.mp4", "other/v.mp4", "run")
    assert list(named_inputs(given, tmp_path / "out").streams) == ["v_", "other_v_", "run_"]
    assert list(named_inputs(given[:1] * 2, tmp_path / "out").streams) == ["v_"]
    assert list(named_inputs(given[2:], tmp_path / "out").streams) == [""]


def test_pictures_taken_from_a_video_are_told_from_its_frames(make, tmp_path):
    inputs = named_inputs(make("drive.mp4", "drive_000000.png"), tmp_path / "out")
    assert list(inputs.images.values()) == ["drive_000000"] and list(inputs.streams) == ["drive_mp4_"]
