# SPDX-License-Identifier: Apache-2.0
"""The demo from drawing to report, over real DDS, into a stand-in node whose masks are known."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")

from rich.console import Console
from rich.progress import Progress

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.demo import DemoSettings, run_demo
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.node_process import NodeError

STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_node.py"))
CONDITIONS = ("clear", "night", "fog", "rain", "snow")


def run(output, checkpoint="tiny", **settings):
    with Progress(console=Console(file=io.StringIO())) as progress:
        return run_demo(DemoSettings(output=output, checkpoint=checkpoint, node_command=STAND_IN, **settings), progress)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One demo of drawn scenes, four frames a condition."""
    output = tmp_path_factory.mktemp("demo") / "out"
    return run(output, drawing=DemoBagSettings(seconds=0.4, image_size=(60, 80)))


def messages_of(path, topic):
    with bags.BagReader(path) as reader:
        return list(reader.messages([topic]))


def test_the_drawn_bag_holds_images_infos_and_truth_of_every_condition(drawn):
    bag = drawn.folder.input_bag
    with bags.BagReader(bag) as reader:
        assert {topic.name: (topic.message_type, topic.num_messages) for topic in reader.topics} == {
            "/camera/image": ("sensor_msgs/msg/Image", 20),
            "/camera/camera_info": ("sensor_msgs/msg/CameraInfo", 20),
            "/ground_truth/labels": ("sensor_msgs/msg/Image", 20),
            "/condition": ("std_msgs/msg/String", 5),
        }
        assert json.loads(reader.entries["vltseg.conditions"]) == list(CONDITIONS)
    stamps = [bag_messages.stamp_of(message.cdr) for message in messages_of(bag, "/camera/image")]
    assert stamps == [bag_messages.stamp_of(message.cdr) for message in messages_of(bag, "/ground_truth/labels")]
    assert set(np.diff(stamps).tolist()) == {100_000_000}


def test_every_mask_in_the_bag_of_results_belongs_to_an_image_of_the_same_stamp(drawn):
    images = {bag_messages.stamp_of(m.cdr): m.cdr for m in messages_of(drawn.folder.result_bag, "/camera/image")}
    masks = messages_of(drawn.folder.result_bag, "/semantic/labels")
    assert images == {bag_messages.stamp_of(m.cdr): m.cdr for m in messages_of(drawn.folder.input_bag, "/camera/image")}
    assert len(masks) == drawn.report.total.num_answered >= 18
    for mask in masks:
        image = bag_messages.deserialise(images[bag_messages.stamp_of(mask.cdr)], bag_messages.IMAGE_TYPE)
        red = image.data.reshape(60, 80, 3)[..., 0]
        np.testing.assert_array_equal(bag_messages.labels_of(mask.cdr), red // 16)
    overlays = messages_of(drawn.folder.result_bag, "/semantic/overlay/compressed")
    assert [bag_messages.stamp_of(m.cdr) for m in overlays] == [bag_messages.stamp_of(m.cdr) for m in masks]


def test_the_figures_are_those_of_the_masks(drawn):
    figures = json.loads(drawn.folder.results.read_text())
    assert list(figures["sections"]) == list(CONDITIONS)
    assert all(section["frames_in"] == 4 for section in figures["sections"].values())
    truths = {bag_messages.stamp_of(m.cdr): m.cdr for m in messages_of(drawn.folder.input_bag, "/ground_truth/labels")}
    hits = both = 0
    for mask in messages_of(drawn.folder.result_bag, "/semantic/labels"):
        predicted = bag_messages.labels_of(mask.cdr)
        truth = bag_messages.labels_of(truths[bag_messages.stamp_of(mask.cdr)])
        hits += np.count_nonzero((predicted == 2) & (truth == 2))
        both += np.count_nonzero(((predicted == 2) | (truth == 2)) & (truth != 255))
    assert figures["all"]["iou"]["building"] == pytest.approx(hits / both, abs=1e-4)
    assert figures["all"]["frames_in"] == 20 and figures["drawn_not_photographed"]
    assert figures["network"] == {"checkpoint": "stand-in tiny", "device": "none"}
    assert 9 < figures["frame_rate_in_hz"] < 11


def test_the_folder_has_pictures_a_video_and_a_report(drawn):
    folder = drawn.folder
    assert {path.name.split("_")[0] for path in folder.overlays.glob("*.png")} == set(CONDITIONS)
    with Image.open(next(folder.overlays.glob("fog_*.png"))) as picture:
        assert picture.width == 3 * 80 + 2 * 4
    with av.open(str(folder.video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    page = folder.report.read_text()
    assert "drawn, not photographed" in page and page.count('src="data:image/jpeg;base64,') == 15
    assert not folder.recording.exists() and folder.node_log.exists()


def test_the_same_seed_draws_the_same_bag_and_another_seed_another(tmp_path):
    settings = DemoBagSettings(seconds=0.1, image_size=(32, 48), conditions=("rain",))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_demo_bag(tmp_path / name, DemoBagSettings(**{**vars(settings), "seed": seed}))
    a, b, c = ([m.cdr for m in messages_of(tmp_path / name, "/camera/image")] for name in "abc")
    assert a == b != c


@pytest.fixture
def photographs(tmp_path):
    """Three images of one red each, with truth in CamVid's classes for two of them."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name, train_id in (("a", 0), ("b", 8), ("c", 13)):
        Image.new("RGB", (40, 32), (16 * train_id + 4, 0, 0)).save(images / f"{name}.png")
    Image.new("L", (40, 32), 3).save(labels / "a.png")  # road, as the stand-in will say
    Image.new("L", (40, 32), 5).save(labels / "b.png")  # tree, as it will say (vegetation)
    return images, labels


def test_own_images_with_labels_are_compared_in_their_label_space(photographs, tmp_path):
    images, labels = photographs
    outcome = run(tmp_path / "out", own_input=str(images), rate_hz=10.0, labels=labels, label_space="camvid")
    figures = json.loads(outcome.folder.results.read_text())["all"]
    assert (figures["frames_in"], figures["frames_answered"], figures["frames_evaluated"]) == (3, 3, 2)
    assert figures["mean_iou"] == 1.0
    assert {name for name, value in figures["iou"].items() if value is not None} == {"road", "tree"}
    assert not outcome.report.drawn and not outcome.folder.input_bag.exists()
    with bags.BagReader(outcome.folder.result_bag) as reader:
        assert {t.name: t.num_messages for t in reader.topics} == {
            "/camera/image/compressed": 3,
            "/semantic/labels": 3,
            "/semantic/overlay/compressed": 3,
        }


def test_labels_that_fit_no_image_are_said(photographs, tmp_path):
    images, labels = photographs
    for path in list(labels.iterdir()):
        path.rename(path.with_stem("x" + path.stem))
    with pytest.raises(InputError, match=r"there is 'xa\.png'"):
        run(tmp_path / "out", own_input=str(images), labels=labels, label_space="camvid")


def test_the_drawn_bag_can_be_given_as_own_input_and_keeps_its_truth(drawn, tmp_path):
    outcome = run(tmp_path / "out", own_input=str(drawn.folder.input_bag), max_seconds=0.8)
    assert list(outcome.report.sections[0].confusion.counts.shape) == [19, 20]
    assert [section.name for section in outcome.report.sections] == ["clear", "night"]
    assert outcome.report.drawn


def test_a_node_that_answers_nothing_is_an_error_and_the_recording_stays(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr("vltseg_ros.replay._FIRST_MASK_S", 0.3)
    with pytest.raises(NodeError, match="no mask came back for 3 frames"):
        run(tmp_path / "out", "mute", own_input=str(photographs[0]))
    assert (tmp_path / "out" / "recording" / "metadata.yaml").exists()


def test_the_real_node_answers_with_its_own_weights(tmp_path):
    with Progress(console=Console(file=io.StringIO())) as progress:
        drawing = DemoBagSettings(seconds=0.5, image_size=(96, 128), conditions=("clear",))
        outcome = run_demo(DemoSettings(output=tmp_path / "out", drawing=drawing, device="cpu"), progress)
    figures = json.loads(outcome.folder.results.read_text())
    assert figures["all"]["frames_answered"] >= 1
    assert figures["network"]["preset"] == "tiny" and figures["network"]["device"].startswith("cpu")
    for mask in messages_of(outcome.folder.result_bag, "/semantic/labels"):
        assert bag_messages.labels_of(mask.cdr).shape == (96, 128)
