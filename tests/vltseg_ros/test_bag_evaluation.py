# SPDX-License-Identifier: Apache-2.0
"""A bag from the first frame to results.json, over real DDS."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")

from rich.console import Console
from rich.progress import Progress

from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.runtime import Segmenter
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_evaluation import BagEvaluationSettings, evaluate_bag
from vltseg_ros.bag_source import BagSource
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.node_process import SEGMENTATION_NODE
from vltseg_ros.replay_run import ReplaySettings

STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_node.py"))
NUM_EACH = 6


def run(bag, output, checkpoint="tiny", node_command=STAND_IN, lossless=True, min_confidence=0.0, params_file=None, **settings):
    replay = ReplaySettings(
        lossless=lossless,
        with_confidence=True,
        checkpoint=checkpoint,
        device="cpu",
        min_confidence=min_confidence,
        params_file=params_file,
        node_command=node_command,
    )
    with Progress(console=Console(file=io.StringIO())) as progress:
        return evaluate_bag(BagEvaluationSettings(str(bag), output, replay, **settings), progress)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Drawn scenes of two conditions, six frames each."""
    path = tmp_path_factory.mktemp("bag") / "drawn"
    write_demo_bag(path, DemoBagSettings(seconds=NUM_EACH / 10, image_size=(96, 128), conditions=("clear", "night")))
    return path


@pytest.fixture(scope="module")
def offline(bag):
    """Image, labels, confidence and truth of every frame, by the segmenter itself."""
    source, segmenter = BagSource(bag), Segmenter.load("tiny", device="cpu")
    pictures = [(frame.stamp_ns, source.picture(frame), source.truth(frame)) for frame in source.frames()]
    return {stamp_ns: (*segmenter.segment([image])[0], truth) for stamp_ns, image, truth in pictures}


@pytest.fixture(scope="module")
def lossless(bag, tmp_path_factory):
    """The same by the real node over DDS."""
    return run(bag, tmp_path_factory.mktemp("lossless") / "out", node_command=SEGMENTATION_NODE)


def messages_of(path, topic):
    with bags.BagReader(path) as reader:
        return {bag_messages.stamp_of(m.cdr): bag_messages.labels_of(m.cdr) for m in reader.messages([topic])}


def test_lossless_masks_are_those_of_the_segmenter_to_the_last_pixel(lossless, offline):
    masks = messages_of(lossless.folder.result_bag, bags.LABELS_TOPIC)
    confidences = messages_of(lossless.folder.result_bag, bags.CONFIDENCE_TOPIC)
    assert masks.keys() == confidences.keys() == offline.keys()
    for stamp_ns, (labels, confidence, _) in offline.items():
        np.testing.assert_array_equal(masks[stamp_ns], labels)
        np.testing.assert_array_equal(confidences[stamp_ns], confidence)


def test_lossless_figures_are_those_of_the_offline_evaluation(lossless, offline):
    confusion = ConfusionMatrix(19)
    right = np.zeros(256, np.int64)
    for labels, confidence, truth in offline.values():
        confusion.add(labels, truth)
        right += np.bincount(confidence[(labels == truth) & (truth != 255)], minlength=256)
    np.testing.assert_array_equal(lossless.result.total.confusion.counts, confusion.counts)
    np.testing.assert_array_equal(lossless.result.total.calibration.num_right, right)
    assert lossless.result.pooled.value == confusion.mean_iou()


def test_the_results_are_written_and_read_back(lossless):
    document = json.loads(lossless.folder.results.read_text())
    assert bag_figures.write(bag_figures.read(document)) == document
    assert list(document["conditions"]) == ["clear", "night"]
    overall = document["overall"]
    assert (overall["frames_in"], overall["frames_answered"], overall["frames_evaluated"]) == (12, 12, 12)
    assert overall["latency_ms"]["median"] <= overall["latency_ms"]["p99"]
    # the bag gives each frame at its stamp, so both latencies are the node's alone
    assert overall["latency_from_stamp_ms"] == overall["latency_ms"]
    assert 0 <= overall["flicker"] <= 1 and overall["calibration"]["expected_error"] > 0
    assert document["network"]["preset"] == "tiny" and document["lossless"] and document["drawn_not_photographed"]
    assert "| night |" in lossless.folder.tables.read_text()
    assert "drawn, not photographed" in lossless.folder.report.read_text()


def test_the_best_and_the_worst_frames_are_kept_as_pictures(lossless, offline):
    names = {path.name for path in lossless.folder.overlays.iterdir()}
    for kind in ("best", "worst"):
        assert sum(name.startswith(f"{kind}_") for name in names) == 3
    scores = []
    for labels, _, truth in offline.values():
        confusion = ConfusionMatrix(19)
        confusion.add(labels, truth)
        scores.append(confusion.mean_iou())
    best, worst = int(np.argmax(scores)), int(np.argmin(scores))
    conditions = ["clear", "night"]
    assert f"best_1_{conditions[best // NUM_EACH]}_{best:06d}.png" in names
    assert f"worst_1_{conditions[worst // NUM_EACH]}_{worst:06d}.png" in names


def test_a_vehicle_s_parameters_serve_for_one_camera_that_starts_by_itself(bag, tmp_path):
    parameters = tmp_path / "vehicle.yaml"
    parameters.write_text(
        '/**: {ros__parameters: {cameras: ["front", "left"], autostart: false, min_confidence: 0.9, max_frame_age_s: 100.0}}\n'
    )
    outcome = run(bag, tmp_path / "out", params_file=parameters)
    assert sum(t.latency_ms > 0 for s in outcome.result.sequences for t in s.timings) == 2 * NUM_EACH
    assert outcome.result.min_confidence == 0


def test_pixels_under_the_threshold_are_255_and_count_as_missed(bag, offline, tmp_path):
    outcome = run(bag, tmp_path / "out", node_command=SEGMENTATION_NODE, min_confidence=0.6)
    masks = messages_of(outcome.folder.result_bag, bags.LABELS_TOPIC)
    num_kept = num_annotated = 0
    for stamp_ns, (labels, confidence, truth) in offline.items():
        expected = np.where(confidence < 0.6 * 255, 255, labels)
        np.testing.assert_array_equal(masks[stamp_ns], expected)
        num_annotated += np.count_nonzero(truth != 255)
        num_kept += np.count_nonzero((expected != 255) & (truth != 255))
    assert outcome.result.total.calibration.num_pixels.sum() == num_kept
    assert outcome.result.total.calibration.num_pixels[:153].sum() == 0
    assert 0 < num_kept < num_annotated
    assert outcome.result.total.calibration.coverage_curve()[0].coverage == num_kept / num_annotated
    assert "ECE is over the pixels kept at min_confidence 0.6 alone." in outcome.folder.tables.read_text()
    assert "kept at min_confidence 0.6 alone" in outcome.folder.report.read_text()


def test_frames_that_the_node_rejects_are_counted_and_nothing_waits_for_them(bag, tmp_path):
    outcome = run(bag, tmp_path / "out", "picky")
    total = outcome.result.total
    assert (total.num_frames, total.num_answered, total.num_refused, total.num_dropped) == (12, 8, 4, 0)
    assert "The node rejected frames: taste (4)." in outcome.result.remarks
    assert json.loads(outcome.folder.results.read_text())["counts"][0]["rejected"] == [2, 5]


def test_a_slow_node_in_real_time_drops_frames_and_is_late(bag, tmp_path):
    outcome = run(bag, tmp_path / "out", "slow", lossless=False)
    total = outcome.result.total
    assert total.num_frames == 12 and 2 <= total.num_answered < 12
    assert total.num_dropped == 12 - total.num_answered and total.num_late == total.num_answered
    figures = json.loads(outcome.folder.results.read_text())["overall"]
    assert figures["answered_within_ms"] == {"33": 0.0, "50": 0.0, "100": 0.0}


def test_pictures_without_ground_truth_have_times_and_class_shares(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for index in range(4):
        Image.new("RGB", (40, 32), (16 * 10 + 4, 128, 0)).save(images / f"{index}.png")
    outcome = run(images, tmp_path / "out")
    figures = json.loads(outcome.folder.results.read_text())
    assert figures["overall"]["class_shares"]["sky"] == 1.0 and figures["overall"]["flicker"] == 0.0
    assert figures["mean_iou_pooled"]["value"] is None and not outcome.result.has_truth
    assert [path.name[:8] for path in sorted(outcome.folder.overlays.iterdir())] == ["sequence"] * 4


def test_the_command_ends_with_2_where_a_condition_falls_short(bag, tmp_path):
    command = [sys.executable, "-m", "vltseg_ros.cli", "evaluate-bag", str(bag), "-o", str(tmp_path / "out"), "--lossless"]
    command += ["--device", "cpu", "--max-seconds", "0.25", "--fail-under", "clear=1,overall=100"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert ended.returncode == 2, ended.stderr
    assert "fell short of --fail-under: overall has" in ended.stderr and "100 % are demanded" in ended.stderr
    assert "clear has" not in ended.stderr and (tmp_path / "out" / "results.json").exists()
