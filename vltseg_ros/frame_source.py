# SPDX-License-Identifier: Apache-2.0
"""What every source of frames offers to the replay and to the evaluation after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vltseg_ros.bags import BagMessage
from vltseg_ros.ground_truth import LabelSpace


class SourceFrame(NamedTuple):
    """One frame, ready to be published."""

    name: str
    """A file's stem, or the frame's number: what a ground truth file is found by."""
    section: str
    """The part of the sequence that it belongs to, for example a weather condition; may be empty."""
    stamp_ns: int
    """The header's stamp."""
    time_ns: int
    """When it plays, on the sequence's own clock."""
    message: bytes
    """The serialised message to publish, of the source's `message_type`."""
    companions: tuple[BagMessage, ...] = ()
    """What else the source recorded with this frame, for example its camera info."""
    sequence: str = ""
    """The drive that it belongs to; frames of one look alike. Empty where the source does not say."""


class FrameSource(Protocol):
    """A sequence of frames that can be iterated more than once, with the same frames every time."""

    description: str
    """What it is, in words."""
    drawn: bool
    """Whether the frames are drawn scenes rather than a camera's pictures."""
    has_truth: bool
    """Whether the source carries ground truth of its own."""
    truth_topic: str | None
    """The topic of that ground truth."""
    label_space: LabelSpace
    """What the values of its own ground truth mean."""
    message_type: str
    """sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage."""
    num_frames: int | None
    """How many frames, where that is known beforehand."""
    frame_rate_hz: float
    """Nominal rate: what a video of the frames should play at."""

    @property
    def entries(self) -> Mapping[str, str]:
        """What the metadata of its bag says; empty where it is no bag."""
        ...

    @property
    def losses(self) -> list[str]:
        """A sentence for each thing that could not be read, so far."""
        ...

    def frames(self) -> Iterator[SourceFrame]:
        """The frames in the order of their times; raises InputError where one cannot be read."""
        ...

    def picture(self, frame: SourceFrame) -> NDArray[np.uint8]:
        """The frame's pixels, uint8 [H, W, 3] RGB."""
        ...

    def archive(self, frame: SourceFrame) -> Iterator[BagMessage]:
        """What of this frame belongs into a bag of results, in the form that it came in."""
        ...

    def truth(self, frame: SourceFrame) -> NDArray[np.uint8] | None:
        """The frame's own ground truth in `label_space`, uint8 [H, W], where the source carries one."""
        ...
