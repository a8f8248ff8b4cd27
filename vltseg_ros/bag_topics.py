# SPDX-License-Identifier: Apache-2.0
"""Which topic of a bag is the camera, and which its ground truth, by their types and names."""

from __future__ import annotations

import re
from pathlib import Path

from vltseg_core.errors import InputError
from vltseg_ros.bag_messages import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from vltseg_ros.bags import BagTopic
from vltseg_ros.said_text import all_said, said

TRUTH_TOPIC_ENTRY = "vltseg.ground_truth"
"""The metadata's key for the topic of the ground truth."""
_COMPRESSED = "/compressed"
_TRUTH = re.compile(r"ground_?truth|(^|/|_)gt(/|_|$)", re.IGNORECASE)
_NO_CAMERA = re.compile(
    r"ground_?truth|(^|/|_)gt(/|_|$)|semantic|segmentation|(^|/|_)(masks?|labels?|overlay|confidence)(/|_|$)|depth|disparity",
    re.IGNORECASE,
)


def choose_camera(path: Path, topics: list[BagTopic], topic: str | None) -> BagTopic:
    """The image topic asked for, or the only camera's: raw where it has as many images as its compressed twin.

    Ground truth, masks and depth count as cameras only where there is nothing else. Raises InputError where there is no
    image, none on that topic, or more than one camera, and says which there are.
    """
    images = [entry for entry in topics if entry.message_type in (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE) and entry.num_messages > 0]
    if not images:
        present = all_said(f"{said(entry.name)} ({entry.message_type})" for entry in topics) or "nothing"
        raise InputError(
            f"the bag '{path}' holds no images (it holds {present}): give a bag with sensor_msgs/Image or CompressedImage"
        )
    if topic is not None:
        chosen = [entry for entry in images if entry.name == topic]
        if not chosen:
            names = all_said(entry.name for entry in images)
            raise InputError(f"the bag '{path}' has no images on topic '{topic}': choose --topic from {names}")
        return chosen[0]
    cameras: dict[str, BagTopic] = {}
    for entry in [entry for entry in images if not _NO_CAMERA.search(entry.name)] or images:
        name = entry.name.removesuffix(_COMPRESSED)
        if name not in cameras or entry.num_messages > cameras[name].num_messages:
            cameras[name] = entry
    if len(cameras) > 1:
        names = all_said(entry.name for entry in cameras.values())
        raise InputError(f"the bag '{path}' has images on {len(cameras)} topics: choose one with --topic from {names}")
    return next(iter(cameras.values()))


def find_truth(topics: list[BagTopic]) -> str | None:
    """The only topic whose name says that it is ground truth labels."""
    found = [entry.name for entry in topics if entry.message_type == IMAGE_TYPE and _TRUTH.search(entry.name)]
    labels = [name for name in found if "label" in name.lower()]
    return next(iter(labels if len(found) > 1 else found), None)


def camera_info_of(image_topic: str) -> str:
    """Where image_transport puts the camera info of an image topic: beside it."""
    return image_topic.removesuffix(_COMPRESSED).rpartition("/")[0] + "/camera_info"
