# SPDX-License-Identifier: Apache-2.0
"""What every data set gives: images with label codes.

A label code below 19 is a Cityscapes train id. Higher codes stand for a set of train ids that a data set does not tell
apart (CamVid's "car" may be a car, a truck, a bus or a train): such a pixel is evidence for the set, and none against
any of its members.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

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

CODE_NAMES: tuple[str, ...] = tuple(" or ".join(CITYSCAPES.names[i] for i in members) for members in CODE_MEMBERS)
"""What each label code is called."""


class LabelledImage(NamedTuple):
    """image: uint8 [H, W, 3] RGB. codes: label codes, uint8 [H, W], 255 where the pixel counts for nothing.

    depth_m: float32 [H, W] metres along the viewing axis, inf for the sky; None where the data set has no depth.
    """

    image: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None = None


class LabelledImages(Protocol):
    """A data set: so many labelled images, each reachable by its number; InputError where a file cannot be read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...


class EvaluationSet(NamedTuple):
    """What to measure on: images whose codes are ground truth in their own class space.

    to_truth_classes: lookup uint8 [256] from a predicted train id to the ground truth's classes.
    frame_names: a name for each image. conditions: each image's weather or light, empty where the data set says none.
    mean_classes: names of the classes that a mean is taken over, empty for all (SYNTHIA shows 16 of the 19).
    """

    images: LabelledImages
    class_names: tuple[str, ...]
    to_truth_classes: NDArray[np.uint8]
    frame_names: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    mean_classes: tuple[str, ...] = ()
