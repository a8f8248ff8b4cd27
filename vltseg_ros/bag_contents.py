# SPDX-License-Identifier: Apache-2.0
"""What `vltseg bag make` makes a bag of: a labelled data set, drawn scenes, or a user's own pictures or video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vltseg_core.data.data_set import DataSet
from vltseg_core.data.data_sets import data_set
from vltseg_core.errors import InputError
from vltseg_core.labels import CITYSCAPES
from vltseg_ros import bags
from vltseg_ros.bag_frames import START_NS, BagFrame
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY
from vltseg_ros.camera_intrinsics import intrinsics_of
from vltseg_ros.demo_bag import DemoBagSettings, drawn_frames
from vltseg_ros.frame_times import NAMINGS, place_of, times_s
from vltseg_ros.ground_truth import CITYSCAPES_TRAIN_IDS, space_entries
from vltseg_ros.image_sources import ImageFilesSource, open_source, read_upright

DEMO = "demo"


@dataclass(frozen=True)
class ContentSettings:
    """split: of a data set. rate_hz: paces frames without numbers, and with it all; None: 10, or as their numbers say.

    max_gap_s: longer pauses between frames are shortened to it.
    """

    split: str = "val"
    rate_hz: float | None = None
    max_gap_s: float = 1.0


class BagContents(Protocol):
    """Frames for a bag. entries: what the bag's metadata says of them. skipped: frames that cannot be read, and why."""

    entries: dict[str, str]
    num_frames: int | None
    skipped: list[str]

    def frames(self) -> Iterator[BagFrame]:
        """The readable frames in the order of their times."""
        ...


def open_contents(given: str, settings: ContentSettings) -> BagContents:
    """What NAME=PATH (a data set), `demo`, or a path or glob pattern of pictures or a video stands for."""
    name, is_pair, root = given.partition("=")
    if given == DEMO and not Path(given).exists():
        return DrawnScenes(settings)
    if is_pair and not Path(given).exists():
        return LabelledFrames(data_set(name), Path(root), settings)
    if Path(given).exists() and bags.is_bag(Path(given)):
        raise InputError(f"'{given}' is a bag already: give a data set as NAME=PATH, pictures or a video")
    return OwnPictures(given, settings)


class LabelledFrames:
    """A data set's frames with ground truth in its own classes; a `BagContents`.

    Frames of one condition come together, in it those of one sequence, in the order of their numbers.
    """

    def __init__(self, labelled: DataSet, root: Path, settings: ContentSettings) -> None:
        self.skipped: list[str] = []
        self._labelled = labelled
        self._files = labelled.training_images(root, settings.split).files
        truth = labelled.evaluation_set(root, settings.split)
        self._truth = truth.images
        naming = NAMINGS.get(labelled.name)
        self._places = [place_of(file.image.stem, naming) for file in self._files]
        self._order = self._together()
        self.num_frames: int | None = len(self._order)
        numbers_hz = naming.rate_hz if naming is not None and settings.rate_hz is None else None
        rate_hz = settings.rate_hz or 10.0
        places = [self._places[index] for index in self._order]
        self._times_s = times_s(places, numbers_hz=numbers_hz, rate_hz=rate_hz, max_gap_s=settings.max_gap_s)
        pace = f"frame numbers at {numbers_hz:g} Hz" if numbers_hz else f"{rate_hz:g} Hz, the files tell no times"
        if naming is not None and numbers_hz is None:
            pace = f"{rate_hz:g} Hz, as asked for"
        space_name = CITYSCAPES_TRAIN_IDS.name if truth.class_names == CITYSCAPES.names else labelled.name
        self.entries = {
            "vltseg.data_set": labelled.name,
            "vltseg.credit": labelled.credit,
            "vltseg.split": settings.split,
            TRUTH_TOPIC_ENTRY: bags.GROUND_TRUTH_TOPIC,
            **space_entries(space_name, truth.class_names, truth.to_truth_classes),
            "vltseg.conditions": _listed(self._files[index].condition for index in self._order),
            "vltseg.sequences": _listed(self._places[index].sequence for index in self._order),
            "vltseg.frame_times": f"{pace}, pauses shortened to {settings.max_gap_s:g} s",
        }
        if self._files:
            self.entries["vltseg.camera_info"] = self._camera_origin()

    def frames(self) -> Iterator[BagFrame]:
        """The frames; an unreadable one goes to `skipped` and leaves its time empty."""
        for index, time_s in zip(self._order, self._times_s, strict=True):
            file = self._files[index]
            try:
                image, labels, _ = self._truth[index]
            except InputError as error:
                self.skipped.append(str(error))
                continue
            camera = intrinsics_of(self._labelled.name, file.image, (image.shape[0], image.shape[1]))
            yield BagFrame(image, camera.matrix, time_s, labels, file.condition, self._places[index].sequence, file.image)

    def _together(self) -> list[int]:
        groups: dict[tuple[str, str], list[int]] = {}
        conditions = list(dict.fromkeys(file.condition for file in self._files))
        for index, (file, place) in enumerate(zip(self._files, self._places, strict=True)):
            groups.setdefault((file.condition, place.sequence), []).append(index)
        ordered = sorted(groups, key=lambda group: conditions.index(group[0]))
        return [index for group in ordered for index in sorted(groups[group], key=lambda i: self._places[i].number or 0)]

    def _camera_origin(self) -> str:
        for index in self._order:
            try:
                height, width = self._truth[index].image.shape[:2]
            except InputError:
                continue
            return intrinsics_of(self._labelled.name, self._files[index].image, (height, width)).origin
        return "no frame can be read"


class DrawnScenes:
    """Drawn scenes in five conditions with exact labels; a `BagContents`."""

    def __init__(self, settings: ContentSettings) -> None:
        self._drawing = DemoBagSettings(frame_rate_hz=settings.rate_hz or DemoBagSettings().frame_rate_hz)
        self.skipped: list[str] = []
        self.num_frames: int | None = self._drawing.num_frames
        self.entries = {
            **self._drawing.entries,
            TRUTH_TOPIC_ENTRY: bags.GROUND_TRUTH_TOPIC,
            **space_entries(CITYSCAPES_TRAIN_IDS.name, CITYSCAPES.names, CITYSCAPES_TRAIN_IDS.from_cityscapes),
            "vltseg.camera_info": "the drawing's own pinhole camera",
        }

    def frames(self) -> Iterator[BagFrame]:
        """The frames, drawn when they are asked for."""
        return drawn_frames(self._drawing)


class OwnPictures:
    """Pictures or a video without ground truth; a `BagContents`."""

    def __init__(self, given: str, settings: ContentSettings) -> None:
        self._source = open_source(given, rate_hz=settings.rate_hz)
        self.skipped: list[str] = []
        self.num_frames = self._source.num_frames
        camera = intrinsics_of(None, None, (1, 1))
        self.entries = {"vltseg.source": self._source.description, "vltseg.camera_info": camera.origin}

    def frames(self) -> Iterator[BagFrame]:
        """The frames; an unreadable picture goes to `skipped` and leaves its time empty."""
        if not isinstance(self._source, ImageFilesSource):
            for frame in self._source.frames():
                image = self._source.picture(frame)
                camera = intrinsics_of(None, None, (image.shape[0], image.shape[1]))
                yield BagFrame(image, camera.matrix, (frame.stamp_ns - START_NS) / 1e9)
            return
        for index, path in enumerate(self._source.paths):
            try:
                image = read_upright(path)
            except InputError as error:
                self.skipped.append(str(error))
                continue
            camera = intrinsics_of(None, None, (image.shape[0], image.shape[1]))
            yield BagFrame(image, camera.matrix, index / self._source.frame_rate_hz, file=path)


def _listed(names: Iterator[str]) -> str:
    """The names but the empty one, each once, as JSON."""
    return json.dumps([name for name in dict.fromkeys(names) if name])
