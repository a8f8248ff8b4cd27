# SPDX-License-Identifier: Apache-2.0
"""What a data set on disk is: where its files lie, and how the raw values of its label files become classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.file_pairs import LabelledFile
from vltseg_core.data.image_files import read_image, read_labels
from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import CITYSCAPES, IGNORE

_SKY = CITYSCAPES.names.index("sky")


def lookup(codes_by_value: Mapping[int, int]) -> NDArray[np.uint8]:
    """Lookup uint8 [256] from raw values to codes, `IGNORE` for all others."""
    table = np.full(256, IGNORE, np.uint8)
    for value, code in codes_by_value.items():
        table[value] = code
    return table


TRAIN_IDS = lookup({train_id: train_id for train_id in range(len(CITYSCAPES))})
"""Lookup of files that hold Cityscapes train ids."""


@dataclass(frozen=True)
class LabelMap:
    """What the raw values of label files mean; each lookup is uint8 [256].

    codes: from a raw value to its label code, for training.
    truth_names: the classes that the data set tells apart, for measuring. truth: from a raw value to them; None: `codes`.
    to_truth: from a predicted train id to them. mean_classes: those that a mean is taken over, empty for all.
    """

    codes: NDArray[np.uint8]
    truth_names: tuple[str, ...] = CITYSCAPES.names
    truth: NDArray[np.uint8] | None = None
    to_truth: NDArray[np.uint8] = field(default_factory=lambda: np.arange(256, dtype=np.uint8))
    mean_classes: tuple[str, ...] = ()


class FilesOnDisk:
    """Frames read when they are asked for, raw label values mapped by `lookup` uint8 [256]."""

    def __init__(self, files: Sequence[LabelledFile], lookup: NDArray[np.uint8], data_set: DataSet) -> None:
        self.files, self.lookup, self.data_set = tuple(files), lookup, data_set

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LabelledImage:
        """InputError names the file that is damaged, or the pair that does not belong together."""
        file = self.files[index]
        image, codes = read_image(file.image), self.codes(index)
        if image.shape[:2] != codes.shape:
            raise InputError(
                f"image '{file.image}' is {image.shape[1]}x{image.shape[0]} and its label file '{file.labels}' "
                f"{codes.shape[1]}x{codes.shape[0]} pixels: one of them is damaged or another frame's"
            )
        return LabelledImage(image, codes, self._depth_m(file, codes))

    def codes(self, index: int) -> NDArray[np.uint8]:
        """The labels alone, uint8 [H, W], without the cost of the image."""
        return self.lookup[self.data_set.read_labels(self.files[index].labels)]

    def _depth_m(self, file: LabelledFile, codes: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        if file.depth is None or self.data_set.read_depth is None:
            return None
        depth_m = self.data_set.read_depth(file.depth)
        if depth_m.shape != codes.shape:
            raise InputError(
                f"depth file '{file.depth}' is {depth_m.shape[1]}x{depth_m.shape[0]} and its label file '{file.labels}' "
                f"{codes.shape[1]}x{codes.shape[0]} pixels: one of them is damaged or another frame's"
            )
        depth_m[codes == _SKY] = np.inf
        return depth_m


@dataclass(frozen=True)
class DataSet:
    """One data set's knowledge, whole: each lies in a file of its own.

    name: by which recipes and commands call it. credit: who made it, when, and its licence, for a weights file's header.
    files: (root folder, split) to the frames of that split; InputError says which folder was expected and what was found.
    splits: all that can be asked for. label_map: what its label values mean, or how to learn that from the root folder.
    num_published: frames that a split was published with. withheld: splits whose labels its makers keep to themselves.
    read_labels: a label file's raw values, uint8 [H, W]. read_depth: a depth file's metres, where there is depth.
    """

    name: str
    credit: str
    files: Callable[[Path, str], list[LabelledFile]]
    splits: tuple[str, ...]
    label_map: LabelMap | Callable[[Path], LabelMap]
    num_published: Mapping[str, int] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    read_labels: Callable[[Path], NDArray[np.uint8]] = read_labels
    read_depth: Callable[[Path], NDArray[np.float32]] | None = None

    def training_images(self, root: Path, split: str = "train") -> FilesOnDisk:
        """A split's frames with label codes."""
        return FilesOnDisk(self._files(root, split), self.label_map_in(root).codes, self)

    def evaluation_set(self, root: Path, split: str = "val") -> EvaluationSet:
        """A split's frames to measure on, over the classes that the data set tells apart."""
        files, label_map = self._files(root, split), self.label_map_in(root)
        truth = label_map.codes if label_map.truth is None else label_map.truth
        return EvaluationSet(
            FilesOnDisk(files, truth, self),
            label_map.truth_names,
            label_map.to_truth,
            tuple(file.image.stem for file in files),
            tuple(file.condition for file in files) if any(file.condition for file in files) else (),
            label_map.mean_classes,
        )

    def label_map_in(self, root: Path) -> LabelMap:
        """What the label values in that folder mean."""
        return self.label_map if isinstance(self.label_map, LabelMap) else self.label_map(Path(root))

    def _files(self, root: Path, split: str) -> list[LabelledFile]:
        if split in self.withheld:
            raise ConfigurationError(
                f"the labels of '{self.name}' split '{split}' are withheld by its makers: choose from {', '.join(self.splits)}"
            )
        if split not in self.splits:
            raise ConfigurationError(f"data set '{self.name}' has no split '{split}': choose from {', '.join(self.splits)}")
        return self.files(Path(root), split)
