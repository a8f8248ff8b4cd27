# SPDX-License-Identifier: Apache-2.0
"""Pixels of two domains, sampled by class, and a network's dense embedding at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.analysis.cluster_scores import DomainFeatures, Floats
from vltseg_core.data.data_sets import data_set
from vltseg_core.data.demo_images import DemoImages
from vltseg_core.data.demo_scenes import CONDITIONS
from vltseg_core.data.labelled_images import CODE_MEMBERS, LabelledImages
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import CITYSCAPES, IGNORE

_NUM_DEMO_IMAGES = 1000
_PER_FRAME, _FEWEST_FRAMES = 4, 5


@dataclass(frozen=True)
class Domain:
    """One side of the comparison. name: as the user wrote it, without the folder."""

    name: str
    images: LabelledImages

    @classmethod
    def parse(cls, text: str) -> Domain:
        """ "NAME[:SPLIT]=FOLDER" of a data set, or "demo:CONDITION" of the drawn scenes; ConfigurationError for all else."""
        name, _, folder = text.partition("=")
        source, _, split = name.partition(":")
        if source == "demo":
            if split not in CONDITIONS or folder:
                raise ConfigurationError(f"'{text}': drawn scenes are demo:CONDITION, one of {', '.join(CONDITIONS)}")
            return cls(name, DemoImages(_NUM_DEMO_IMAGES, condition=split))
        if not folder:
            raise ConfigurationError(f"'{text}' names no folder: give NAME[:SPLIT]=FOLDER, such as camvid:train_day=PATH")
        known = data_set(source)
        return cls(name, known.training_images(Path(folder), split or known.splits[0]))


class ClassGroup(NamedTuple):
    """One class of the comparison: its name, colour and the train ids that it takes in."""

    name: str
    colour: tuple[int, int, int]
    members: tuple[int, ...]


class PixelSample(NamedTuple):
    """Pixels by place: domain and image number in it, row and column, and class, int64 [N] each."""

    domains: NDArray[np.int64]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class DomainSample:
    """What was sampled of two domains.

    left_out: names of classes that one of the two shows too rarely. unreadable: what is wrong with images that were skipped.
    """

    domains: tuple[Domain, Domain]
    groups: tuple[ClassGroup, ...]
    pixels: PixelSample
    left_out: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def features(self, embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]], on_image: Callable[[], None]) -> DomainFeatures:
        """The dense embedding float32 [D, h, w] that `embed` gives for each image, at the cells that hold the pixels."""
        pixels, vectors = self.pixels, []
        places = np.stack((pixels.domains, pixels.images), axis=1)
        frames, frame_of = np.unique(places, axis=0, return_inverse=True)
        order = np.argsort(frame_of, kind="stable")
        for frame, (domain, index) in enumerate(frames):
            image = self.domains[domain].images[int(index)].image
            dense = embed(image)
            here = np.flatnonzero(frame_of == frame)
            rows = pixels.rows[here] * dense.shape[1] // image.shape[0]
            columns = pixels.columns[here] * dense.shape[2] // image.shape[1]
            vectors.append(dense[:, rows, columns].T.astype(np.float64))
            on_image()
        features = np.concatenate(vectors)
        features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        return DomainFeatures(features, pixels.classes[order], pixels.domains[order], frame_of[order])

    @property
    def num_images(self) -> int:
        """Images that any pixel was taken from."""
        return len({*zip(self.pixels.domains.tolist(), self.pixels.images.tolist(), strict=True)})


def sample(
    domains: tuple[Domain, Domain],
    *,
    max_images: int,
    points_per_class: int,
    seed: int,
    on_image: Callable[[], None] = lambda: None,
) -> DomainSample:
    """Pixels of at most `max_images` evenly spaced images a domain, at most `points_per_class` a class and domain.

    A class that either domain shows in fewer than five frames' pixels is left out; InputError where fewer than two are left.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int, int]] = []
    unreadable: list[str] = []
    for number, domain in enumerate(domains):
        count = min(max_images, len(domain.images))
        per_frame = max(_PER_FRAME, -(-points_per_class // max(count, 1)))
        for index in np.unique(np.linspace(0, len(domain.images) - 1, count).round().astype(int)).tolist():
            try:
                rows += [(number, index, *pixel) for pixel in _pixels(domain.images[index].codes, per_frame, rng)]
            except InputError as error:
                unreadable.append(str(error))
            on_image()
    groups, group_of = class_groups(sorted({row[-1] for row in rows}))
    table = np.array([(*row[:-1], group_of[row[-1]]) for row in rows], np.int64).reshape(-1, 5)
    shown = [group for group in range(len(groups)) if all(_num_frames(table, group, d) >= _FEWEST_FRAMES for d in (0, 1))]
    if len(shown) < 2:
        names = " and ".join(f"'{domain.name}'" for domain in domains)
        raise InputError(f"{names} share {len(shown)} classes in five frames or more, a comparison needs two: give more images")
    kept = []
    for new, group in enumerate(shown):
        for number in (0, 1):
            cell = table[(table[:, 4] == group) & (table[:, 0] == number)]
            cell = cell[rng.permutation(len(cell))[:points_per_class]]
            cell[:, 4] = new
            kept.append(cell)
    columns = np.concatenate(kept).T
    left_out = tuple(group.name for number, group in enumerate(groups) if number not in shown)
    return DomainSample(domains, tuple(groups[g] for g in shown), PixelSample(*columns), left_out, tuple(unreadable))


def _pixels(codes: NDArray[np.uint8], per_class: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Row, column and code of some pixels of each label code."""
    found: list[tuple[int, int, int]] = []
    for code in np.unique(codes[codes != IGNORE]).tolist():
        places = np.flatnonzero(codes == code)
        for place in rng.choice(places, min(per_class, len(places)), replace=False).tolist():
            found.append((*divmod(place, codes.shape[1]), code))
    return found


def _num_frames(table: NDArray[np.int64], group: int, domain: int) -> int:
    return len(np.unique(table[(table[:, 4] == group) & (table[:, 0] == domain), 1]))


def class_groups(codes: Sequence[int]) -> tuple[list[ClassGroup], dict[int, int]]:
    """Classes that both domains can tell apart, and each label code's number among them.

    Where one data set's code stands for several classes, the other's classes among them become one with it.
    """
    merged: list[set[int]] = []
    for code in codes:
        members = set(CODE_MEMBERS[code])
        for overlapping in [group for group in merged if group & members]:
            members |= overlapping
            merged.remove(overlapping)
        merged.append(members)
    merged.sort(key=min)
    groups = [ClassGroup(_name(sorted(m)), CITYSCAPES.classes[min(m)].colour, tuple(sorted(m))) for m in merged]
    return groups, {code: next(n for n, m in enumerate(merged) if CODE_MEMBERS[code][0] in m) for code in codes}


def _name(members: list[int]) -> str:
    return CITYSCAPES.names[members[0]] + (" etc." if len(members) > 1 else "")


def text_means(texts: Floats, groups: Sequence[ClassGroup]) -> Floats:
    """One direction a class, float64 [G, D] of length 1: the mean of its members' texts."""
    directions = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-12)
    means = np.stack([directions[list(group.members)].mean(0) for group in groups])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))
