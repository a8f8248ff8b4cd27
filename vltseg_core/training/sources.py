# SPDX-License-Identifier: Apache-2.0
"""Sources and targets as they are named on the command line: NAME[:SPLIT], each with the folder that it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vltseg_core.data.data_set import DataSet, FilesOnDisk
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.labelled_images import EvaluationSet

DEMO = "demo"
"""The drawn scenes, which lie in no folder."""


class Located(NamedTuple):
    """A data set, or a split of it, in its folder. key: as it was given; split: empty where none was."""

    key: str
    data_set: DataSet
    split: str
    root: Path

    def training_images(self) -> FilesOnDisk:
        """What it gives to train on: its training split unless another was named."""
        return self.data_set.training_images(self.root, self.split or "train")

    def evaluation_set(self) -> EvaluationSet:
        """What it gives to measure on: its validation split unless another was named."""
        return self.data_set.evaluation_set(self.root, self.split or "val")


def located(roots: Mapping[str, str]) -> list[Located]:
    """The data sets of a table from NAME[:SPLIT] to a folder; ConfigurationError names the nearest to an unknown name."""
    sets = []
    for key, root in roots.items():
        name, _, split = key.partition(":")
        sets.append(Located(key, data_set(name), split, Path(root)))
    return sets


def weight_of(key: str, weights: Mapping[str, float]) -> float:
    """A source's weight by its key, else by its data set's name; a source that nothing was said about weighs 1."""
    return weights.get(key, weights.get(key.partition(":")[0], 1.0))


def sets_to_measure_on(sources: list[Located], targets: list[Located]) -> dict[str, EvaluationSet]:
    """The targets, and each source's own validation split where it has one, by name.

    A split that the network is trained on as well is a measure of fit alone, and only measured on where there is no target.
    Of two folders of one data set, the second's goes by its key.
    """
    found: dict[str, EvaluationSet] = {}
    roots: dict[str, Path] = {}
    for source in sources:
        splits = source.data_set.splits
        trains_on_it = source.split.startswith("val") or ("train_without_val" in splits and source.split in ("", "train"))
        if "val" in splits and not (trains_on_it and targets):
            is_first = roots.setdefault(source.data_set.name, source.root) == source.root
            found[source.data_set.name if is_first else source.key] = source._replace(split="val").evaluation_set()
    for target in targets:
        name = target.data_set.name if target.split in ("", "val") else target.key
        found[name] = target.evaluation_set()
    return found
