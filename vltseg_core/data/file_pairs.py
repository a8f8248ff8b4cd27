# SPDX-License-Identifier: Apache-2.0
"""Image and label files found in a data set's folders and paired; what is missing is said with its place and number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vltseg_core.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class LabelsMissingError(InputError):
    """Images that are there without their labels: a data set that was unpacked by half."""


class LabelledFile(NamedTuple):
    """One frame on disk. condition: its weather or light where the data set says it. depth: a file that tells depth."""

    image: Path
    labels: Path
    condition: str = ""
    depth: Path | None = None


def same_stem(image: PurePosixPath) -> str:
    """The label file's name where it differs from the image's by its suffix alone."""
    return str(image.with_suffix(".png"))


def pair_files(
    images_folder: Path, labels_folder: Path, *, pattern: str = "*", labels_of: Callable[[PurePosixPath], str] = same_stem
) -> list[LabelledFile]:
    """Image files below one folder with their label files below another, in order of their names.

    pattern: glob of the images below `images_folder`. labels_of: from an image's path below it to its label file's below
    `labels_folder`. InputError where a folder is missing or empty, or images lack labels.
    """
    require_folder(images_folder)
    if not labels_folder.is_dir():
        raise LabelsMissingError(missing_folder(labels_folder))
    images = [
        path
        for path in sorted(images_folder.glob(pattern))
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not images:
        wanted = f"'{pattern}'" if pattern != "*" else ".jpg or .png image"
        raise InputError(
            f"folder '{images_folder}' holds no {wanted}, but {contents(images_folder)}: check what was unpacked there"
        )
    pairs = [
        LabelledFile(image, labels_folder / labels_of(PurePosixPath(image.relative_to(images_folder).as_posix())))
        for image in images
    ]
    missing = [pair for pair in pairs if not pair.labels.is_file()]
    if missing:
        raise LabelsMissingError(
            f"{len(missing)} of {len(pairs)} images below '{images_folder}' have no label file, the first "
            f"'{missing[0].image.name}', which needs '{missing[0].labels}': unpack the labels whole"
        )
    return pairs


def hold_out(pairs: list[LabelledFile], split: str, *, every: int) -> list[LabelledFile]:
    """Of a data set without a validation split: "val" is every so manieth frame from the first on, "train" the others."""
    return [pair for i, pair in enumerate(pairs) if (i % every == 0) == (split == "val")]


def require_folder(folder: Path) -> None:
    """InputError where the folder is missing: which was expected, and what lies in the nearest one that exists."""
    if not folder.is_dir():
        raise InputError(missing_folder(folder))


def missing_folder(folder: Path) -> str:
    """That a folder is missing, and what there is instead, in a sentence."""
    nearest = next(parent for parent in folder.parents if parent.is_dir())
    return (
        f"folder '{folder}' is missing, '{nearest}' holds {contents(nearest)}: give the folder that the data set was unpacked to"
    )


def contents(folder: Path) -> str:
    """The first few entries of a folder, for a message."""
    found = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return (", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")) or "nothing"
