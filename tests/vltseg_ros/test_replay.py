# SPDX-License-Identifier: Apache-2.0
"""Frames go out over DDS at their times with their stamps, and masks find their frames."""

from __future__ import annotations

import math
import sys
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


def frames(num_frames, start_ns=1_735_689_600_000_000_123):
    """Frame i is red by 16 i, so its mask is i."""
    for index in range(num_frames):
        stamp_ns = start_ns + index * INTERVAL_NS
        image = np.zeros((*SIZE, 3), np.uint8)
        image[..., 0] = 16 * (index % 16)
        message = bag_messages.image_message(image, stamp_ns, "front")
        # played on another clock than the stamps'
        yield SourceFrame(str(index), "fog" if index < 5 else "snow", stamp_ns, index * INTERVAL_NS, message)


@pytest.fixture
def play(tmp_path):
    """Play frames into the stand-in; gives what the replay saw and the masks that were recorded."""

    def run(behaviour, num_frames, **options):
        with (
            isolated_dds(),
            NodeProcess(
                STAND_IN,
                name="stand_in",
                namespace="/test_replay",
                parameters={"checkpoint": behaviour},
                log_path=tmp_path / "node.log",
            ) as node,
            bags.BagWriter(tmp_path / "recording") as recording,
            Replay(node, bag_messages.IMAGE_TYPE, recording) as replay,
        ):
            replay.wait_until_ready(options.pop("timeout_s", 30.0))
            record = replay.play(frames(num_frames), **options)
        with bags.BagReader(tmp_path / "recording") as reader:
            return record, list(reader.messages([bags.LABELS_TOPIC]))

    return run


def test_every_mask_comes_back_with_the_stamp_and_the_content_of_its_frame(play):
    record, masks = play("tiny", 12)
    assert record.num_answered == len(masks) == len(record.frames) == 12
    assert record.num_unknown_masks == 0
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
    assert np.median(published_s) == pytest.approx(INTERVAL_NS / 1e9 / 2, rel=0.2)
    assert record.playing_s == pytest.approx(11 * INTERVAL_NS / 1e9 / 2, rel=0.3)


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
        replay.wait_until_ready(1.0)
