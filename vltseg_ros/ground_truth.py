# SPDX-License-Identifier: Apache-2.0
"""What the values of ground truth labels mean, by name or by a bag's metadata; labels beside a sequence as PNG files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.errors import InputError
from vltseg_core.labels import CAMVID, CITYSCAPES, CITYSCAPES_TO_CAMVID, IGNORE, ClassTable, SemanticClass
from vltseg_ros.said_text import said


@dataclass(frozen=True)
class LabelSpace:
    """What the values of label files mean, and how predicted Cityscapes train ids are compared with them."""

    name: str
    classes: ClassTable
    """Its classes, in the colours that Cityscapes gives their likes, so that truth and overlay compare at a glance."""
    from_cityscapes: NDArray[np.uint8]
    """Lookup uint8 [256]: a predicted train id's class in this space."""


def _in_cityscapes_colours(classes: ClassTable, train_ids: tuple[int, ...]) -> ClassTable:
    recoloured = (c._replace(colour=CITYSCAPES.classes[train_ids[c.train_id]].colour) for c in classes.classes)
    return ClassTable(classes.name, tuple(recoloured))


_CAMVID_LIKES = (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12)
CITYSCAPES_TRAIN_IDS = LabelSpace("cityscapes_train_ids", CITYSCAPES, np.arange(256, dtype=np.uint8))
CAMVID_IDS = LabelSpace("camvid", _in_cityscapes_colours(CAMVID, _CAMVID_LIKES), CITYSCAPES_TO_CAMVID)
LABEL_SPACES = {space.name: space for space in (CITYSCAPES_TRAIN_IDS, CAMVID_IDS)}
_ENTRY = "vltseg.label_space"
_CLASSES_ENTRY = _ENTRY + ".classes"
_LOOKUP_ENTRY = _ENTRY + ".from_cityscapes"
SPACE_ENTRIES = (_ENTRY, _CLASSES_ENTRY, _LOOKUP_ENTRY)
"""The metadata's keys for a label space."""
_GREY = (160, 160, 160)


def space_entries(space_name: str, class_names: Sequence[str], from_cityscapes: NDArray[np.uint8]) -> dict[str, str]:
    """A label space as entries of a bag's metadata, whole: who reads them needs no data set by that name.

    from_cityscapes: lookup uint8 [256], a predicted train id's class in the space.
    """
    return {
        _ENTRY: space_name,
        _CLASSES_ENTRY: json.dumps(list(class_names)),
        _LOOKUP_ENTRY: json.dumps(from_cityscapes[: len(CITYSCAPES)].tolist()),
    }


def space_of_entries(entries: Mapping[str, str]) -> LabelSpace:
    """The label space that a bag's metadata tells; Cityscapes train ids where it tells none.

    A space that has no name here has each class in the colour of the first train id that it takes in.
    Raises InputError for a name that is not known here and comes without its classes.
    """
    name = entries.get(_ENTRY, CITYSCAPES_TRAIN_IDS.name)
    if name in LABEL_SPACES:
        return LABEL_SPACES[name]
    try:
        class_names = [str(class_name) for class_name in json.loads(entries[_CLASSES_ENTRY])]
        "".join(class_names).encode("utf-8")  # half a surrogate pair cannot be written into a report
        train_id_classes = np.array(json.loads(entries[_LOOKUP_ENTRY]), np.uint8)
        if train_id_classes.shape != (len(CITYSCAPES),):
            raise ValueError(f"{train_id_classes.size} numbers")
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"the bag's ground truth is in label space '{said(name)}', expected one of {', '.join(LABEL_SPACES)} "
            f"or metadata '{_CLASSES_ENTRY}' and '{_LOOKUP_ENTRY}': make the bag anew"
        ) from error
    from_cityscapes = np.full(256, IGNORE, np.uint8)
    from_cityscapes[: len(CITYSCAPES)] = train_id_classes
    likes = {int(class_id): train_id for train_id, class_id in reversed(list(enumerate(train_id_classes)))}
    colours = [CITYSCAPES.classes[likes[i]].colour if i in likes else _GREY for i in range(len(class_names))]
    classes = tuple(SemanticClass(i, *pair) for i, pair in enumerate(zip(class_names, colours, strict=True)))
    return LabelSpace(name, ClassTable(name, classes), from_cityscapes)


class LabelFolder:
    """PNG files of one class id a pixel, found by the frames' names; ids that are no class count as not annotated.

    Raises InputError where the folder does not exist or holds no PNG.
    """

    def __init__(self, folder: Path, space: LabelSpace) -> None:
        self.space = space
        self._folder = folder
        self._paths = {path.stem: path for path in sorted(folder.glob("*.png"))} if folder.is_dir() else {}
        if not self._paths:
            raise InputError(f"--labels '{folder}' holds no PNG files: give the folder of the ground truth labels")

    def labels(self, name: str) -> NDArray[np.uint8] | None:
        """The labels of the frame of that name, uint8 [H, W], or None where there is no such file.

        Raises InputError for a file that is not one number a pixel.
        """
        path = self._paths.get(name)
        if path is None:
            return None
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"'{path}' cannot be read as labels ({error}): remove or replace it") from error
        if pixels.ndim != 2:
            raise InputError(
                f"'{path}' has {pixels.shape[-1]} channels, expected one class id a pixel: give label ids, not colours"
            )
        return np.where(pixels < len(self.space.classes), pixels, IGNORE).astype(np.uint8)

    def require_any(self, names: Iterable[str]) -> None:
        """Raise InputError where none of the frames of these names has labels."""
        if self._paths.keys().isdisjoint(names):
            raise InputError(
                f"no PNG in --labels '{self._folder}' has the name of an image "
                f"(there is '{next(iter(self._paths))}.png'): name each label file as its image"
            )
