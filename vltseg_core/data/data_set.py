# SPDX-License-Identifier: Apache-2.0
"""What a data set on disk is: where its files lie, and how the raw values of its label files become classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage, read_image, read_labels
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import CITYSCAPES, IGNORE, ClassTable

SAME_IDS = np.arange(256, dtype=np.uint8)
"""Lookup of values that are classes already."""


class LabelledFile(NamedTuple):
    """One frame on disk. condition: its weather or light where the data set says it. depth: a file that tells depth."""

    image: Path
    labels: Path
    condition: str = ""
    depth: Path | None = None


class FilesOnDisk:
    """Frames read when they are asked for, raw label values mapped by `lookup` uint8 [256]."""

    def __init__(self, files: Sequence[LabelledFile], lookup: NDArray[np.uint8], data_set: DataSet) -> None:
        self.files = tuple(files)
        self._lookup, self._data_set = lookup, data_set

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LabelledImage:
        file = self.files[index]
        image, labels = read_image(file.image), self._data_set.read_labels(file.labels)
        if image.shape[:2] != labels.shape:
            raise InputError(
                f"image '{file.image}' is {image.shape[1]}x{image.shape[0]} and its label file '{file.labels}' "
                f"{labels.shape[1]}x{labels.shape[0]} pixels: one of them is another frame's, unpack them again"
            )
        depth_m = self._data_set.read_depth(file.depth) if file.depth and self._data_set.read_depth else None
        return LabelledImage(image, self._lookup[labels], depth_m)


@dataclass(frozen=True)
class DataSet:
    """One data set's knowledge, whole: each lies in a file of its own.

    name: by which recipes and commands call it. credit: who made it, when, and its licence, for a weights file's header.
    files: (root folder, split) to the frames of that split; InputError says which folder was expected and what was found.
    splits: of which at least "train" or "val". codes: lookup uint8 [256] from a raw value to its label code, for training.
    truth_classes: the classes that it tells apart. truth: lookup from a raw value to them, for measuring; None: `codes`.
    to_truth_classes: lookup from a predicted train id to them. class_names: those that a mean is taken over, None for all.
    """

    name: str
    credit: str
    files: Callable[[Path, str], list[LabelledFile]]
    splits: tuple[str, ...]
    codes: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None = None
    truth_classes: ClassTable = CITYSCAPES
    to_truth_classes: NDArray[np.uint8] | None = None
    read_labels: Callable[[Path], NDArray[np.uint8]] = read_labels
    read_depth: Callable[[Path], NDArray[np.float32]] | None = None

    def training_images(self, root: Path, split: str = "train") -> FilesOnDisk:
        """A split's frames with label codes."""
        return FilesOnDisk(self._files(root, split), self.codes, self)

    def evaluation_set(self, root: Path, split: str = "val") -> EvaluationSet:
        """A split's frames to measure on, over the classes that the data set tells apart."""
        files = self._files(root, split)
        images = FilesOnDisk(files, self.codes if self.truth is None else self.truth, self)
        to_truth_classes = SAME_IDS if self.to_truth_classes is None else self.to_truth_classes
        conditions = tuple(file.condition for file in files) if any(file.condition for file in files) else ()
        return EvaluationSet(
            images, self.truth_classes.names, to_truth_classes, tuple(file.image.stem for file in files), conditions
        )

    def _files(self, root: Path, split: str) -> list[LabelledFile]:
        if split not in self.splits:
            raise ConfigurationError(f"data set '{self.name}' has no split '{split}': choose from {', '.join(self.splits)}")
        return self.files(root, split)


def lookup(codes_by_value: dict[int, int]) -> NDArray[np.uint8]:
    """Lookup uint8 [256] from raw values to codes, `IGNORE` for all others."""
    table = np.full(256, IGNORE, np.uint8)
    for value, code in codes_by_value.items():
        table[value] = code
    return table


TRAIN_IDS = lookup({train_id: train_id for train_id in range(len(CITYSCAPES))})
"""Lookup of files that hold Cityscapes train ids."""


def pair_by_stem(images_folder: Path, labels_folder: Path) -> list[LabelledFile]:
    """Image and label files of the same stem, in order of their names; InputError says what is missing where."""
    for folder in (images_folder, labels_folder):
        require_folder(folder)
    pairs = []
    for image in sorted(images_folder.iterdir()):
        labels = labels_folder / f"{image.stem}.png"
        if image.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        if not labels.is_file():
            raise InputError(f"image '{image}' has no label file '{labels}': unpack the data set again")
        pairs.append(LabelledFile(image, labels))
    if not pairs:
        raise InputError(f"folder '{images_folder}' holds no .jpg or .png image: check what was unpacked there")
    return pairs


def require_folder(folder: Path) -> None:
    """InputError where the folder is missing: which was expected, and what lies in the nearest one that exists."""
    if folder.is_dir():
        return
    nearest = next(parent for parent in folder.parents if parent.is_dir())
    found = sorted(entry.name + "/" * entry.is_dir() for entry in nearest.iterdir())
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    raise InputError(
        f"folder '{folder}' is missing, '{nearest}' holds {shown or 'nothing'}: give the folder that the data set was unpacked to"
    )
