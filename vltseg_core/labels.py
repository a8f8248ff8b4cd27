# SPDX-License-Identifier: Apache-2.0
"""The classes: names, colours and train ids of Cityscapes, CamVid's eleven, and the maps between label spaces.

Names and colours of the 19 train ids are those of the Cityscapes benchmark (Cordts et al., 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""The label of a pixel that counts for nothing: not annotated, or under the confidence threshold."""


class SemanticClass(NamedTuple):
    """One class: its train id, its name and its colour (RGB, 0..255)."""

    train_id: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """An ordered set of classes; a class's place is its train id."""

    name: str
    classes: tuple[SemanticClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by train id."""
        return tuple(semantic_class.name for semantic_class in self.classes)

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """Colours by label, uint8 [256, 3] RGB; labels without a class are black."""
        colours = np.zeros((256, 3), np.uint8)
        for semantic_class in self.classes:
            colours[semantic_class.train_id] = semantic_class.colour
        return colours

    def colourise(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels uint8 [H, W] as a colour picture uint8 [H, W, 3] RGB."""
        return self.palette[labels]

    def __len__(self) -> int:
        return len(self.classes)


def _table(name: str, rows: list[tuple[str, tuple[int, int, int]]]) -> ClassTable:
    return ClassTable(name, tuple(SemanticClass(i, n, c) for i, (n, c) in enumerate(rows)))


CITYSCAPES = _table(
    "cityscapes",
    [
        ("road", (128, 64, 128)),
        ("sidewalk", (244, 35, 232)),
        ("building", (70, 70, 70)),
        ("wall", (102, 102, 156)),
        ("fence", (190, 153, 153)),
        ("pole", (153, 153, 153)),
        ("traffic light", (250, 170, 30)),
        ("traffic sign", (220, 220, 0)),
        ("vegetation", (107, 142, 35)),
        ("terrain", (152, 251, 152)),
        ("sky", (70, 130, 180)),
        ("person", (220, 20, 60)),
        ("rider", (255, 0, 0)),
        ("car", (0, 0, 142)),
        ("truck", (0, 0, 70)),
        ("bus", (0, 60, 100)),
        ("train", (0, 80, 100)),
        ("motorcycle", (0, 0, 230)),
        ("bicycle", (119, 11, 32)),
    ],
)
"""The 19 evaluation classes of Cityscapes."""

CAMVID = _table(
    "camvid",
    [
        ("sky", (128, 128, 128)),
        ("building", (128, 0, 0)),
        ("pole", (192, 192, 128)),
        ("road", (128, 64, 128)),
        ("pavement", (60, 40, 222)),
        ("tree", (128, 128, 0)),
        ("sign symbol", (192, 128, 128)),
        ("fence", (64, 64, 128)),
        ("car", (64, 0, 128)),
        ("pedestrian", (64, 64, 0)),
        ("bicyclist", (0, 128, 192)),
    ],
)
"""CamVid's 11-class form (Badrinarayanan et al., SegNet, 2017)."""

CLASS_TABLES = {table.name: table for table in (CITYSCAPES, CAMVID)}


def _lookup(pairs: dict[int, int]) -> NDArray[np.uint8]:
    table = np.full(256, IGNORE, np.uint8)
    for source, target in pairs.items():
        table[source] = target
    return table


CITYSCAPES_TO_CAMVID = _lookup(
    {0: 3, 1: 4, 2: 1, 3: 1, 4: 7, 5: 2, 6: 6, 7: 6, 8: 5, 9: 5, 10: 0, 11: 9, 12: 10, 13: 8, 14: 8, 15: 8, 16: 8, 17: 10, 18: 10}
)
"""Lookup uint8 [256]: each Cityscapes train id's class in CamVid's coarser eleven, 255 elsewhere.

CamVid's building takes in walls, its car trucks, buses and trains, its bicyclist cycles and motorcycles, its sign
symbol traffic lights, its tree low vegetation.
"""

CITYSCAPES_IDS = _lookup(
    {
        **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9},
        **{23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
    }
)
"""Lookup uint8 [256]: each full Cityscapes id's train id (cityscapesScripts, labels.py), 255 elsewhere; of GTA5 too."""
