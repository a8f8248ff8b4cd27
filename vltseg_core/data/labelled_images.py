# SPDX-License-Identifier: Apache-2.0
"""What every data set gives: images with label codes.

A label code below 19 is a Cityscapes train id. Higher codes stand for a set of train ids that a data set does not tell
apart (CamVid's "car" may be a car, a truck, a bus or a train): such a pixel is evidence for the set, and none against
any of its members.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError
from vltseg_core.labels import CITYSCAPES

_AMBIGUOUS_CLASSES = (
    ("building", "wall"),
    ("car", "truck", "bus", "train"),
    ("rider", "motorcycle", "bicycle"),
    ("traffic sign", "traffic light"),
    ("vegetation", "terrain"),
)
BUILDING_OR_WALL, VEHICLE, TWO_WHEELER, SIGN_OR_LIGHT, PLANTS = range(len(CITYSCAPES), len(CITYSCAPES) + 5)

CODE_MEMBERS: tuple[tuple[int, ...], ...] = (
    *((train_id,) for train_id in range(len(CITYSCAPES))),
    *(tuple(CITYSCAPES.names.index(name) for name in names) for names in _AMBIGUOUS_CLASSES),
)
"""The train ids that each label code admits."""


class LabelledImage(NamedTuple):
    """image: uint8 [H, W, 3] RGB. codes: label codes, uint8 [H, W], 255 where the pixel counts for nothing."""

    image: NDArray[np.uint8]
    codes: NDArray[np.uint8]


class LabelledImages(Protocol):
    """A data set: so many labelled images, each reachable by its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...


class EvaluationSet(NamedTuple):
    """What to measure on: images whose codes are ground truth in their own class space.

    to_truth_classes: lookup uint8 [256] from a predicted train id to the ground truth's classes.
    """

    images: LabelledImages
    class_names: tuple[str, ...]
    to_truth_classes: NDArray[np.uint8]


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3] RGB; InputError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"image '{path}' cannot be read: check that the file exists and is a whole picture")
    return np.ascontiguousarray(image[..., ::-1])


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A one-channel 8-bit label file as uint8 [H, W]; InputError where it is something else."""
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        found = "nothing that can be read" if labels is None else f"{labels.dtype} {list(labels.shape)}"
        raise InputError(f"label file '{path}' holds {found}, expected one 8-bit channel: check the file")
    return np.asarray(labels, np.uint8)


def pair_files(images_folder: Path, labels_folder: Path) -> list[tuple[Path, Path]]:
    """Image and label files of the same stem, in order of their names; InputError says what is missing where."""
    for folder in (images_folder, labels_folder):
        if not folder.is_dir():
            raise InputError(f"folder '{folder}' is missing: give the folder that the data set was unpacked to")
    pairs = []
    for image in sorted(images_folder.iterdir()):
        labels = labels_folder / f"{image.stem}.png"
        if image.suffix.lower() not in (".jpg", ".png"):
            continue
        if not labels.is_file():
            raise InputError(f"image '{image}' has no label file '{labels}': unpack the data set again")
        pairs.append((image, labels))
    if not pairs:
        raise InputError(f"folder '{images_folder}' holds no .jpg or .png image: check what was unpacked there")
    return pairs
