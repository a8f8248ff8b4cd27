# SPDX-License-Identifier: Apache-2.0
"""What a replay leaves is counted frame by frame, whatever order the masks came in and whatever is missing."""

from __future__ import annotations

import math
from typing import ClassVar

import av
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_source import BagSource
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.ground_truth import CITYSCAPES_TRAIN_IDS, space_entries
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay_evaluation import ReplayEvaluation
from vltseg_ros.replay_record import PlayedFrame

SIZE = (32, 48)
INTERVAL_NS = 100_000_000
NAN = float("nan")


class FakeSource:
    """Frames whose truth is road everywhere; those named in `unreadable` cannot be decoded."""

    description, drawn, has_truth, frame_rate_hz = "fake", False, True, 10.0
    message_type = bag_messages.IMAGE_TYPE
    entries: ClassVar = {}
    truth_topic = "/truth"
    label_space = CITYSCAPES_TRAIN_IDS

    def __init__(self, stamps_ns, unreadable=()):
        self.stamps_ns = stamps_ns
        self.unreadable = unreadable
        self.num_frames = len(stamps_ns)

    def frames(self):
        for index, stamp_ns in enumerate(self.stamps_ns):
            yield SourceFrame(str(index), "", stamp_ns, index * INTERVAL_NS, b"")

    def picture(self, frame):
        if frame.name in self.unreadable:
            raise InputError("encoding 'nonsense' is unknown")
        return np.full((*SIZE, 3), 100, np.uint8)

    def archive(self, frame):
        return iter(())

    def truth(self, frame):
        return np.zeros(SIZE, np.uint8)


@pytest.fixture
def evaluate(tmp_path):
    """Evaluate frames of these stamps; `masks` are (stamp, label everywhere) in the order of their receipt."""

    def run(stamps_ns, latencies_ms, masks, sections=None, **options):
        with OutputFolder(tmp_path / "out") as folder:
            with bags.BagWriter(folder.recording) as recording:
                for order, (stamp_ns, label) in enumerate(masks):
                    cdr = bag_messages.image_message(np.full(options.get("size", SIZE), label, np.uint8), stamp_ns, "")
                    recording.write(bags.LABELS_TOPIC, bag_messages.IMAGE_TYPE, 1000 + order, cdr)
            sections = sections or [""] * len(stamps_ns)
            played = [
                PlayedFrame(str(index), section, stamp_ns, index * INTERVAL_NS, index / 10, latency_ms)
                for index, (stamp_ns, section, latency_ms) in enumerate(zip(stamps_ns, sections, latencies_ms, strict=True))
            ]
            source = FakeSource(stamps_ns, options.get("unreadable", ()))
            evaluation = ReplayEvaluation(folder, source, played)
            evaluation.run()
            return evaluation, folder

    return run


def num_video_frames(folder):
    with av.open(str(folder.video)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_masks_count_for_their_own_frame_in_whatever_order_they_came(evaluate):
    evaluation, _ = evaluate([10, 20, 30], [5.0, 6.0, 7.0], [(30, 0), (10, 0), (20, 13)], ["a", "b", "a"])
    assert evaluation.sections["a"].mean_iou == 1.0
    assert evaluation.sections["b"].mean_iou == 0.0
    assert evaluation.sections["a"].latencies_ms == [5.0, 7.0]


def test_frames_of_one_stamp_take_their_masks_in_turn(evaluate):
    evaluation, _ = evaluate([10, 10], [5.0, 6.0], [(10, 0), (10, 13)], ["a", "b"])
    assert (evaluation.sections["a"].mean_iou, evaluation.sections["b"].mean_iou) == (1.0, 0.0)


def test_a_dropped_frame_is_in_the_video_and_not_in_the_figures(evaluate):
    evaluation, folder = evaluate([10, 20, 30], [5.0, NAN, 7.0], [(10, 0), (30, 0)])
    section = evaluation.sections["sequence"]
    assert (section.num_frames, section.num_answered, section.confusion.num_images) == (3, 2, 2)
    assert math.isnan(section.latencies_ms[1])
    assert num_video_frames(folder) == 3


def test_a_frame_that_neither_side_can_read_is_named(evaluate):
    evaluation, folder = evaluate([10, 20], [5.0, NAN], [(10, 0)], unreadable=("1",))
    assert evaluation.unreadable == ["1: encoding 'nonsense' is unknown"]
    assert evaluation.sections["sequence"].num_dropped == 1
    assert num_video_frames(folder) == 1


def test_a_mask_of_another_size_is_an_error(evaluate):
    with pytest.raises(InputError, match="image of 48x32 pixels with a mask of 24x16"):
        evaluate([10], [5.0], [(10, 0)], size=(16, 24))


def test_a_recording_without_an_answered_frames_mask_is_an_error(evaluate):
    with pytest.raises(InputError, match="lacks the mask of stamp 20"):
        evaluate([10, 20], [5.0, 6.0], [(10, 0)])


def test_a_few_overlays_a_section_are_kept_spread_over_it(evaluate):
    stamps_ns = list(range(10, 50))
    evaluation, folder = evaluate(stamps_ns, [5.0] * 40, [(s, 0) for s in stamps_ns], ["fog"] * 20 + ["so far/so"] * 20)
    assert sorted(path.name for path in folder.overlays.iterdir()) == sorted(
        [f"fog_{i}.png" for i in (2, 7, 12, 17)] + [f"so_far_so_{i}.png" for i in (22, 27, 32, 37)]
    )
    assert [row.caption for row in evaluation.pictures] == ["fog, 1.20 s", "so far/so, 3.20 s"]
    assert [panel.name for panel in evaluation.pictures[0].panels] == ["camera image", "labels over it", "ground truth"]


def write_bag(path, truths, entries=None, topic=bags.GROUND_TRUTH_TOPIC):
    """A bag of black images; each truth is labels [H, W], a serialised message, or None."""
    with bags.BagWriter(path) as writer:
        writer.describe(entries or {})
        for index, truth in enumerate(truths):
            stamp_ns = (index + 1) * INTERVAL_NS
            if truth is not None:
                cdr = truth if isinstance(truth, bytes) else bag_messages.image_message(truth, stamp_ns, "")
                writer.write(topic, bag_messages.IMAGE_TYPE, stamp_ns, cdr)
            image = bag_messages.image_message(np.zeros((*SIZE, 3), np.uint8), stamp_ns, "")
            writer.write(bags.IMAGE_TOPIC, bag_messages.IMAGE_TYPE, stamp_ns, image)
    return path


def evaluate_bag_source(path, output, label=13):
    """The evaluation of a bag whose every mask is `label` everywhere."""
    source = BagSource(path)
    frames = list(source.frames())
    with OutputFolder(output) as folder:
        with bags.BagWriter(folder.recording) as recording:
            for frame in frames:
                cdr = bag_messages.image_message(np.full(SIZE, label, np.uint8), frame.stamp_ns, "")
                recording.write(bags.LABELS_TOPIC, bag_messages.IMAGE_TYPE, frame.time_ns + 1000, cdr)
        played = [PlayedFrame(f.name, f.section, f.stamp_ns, f.time_ns, i / 10, 5.0) for i, f in enumerate(frames)]
        evaluation = ReplayEvaluation(folder, source, played)
        evaluation.run()
        return evaluation, folder.result_bag


def test_the_bag_of_results_is_evaluated_as_its_source_was(tmp_path):
    lookup = np.full(256, 255, np.uint8)
    lookup[:19] = 0
    lookup[13] = 1  # its cars
    entries = {
        TRUTH_TOPIC_ENTRY: "/roof/labels",
        "vltseg.credit": "me",
        "vltseg.data_set": "ours",
        **space_entries("ours", ("ground", "vehicle"), lookup),
    }
    truth = np.zeros(SIZE, np.uint8)
    truth[:8] = 1
    bag = write_bag(tmp_path / "bag", [truth, truth], entries, "/roof/labels")
    first, result_bag = evaluate_bag_source(bag, tmp_path / "first")
    again, _ = evaluate_bag_source(result_bag, tmp_path / "again")
    assert first.sections["sequence"].mean_iou == again.sections["sequence"].mean_iou == 0.125
    with bags.BagReader(result_bag) as reader:
        assert {key: reader.entries[key] for key in entries} == entries


def test_ground_truth_that_cannot_be_used_is_counted_and_the_rest_judged(tmp_path):
    car = np.full(SIZE, 13, np.uint8)
    rgb = bag_messages.image_message(np.zeros((*SIZE, 3), np.uint8), 2 * INTERVAL_NS, "")
    cut = bag_messages.image_message(car, 3 * INTERVAL_NS, "")[:60]
    truths = [car, rgb, cut, b"short", np.full(SIZE, 33, np.uint8), np.zeros((8, 8), np.uint8), None]
    evaluation, _ = evaluate_bag_source(write_bag(tmp_path / "bag", truths), tmp_path / "out")
    assert evaluation.sections["sequence"].mean_iou == 1.0
    assert evaluation.sections["sequence"].confusion.num_images == 1
    unusable, few = evaluation.truth_remarks
    assert unusable.startswith("4 frames have ground truth that cannot be used, the first is 000001: a label image has encoding")
    assert few == "5 of 7 answered frames have ground truth."


def test_ground_truth_of_other_stamps_is_said(tmp_path):
    car = bag_messages.image_message(np.full(SIZE, 13, np.uint8), INTERVAL_NS + 1, "")
    evaluation, _ = evaluate_bag_source(write_bag(tmp_path / "bag", [car, None]), tmp_path / "out")
    assert evaluation.sections["sequence"].confusion is None
    assert evaluation.truth_remarks == [
        "The bag holds ground truth on /ground_truth/labels, but no message has an answered frame's stamp."
    ]
