# SPDX-License-Identifier: Apache-2.0
"""One frame with its answer and, where there is one, its ground truth; and the pictures that show it."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.html_page import Panel, PictureRow
from vltseg_core.evaluation.overlay import blend, side_by_side, with_caption, with_legend
from vltseg_core.labels import CITYSCAPES
from vltseg_ros.frame_source import SourceFrame
from vltseg_ros.ground_truth import CITYSCAPES_TRAIN_IDS, LabelSpace

_MOST_NAME_BYTES = 200
"""A file's name may have 255, and gets a rank and a suffix."""


class AnsweredFrame(NamedTuple):
    """What is known of a frame whose mask came back, all of one size [H, W]."""

    index: int
    """Its place among the frames that were played."""
    frame: SourceFrame
    section: str
    caption: str
    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    labels: NDArray[np.uint8]
    """Train ids as published, 255 under the confidence threshold."""
    overlay: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    truth: NDArray[np.uint8] | None
    """In the label space of the ground truth."""
    confusion: ConfusionMatrix | None
    """Of this frame alone."""

    @property
    def file_name(self) -> str:
        """Section and name in letters that any file system takes, and as many; shortened they are told apart by a number."""
        section = "".join(letter if letter.isalnum() else "_" for letter in self.section)
        name = f"{section}_{self.frame.name}"
        encoded = os.fsencode(name)
        if len(encoded) <= _MOST_NAME_BYTES:
            return name
        return f"{encoded[: _MOST_NAME_BYTES - 17].decode('utf-8', 'ignore')}_{sha256(encoded).hexdigest()[:16]}"

    def picture_row(self, space: LabelSpace, note: str = "") -> PictureRow:
        """Image, overlay and ground truth side by side; `note` goes before the caption."""
        panels = [Panel("camera image", self.image), Panel("labels over it", self.overlay)]
        if self.truth is not None:
            panels.append(Panel("ground truth", blend(self.image, self.truth, space.classes)))
        return PictureRow(f"{note}{self.caption}", tuple(panels))

    def labels_to_name(self, space: LabelSpace) -> NDArray[np.uint8]:
        """Every label that a picture's legend must name, uint8 [any]."""
        if self.truth is None or space is not CITYSCAPES_TRAIN_IDS:
            return np.unique(self.labels)
        return np.union1d(self.labels, self.truth)


def save_row(row: PictureRow, labels_to_name: NDArray[np.uint8], path: Path) -> None:
    """The row as one PNG with its caption and the legend of these labels."""
    names = " | ".join(panel.name for panel in row.panels)
    picture = with_caption(side_by_side([panel.picture for panel in row.panels]), f"{row.caption}: {names}")
    Image.fromarray(with_legend(picture, labels_to_name, CITYSCAPES)).save(path)
