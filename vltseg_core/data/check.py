# SPDX-License-Identifier: Apache-2.0
"""Is a data set on disk whole, and what does it show? Pairs by split, sizes, classes, conditions, broken files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vltseg_core.data.census import Census, OnProgress, take_census
from vltseg_core.data.data_set import DataSet, FilesOnDisk
from vltseg_core.data.file_pairs import LabelsMissingError
from vltseg_core.data.labelled_images import CODE_NAMES
from vltseg_core.errors import InputError


class SplitOnDisk(NamedTuple):
    """One split: its pairs, how many it was published with where that is known, and why it cannot be used, if so.

    is_half: whether its images are there and labels are not.
    """

    num_pairs: int
    num_published: int | None
    problem: str
    is_half: bool = False


class ClassShare(NamedTuple):
    """A class that the labels can show: its share of all annotated pixels, and in how many images it is seen."""

    name: str
    pixel_share: float
    num_images: int


@dataclass(frozen=True)
class DataSetCheck:
    """What a data set's folder holds. The frames read are those of one split, or of all splits, each once."""

    name: str
    root: Path
    splits: dict[str, SplitOnDisk]
    num_read: int
    sizes: dict[str, int]
    classes: list[ClassShare]
    annotated_share: float
    conditions: dict[str, int]
    num_with_depth: int
    broken: dict[str, str]

    def as_json(self) -> dict[str, object]:
        """The same in JSON's own types."""
        return {
            "data_set": self.name,
            "folder": str(self.root),
            "splits": {name: split._asdict() for name, split in self.splits.items()},
            "images_read": self.num_read,
            "sizes": self.sizes,
            "classes": [share._asdict() for share in self.classes],
            "annotated_share": self.annotated_share,
            "conditions": self.conditions,
            "images_with_depth": self.num_with_depth,
            "broken": self.broken,
        }


def check_data_set(
    data_set: DataSet, root: Path, *, split: str | None = None, num_workers: int = 0, on_progress: OnProgress | None = None
) -> DataSetCheck:
    """Find every split's pairs and read the files of one split, or of all.

    InputError where the split asked for cannot be used, or none can; a broken file is part of the answer.
    """
    found = {name: _find(data_set, root, name) for name in data_set.splits}
    usable = [files for files in found.values() if isinstance(files, FilesOnDisk)]
    wanted = [data_set.training_images(root, split)] if split else usable
    if not wanted:
        raise next(files for files in found.values() if isinstance(files, InputError))
    once = {file.image: file for files in wanted for file in files.files}
    files = FilesOnDisk(list(once.values()), wanted[0].lookup, data_set)
    census = take_census(files, on_progress, num_workers=num_workers)
    sizes = Counter(f"{width}x{height}" for i, (height, width) in enumerate(census.sizes) if i not in census.problems)
    num_pixels = sum(height * width for height, width in census.sizes)
    return DataSetCheck(
        name=data_set.name,
        root=root,
        splits={name: _split_on_disk(files, data_set.num_published.get(name)) for name, files in found.items()},
        num_read=len(files),
        sizes=dict(sizes.most_common()),
        classes=_class_shares(census, set(files.lookup.tolist())),
        annotated_share=int(census.counts.sum()) / num_pixels if num_pixels else 0.0,
        conditions=dict(Counter(file.condition for file in files.files if file.condition)),
        num_with_depth=sum(file.depth is not None for file in files.files),
        broken={str(files.files[i].image): problem for i, problem in census.problems.items()},
    )


def _find(data_set: DataSet, root: Path, split: str) -> FilesOnDisk | InputError:
    try:
        return data_set.training_images(root, split)
    except InputError as error:
        return error


def _split_on_disk(files: FilesOnDisk | InputError, num_published: int | None) -> SplitOnDisk:
    if isinstance(files, InputError):
        return SplitOnDisk(0, num_published, str(files), isinstance(files, LabelsMissingError))
    return SplitOnDisk(len(files), num_published, "")


def _class_shares(census: Census, possible: set[int]) -> list[ClassShare]:
    num_pixels, num_images = census.counts.sum(axis=0), (census.counts > 0).sum(axis=0)
    all_pixels = max(1, int(num_pixels.sum()))
    shares = [ClassShare(name, int(num_pixels[i]) / all_pixels, int(num_images[i])) for i, name in enumerate(CODE_NAMES)]
    return [share for code, share in enumerate(shares) if code in possible]
