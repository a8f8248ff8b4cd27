# SPDX-License-Identifier: Apache-2.0
"""Writes drawn driving scenes as a bag: camera images, camera info and exact labels, one weather after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vltseg_core.data.demo_scenes import CONDITIONS, DemoSequence
from vltseg_ros import bags
from vltseg_ros.bag_frames import BagFrame, FrameWriter


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

    @property
    def entries(self) -> dict[str, str]:
        """What the bag's metadata says of it."""
        return {
            "vltseg.drawn": "true",
            "vltseg.seed": str(self.seed),
            "vltseg.conditions": json.dumps(list(self.conditions)),
        }


def write_demo_bag(path: Path, settings: DemoBagSettings, on_frame: Callable[[], object] = lambda: None) -> None:
    """Draw the scenes into a new bag (mcap); `on_frame` is called after each frame.

    Topics: /camera/image (rgb8), /camera/camera_info, /ground_truth/labels (mono8, train ids) and /condition (the
    name, once where each condition begins). Images, infos and labels of one frame share their stamp.
    """
    with bags.BagWriter(path) as writer:
        writer.describe(settings.entries)
        frames = FrameWriter(writer)
        for frame in drawn_frames(settings):
            frames.write(frame)
            on_frame()


def drawn_frames(settings: DemoBagSettings) -> Iterator[BagFrame]:
    """The scenes, drawn when they are asked for."""
    num_frames = 0
    for condition in settings.conditions:
        sequence = DemoSequence(
            settings.seed,
            condition=condition,
            image_size=settings.image_size,
            frame_rate_hz=settings.frame_rate_hz,
        )
        for index in range(settings.num_frames_each):
            frame = sequence.frame(index)
            time_s = num_frames / settings.frame_rate_hz
            yield BagFrame(frame.image, sequence.intrinsics, time_s, frame.labels, condition)
            num_frames += 1
