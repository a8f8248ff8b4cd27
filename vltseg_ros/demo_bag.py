# SPDX-License-Identifier: Apache-2.0
"""Writes drawn driving scenes as a bag: camera images, camera info and exact labels, one weather after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vltseg_core.data.demo_scenes import CONDITIONS, DemoSequence
from vltseg_ros import bag_messages, bags

FRAME_ID = "camera_optical_frame"
START_NS = 1_735_689_600 * 1_000_000_000
"""First stamp, 2025-01-01 00:00 UTC: fixed, so that the same seed gives the same bag."""


@dataclass(frozen=True)
class DemoBagSettings:
    """What to draw: sizes are (height, width) in pixels, `seconds` the length of each condition."""

    seed: int = 0
    seconds: float = 4.0
    frame_rate_hz: float = 10.0
    image_size: tuple[int, int] = (360, 480)
    conditions: Sequence[str] = CONDITIONS

    @property
    def num_frames_each(self) -> int:
        """Frames of one condition, at least one."""
        return max(1, round(self.seconds * self.frame_rate_hz))

    @property
    def num_frames(self) -> int:
        """Frames of all conditions."""
        return self.num_frames_each * len(self.conditions)


def write_demo_bag(path: Path, settings: DemoBagSettings, on_frame: Callable[[], object] = lambda: None) -> None:
    """Draw the scenes into a new bag (mcap); `on_frame` is called after each frame.

    Topics: /camera/image (rgb8), /camera/camera_info, /ground_truth/labels (mono8, train ids) and /condition (the
    name, once where each condition begins). Images, infos and labels of one frame share their stamp.
    """
    interval_ns = round(1e9 / settings.frame_rate_hz)
    with bags.BagWriter(path) as writer:
        writer.describe(
            {
                "vltseg.drawn": "true",
                "vltseg.seed": str(settings.seed),
                "vltseg.conditions": json.dumps(list(settings.conditions)),
            }
        )
        stamp_ns = START_NS
        for condition in settings.conditions:
            sequence = DemoSequence(
                settings.seed,
                condition=condition,
                image_size=settings.image_size,
                frame_rate_hz=settings.frame_rate_hz,
            )
            name = bag_messages.string_message(condition)
            writer.write(bags.CONDITION_TOPIC, bag_messages.STRING_TYPE, stamp_ns, name)
            for index in range(settings.num_frames_each):
                _write_frame(writer, sequence, index, stamp_ns)
                stamp_ns += interval_ns
                on_frame()


def _write_frame(writer: bags.BagWriter, sequence: DemoSequence, index: int, stamp_ns: int) -> None:
    frame = sequence.frame(index)
    size = (frame.labels.shape[0], frame.labels.shape[1])
    info = bag_messages.camera_info_message(sequence.intrinsics, size, stamp_ns, FRAME_ID)
    labels = bag_messages.image_message(frame.labels, stamp_ns, FRAME_ID)
    image = bag_messages.image_message(frame.image, stamp_ns, FRAME_ID)
    writer.write(bags.CAMERA_INFO_TOPIC, bag_messages.CAMERA_INFO_TYPE, stamp_ns, info)
    writer.write(bags.GROUND_TRUTH_TOPIC, bag_messages.IMAGE_TYPE, stamp_ns, labels)
    writer.write(bags.IMAGE_TOPIC, bag_messages.IMAGE_TYPE, stamp_ns, image)
