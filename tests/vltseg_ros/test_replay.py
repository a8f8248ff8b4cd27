# SPDX-License-Identifier: Apache-2.0
"""Frames go out over DDS at their times with their stamps, and masks find their frames."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from vltseg_ros import bag_messages, bags
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.node_process import NodeError, NodeProcess
from vltseg_ros.replay import Replay

STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_node.py"))
INTERVAL_NS = 50_000_000
SIZE = (48, 64)


START_NS = 1_735_689_600_000_000_123


def frames(num_frames, interval_ns=INTERVAL_NS, first_time_ns=0, stamps_each=1):
    """Frame i is red by 16 i, so its mask is i, and green by i; `stamps_each` frames in a row share a stamp."""
    for index in range(num_frames):
        stamp_ns = START_NS + index // stamps_each * interval_ns
        image = np.zeros((*SIZE, 3), np.uint8)
        image[..., :2] = 16 * (index % 16), index
        message = bag_messages.image_message(image, stamp_ns, "front")
        # played on another clock than the stamps', unless first_time_ns is theirs
        time_ns = first_time_ns + index * interval_ns
        yield SourceFrame(str(index), "fog" if index < 5 else "snow", stamp_ns, time_ns, message)


@pytest.fixture
def play(tmp_path):
    """Play frames into the stand-in; gives what the replay saw and the masks (and confidences) that were recorded."""

    def run(behaviour, num_frames, *, lossless=False, with_confidence=False, source=None, **options):
        with (
            isolated_dds(),
            NodeProcess(
                STAND_IN,
                name="stand_in",
                namespace="/test_replay",
                parameters={"checkpoint": behaviour, "use_sim_time": True},
                log_path=tmp_path / "node.log",
            ) as node,
            bags.BagWriter(tmp_path / "recording") as recording,
            Replay(node, bag_messages.IMAGE_TYPE, recording, with_confidence=with_confidence) as replay,
        ):
            replay.wait_until_ready(options.pop("timeout_s", 60.0))
            start = replay.play_lossless if lossless else replay.play
            record = start(source or frames(num_frames), **options)
        with bags.BagReader(tmp_path / "recording") as reader:
            return record, list(reader.messages([bags.LABELS_TOPIC, bags.CONFIDENCE_TOPIC]))

    return run


def test_every_mask_comes_back_with_the_stamp_and_the_content_of_its_frame(play):
    record, masks = play("tiny", 12)
    assert record.num_answered == len(masks) == len(record.frames) == 12
    assert record.num_unknown_masks == 0
    # By stamp: a frame that is published late is answered early in the sequence's time.
    masks.sort(key=lambda mask: bag_messages.stamp_of(mask.cdr))
    for index, (frame, mask) in enumerate(zip(record.frames, masks, strict=True)):
        assert bag_messages.stamp_of(mask.cdr) == frame.stamp_ns
        assert mask.time_ns == pytest.approx(frame.time_ns + frame.latency_ms * 1e6, abs=2)
        np.testing.assert_array_equal(bag_messages.labels_of(mask.cdr), np.full(SIZE, index))
        assert 0 < frame.latency_ms < 1000
    assert [frame.section for frame in record.frames] == ["fog"] * 5 + ["snow"] * 7


def test_frames_are_published_at_their_times_divided_by_the_rate(play):
    count = [0]

    def on_frame():
        count[0] += 1

    record, _ = play("tiny", 11, rate=2.0, on_frame=on_frame)
    published_s = np.diff([frame.published_s for frame in record.frames])
    assert count[0] == 11
    assert np.median(published_s) == pytest.approx(INTERVAL_NS / 1e9 / 2, rel=0.4)
    assert record.playing_s == pytest.approx(11 * INTERVAL_NS / 1e9 / 2, rel=0.5)


def test_a_slow_node_drops_frames_and_answers_the_last_one(play):
    record, masks = play("slow", 12)
    assert 2 <= record.num_answered < 8
    assert record.frames[-1].answered
    assert all(math.isnan(f.latency_ms) or f.latency_ms > 240 for f in record.frames)
    assert [bag_messages.stamp_of(m.cdr) for m in masks] == [f.stamp_ns for f in record.frames if f.answered]


def test_what_the_node_says_of_itself_is_kept(play):
    record, _ = play("tiny", 10)
    assert record.diagnostics == {"checkpoint": "stand-in tiny", "device": "none"}


def test_silence_is_waited_for_only_so_long(play, monkeypatch):
    monkeypatch.setattr("vltseg_ros.replay._FIRST_MASK_S", 0.3)
    record, masks = play("mute", 3, patience_s=0.2)
    assert record.num_answered == 0 and not masks and len(record.frames) == 3


def test_a_camera_at_60_hz_that_the_node_cannot_follow(play):
    source = frames(120, interval_ns=16_666_667)
    record, masks = play("slow", 120, source=source)
    assert len(record.frames) == 120 and 4 <= record.num_answered <= 12
    assert record.frames[-1].answered, "the newest frame wins"
    assert record.playing_s == pytest.approx(2.0, rel=0.3)
    for mask in masks:
        frame = next(f for f in record.frames if f.stamp_ns == bag_messages.stamp_of(mask.cdr))
        assert bag_messages.labels_of(mask.cdr)[0, 0] == int(frame.name) % 16
    timings = record.timings()
    assert all(timing.interval_ms == pytest.approx(16.7, abs=0.1) for timing in timings)
    assert all(timing.latency_ms > timing.interval_ms for timing in timings if not math.isnan(timing.latency_ms))


def test_lossless_waits_for_a_slow_node_and_drops_nothing(play):
    record, masks = play("slow", 6, lossless=True)
    assert record.num_answered == len(masks) == 6
    published_s = np.diff([frame.published_s for frame in record.frames])
    assert all(step_s >= 0.25 for step_s in published_s)
    assert record.num_silent_frames == 0


def test_lossless_goes_on_at_once_where_the_node_says_that_it_rejected_a_frame(play):
    record, masks = play("picky", 12, lossless=True, patience_s=30.0)
    assert [frame.answered for frame in record.frames] == [True, True, False] * 4
    assert [frame.refused for frame in record.frames] == [False, False, True] * 4
    assert record.num_silent_frames == 0 and len(masks) == 8
    assert record.playing_s < 25, "no frame was waited for as long as one that stays silent"


def test_lossless_waits_for_silence_only_so_long_and_counts_it(play):
    record, masks = play("deaf", 7, lossless=True, patience_s=1.0)
    assert [frame.answered for frame in record.frames] == [True, True, False, True, True, False, True]
    assert record.num_silent_frames == 2 and not any(frame.refused for frame in record.frames)


@pytest.mark.parametrize("behaviour", ["tiny", "deaf"])
def test_frames_that_nobody_can_decode_are_refused_at_once_and_end_nothing(play, behaviour):
    given = list(frames(18))
    for index in range(3, 15):
        given[index] = given[index]._replace(message=given[index].message[:-2000])
    record, _ = play(behaviour, 18, lossless=True, patience_s=2.0, source=given)
    assert [index for index, frame in enumerate(record.frames) if frame.refused] == list(range(3, 15))
    assert record.num_answered == (6 if behaviour == "tiny" else 4)
    assert record.num_silent_frames == (0 if behaviour == "tiny" else 2)
    published_s = [frame.published_s for frame in record.frames]
    assert published_s[14] - published_s[3] < 2.0


def test_frames_that_nobody_can_decode_do_not_hide_a_node_that_never_answers(play, monkeypatch):
    monkeypatch.setattr("vltseg_ros.replay._FIRST_MASK_S", 0.1)
    given = [frame._replace(message=frame.message[:-2000] if i % 2 else frame.message) for i, frame in enumerate(frames(30))]
    with pytest.raises(NodeError, match="answered none of 10 frames in a row"):
        play("mute", 30, lossless=True, patience_s=0.1, source=given)


def test_a_jump_of_the_clock_is_not_waited_for(play):
    decades_ns = 10**18
    given = [frame._replace(time_ns=frame.time_ns + decades_ns * (i >= 6)) for i, frame in enumerate(frames(12))]
    record, _ = play("tiny", 12, source=given)
    assert record.num_answered == 12 and record.num_shortened_gaps == 1
    published_s = np.diff([frame.published_s for frame in record.frames])
    assert published_s[5] == pytest.approx(1.0, abs=0.5)
    assert np.median(published_s) == pytest.approx(INTERVAL_NS / 1e9, rel=0.3)
    assert record.frames[6].time_ns > decades_ns


def test_lossless_ends_where_a_node_never_answers(play, monkeypatch):
    monkeypatch.setattr("vltseg_ros.replay._FIRST_MASK_S", 0.1)
    with pytest.raises(NodeError, match="answered none of 10 frames in a row: .*first frame"):
        play("mute", 30, lossless=True, patience_s=0.1)


def test_frames_of_one_stamp_get_their_own_masks(play):
    record, masks = play("deaf", 9, lossless=True, patience_s=1.0, source=frames(9, stamps_each=3))
    assert [frame.answered for frame in record.frames] == [True, True, False] * 3
    assert [bag_messages.labels_of(mask.cdr)[0, 0] for mask in masks] == [0, 1, 3, 4, 6, 7]


def test_the_confidence_is_recorded_beside_its_mask(play):
    record, answers = play("tiny", 8, lossless=True, with_confidence=True)
    assert all(frame.has_confidence for frame in record.frames)
    by_topic = {topic: [m for m in answers if m.topic == topic] for topic in (bags.LABELS_TOPIC, bags.CONFIDENCE_TOPIC)}
    assert [bag_messages.labels_of(m.cdr)[0, 0] for m in by_topic[bags.CONFIDENCE_TOPIC]] == list(range(8))
    assert [bag_messages.stamp_of(m.cdr) for m in by_topic[bags.CONFIDENCE_TOPIC]] == [f.stamp_ns for f in record.frames]


def test_the_node_s_clock_is_the_sequence_s(play):
    record, _ = play("clock", 20, rate=2.0, source=frames(20, first_time_ns=START_NS))
    node_times_ns = json.loads(record.diagnostics["times (ns)"])
    ages_s = [(time_ns - frame.stamp_ns) / 1e9 for time_ns, frame in zip(node_times_ns, record.frames, strict=True)]
    assert np.median(ages_s) == pytest.approx(0.0, abs=0.1), "in the sequence's seconds, twice as fast as ours"
    assert all(frame.stamp_latency_ms == pytest.approx(frame.latency_ms) for frame in record.frames)


def test_the_clock_stands_at_each_frame_of_a_lossless_replay(play):
    record, _ = play("clock", 8, lossless=True, source=frames(8, first_time_ns=START_NS))
    assert json.loads(record.diagnostics["times (ns)"]) == [frame.stamp_ns for frame in record.frames]


def test_a_stamp_of_another_clock_has_no_latency_from_it(play):
    record, _ = play("tiny", 4, lossless=True)
    assert record.num_answered == 4 and all(math.isnan(frame.stamp_latency_ms) for frame in record.frames)


def test_a_node_that_cannot_start_says_why(play):
    with pytest.raises(NodeError, match=r"exit code 3: checkpoint 'broken' is no checkpoint: give a \.safetensors file"):
        play("broken", 3)


def test_a_node_that_dies_while_playing_ends_the_replay(play, tmp_path):
    with pytest.raises(NodeError, match="exit code 7: the device is gone"):
        play("dying", 100)
    with bags.BagReader(tmp_path / "recording") as reader:  # what came before is there
        assert len(list(reader.messages([bags.LABELS_TOPIC]))) == 2


def test_a_node_that_never_becomes_active_is_not_waited_for_forever(tmp_path):
    with (
        isolated_dds(),
        NodeProcess(
            [sys.executable, "-c", "import time; print('thinking', flush=True); time.sleep(60)"],
            name="silent",
            namespace="/test_replay",
            parameters={},
            log_path=tmp_path / "node.log",
        ) as node,
        bags.BagWriter(tmp_path / "recording") as recording,
        Replay(node, bag_messages.IMAGE_TYPE, recording) as replay,
        pytest.raises(NodeError, match="/test_replay/silent did not become active in time: thinking"),
    ):
        while "thinking" not in (tmp_path / "node.log").read_text():
            time.sleep(0.01)
        replay.wait_until_ready(1.0)
