# SPDX-License-Identifier: Apache-2.0
"""The topics that one camera's masks go out on. What nobody listens to is not made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vltseg_core.evaluation.overlay import blend
from vltseg_core.labels import IGNORE, ClassTable
from vltseg_core.runtime import Segmentation
from vltseg_ros import messages

_RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class MaskPublishers:
    """`semantic/labels`, `semantic/confidence`, `semantic/overlay` and its JPEG, under the camera's name."""

    def __init__(self, node: LifecycleNode, camera: str, classes: ClassTable) -> None:
        prefix = f"{camera}/semantic" if camera else "semantic"
        self._node, self._classes = node, classes
        self._all: list[Any] = []
        try:
            self._create(prefix)
        except Exception:
            self.destroy()
            raise

    def _create(self, prefix: str) -> None:
        self._labels = self._publisher(Image, f"{prefix}/labels", _RELIABLE)
        self._confidence = self._publisher(Image, f"{prefix}/confidence", _RELIABLE)
        self._overlay = self._publisher(Image, f"{prefix}/overlay", _RELIABLE)
        self._overlay_jpeg = self._publisher(CompressedImage, f"{prefix}/overlay/compressed", _RELIABLE)
        info_type = _label_info_type()
        self._label_info = self._publisher(info_type, f"{prefix}/label_info", _LATCHED) if info_type else None

    def _publisher(self, message_type: Any, topic: str, profile: QoSProfile) -> Any:
        self._all.append(self._node.create_publisher(message_type, topic, profile))
        return self._all[-1]

    def publish(
        self, header: Header, image: NDArray[np.uint8], result: Segmentation, *, min_confidence: float, opacity: float
    ) -> None:
        """One frame's masks with the frame's own header; pixels less certain than `min_confidence` become 255."""
        labels = result.labels
        if min_confidence > 0:
            labels = np.where(result.confidence < min_confidence * 255, np.uint8(IGNORE), labels)
        if self._labels.get_subscription_count():
            self._labels.publish(messages.from_labels(header, labels))
        if self._confidence.get_subscription_count():
            self._confidence.publish(messages.from_labels(header, result.confidence))
        wants_raw = self._overlay.get_subscription_count() > 0
        wants_jpeg = self._overlay_jpeg.get_subscription_count() > 0
        if wants_raw or wants_jpeg:
            overlay = blend(image, labels, self._classes, opacity)
            if wants_raw:
                self._overlay.publish(messages.from_rgb(header, overlay))
            if wants_jpeg:
                self._overlay_jpeg.publish(messages.jpeg_from_rgb(header, overlay))

    def publish_label_info(self, stamp: Any, min_confidence: float) -> None:
        """The class names by label, once; the topic keeps it for late listeners. Nothing where vision_msgs is missing."""
        info_type = _label_info_type()
        if self._label_info is None or info_type is None:
            return
        from vision_msgs.msg import VisionClass

        names = [(c.train_id, c.name) for c in self._classes.classes] + [(IGNORE, "unlabelled")]
        class_map = [VisionClass(class_id=train_id, class_name=name) for train_id, name in names]
        self._label_info.publish(info_type(header=Header(stamp=stamp), class_map=class_map, threshold=min_confidence))

    def destroy(self) -> None:
        """Take the topics away."""
        for publisher in self._all:
            self._node.destroy_publisher(publisher)


def _label_info_type() -> Any | None:
    """vision_msgs/LabelInfo, which not every installation has."""
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        return None
    return LabelInfo
