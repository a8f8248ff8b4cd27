# SPDX-License-Identifier: Apache-2.0
"""Segments a user's own pictures to files, without ROS: images, folders, glob patterns, videos, bags."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation.overlay import blend
from vltseg_core.evaluation.video import VideoWriter
from vltseg_core.runtime import Segmentation, Segmenter
from vltseg_ros.frame_source import FrameSource
from vltseg_ros.image_sources import VideoSource, read_upright
from vltseg_ros.result_names import named_inputs

KINDS = ("labels", "colour", "overlay", "confidence", "score-map")
"""What can be written of each picture."""
DEFAULT_KINDS = KINDS[:4]


@dataclass(frozen=True)
class SegmentSettings:
    """inputs: paths or patterns. kinds: of `KINDS`. batch_size: pictures that enter the network together.

    max_input_pixels, window_px, whole_masks: as for `Segmenter.load`.
    """

    inputs: tuple[str, ...]
    output: Path
    kinds: tuple[str, ...] = DEFAULT_KINDS
    checkpoint: str = "tiny"
    device: str = "auto"
    batch_size: int = 1
    max_input_pixels: int | None = None
    window_px: int | None = None
    whole_masks: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ConfigurationError(f"unknown kind of result '{unknown[0]}': choose from {', '.join(KINDS)}")
        if not self.kinds:
            raise ConfigurationError(f"no kind of result is asked for: choose from {', '.join(KINDS)}")


class SegmentOutcome(NamedTuple):
    """num_pictures: those with results. unreadable: a sentence for each image file that was left out."""

    num_pictures: int
    unreadable: list[str]


class _Picture(NamedTuple):
    name: str
    image: NDArray[np.uint8] | None
    """None where the results are there already."""


def segment_files(settings: SegmentSettings, progress: Progress) -> SegmentOutcome:
    """Write a folder of PNGs for each kind of result, and an overlay video for each video.

    Pictures whose results are there already, from the same settings, are passed over, so that a run that was stopped
    goes on. An image file that cannot be read is left out. Raises VltsegError with one sentence for a video or bag that
    cannot be read, and for a folder of other results.
    """
    inputs = named_inputs(settings.inputs, settings.output)
    segmenter = Segmenter.load(
        settings.checkpoint,
        device=settings.device,
        max_input_pixels=settings.max_input_pixels,
        window_px=settings.window_px,
        whole_masks=settings.whole_masks,
    )
    _claim(settings, segmenter)
    total = len(inputs.images) + sum(source.num_frames or 0 for source in inputs.streams.values())
    task = progress.add_task("Segmenting", total=total or None)
    run = _SegmentRun(settings, segmenter, lambda: progress.advance(task))
    run.segment(run.image_files(inputs.images))
    for prefix, source in inputs.streams.items():
        frames = run.frames(prefix, source)
        if isinstance(source, VideoSource) and "overlay" in settings.kinds:
            with VideoWriter(settings.output / f"{prefix}overlay.mp4", source.frame_rate_hz) as video:
                run.segment(frames, video)
        else:
            run.segment(frames)
    return SegmentOutcome(run.num_pictures, run.unreadable)


class _SegmentRun:
    """Pictures to files, batch by batch, and the count of them; advance: called for each, left out or not."""

    def __init__(self, settings: SegmentSettings, segmenter: Segmenter, advance: Callable[[], None]) -> None:
        self._settings, self._segmenter, self._advance = settings, segmenter, advance
        self.num_pictures = 0
        self.unreadable: list[str] = []

    def image_files(self, names: Mapping[Path, str]) -> Iterator[_Picture]:
        """Image files with the names of their results; one that cannot be read is left out."""
        for path, name in names.items():
            try:
                yield _Picture(name, None if self._is_done(name) else read_upright(path))
            except InputError as error:
                self.unreadable.append(str(error))
                self._advance()

    def frames(self, prefix: str, source: FrameSource) -> Iterator[_Picture]:
        """The frames of a video or bag."""
        for frame in source.frames():
            name = prefix + frame.name
            yield _Picture(name, None if self._is_done(name) else source.picture(frame))

    def segment(self, pictures: Iterator[_Picture], video: VideoWriter | None = None) -> None:
        """Write the results that are not there yet, and every picture's overlay to the video."""
        while batch := list(islice(pictures, self._settings.batch_size)):
            results = iter(self._segmenter.segment([picture.image for picture in batch if picture.image is not None]))
            for name, image in batch:
                if image is not None:
                    for kind, pixels in _rendered(self._segmenter, image, next(results), self._settings.kinds):
                        _write_png(pixels, self._path(kind, name))
                if video is not None:
                    video.add(read_upright(self._path("overlay", name)))
                self.num_pictures += 1
                self._advance()

    def _is_done(self, name: str) -> bool:
        return all(self._path(kind, name).is_file() for kind in self._settings.kinds)

    def _path(self, kind: str, name: str) -> Path:
        return self._settings.output / kind / f"{name}.png"


def _rendered(
    segmenter: Segmenter, image: NDArray[np.uint8], result: Segmentation, kinds: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for kind in kinds:
        if kind == "labels":
            yield kind, result.labels
        elif kind == "confidence":
            yield kind, result.confidence
        elif kind == "colour":
            yield kind, np.take(segmenter.classes.palette, result.labels, axis=0)
        elif kind == "score-map":
            yield kind, _score_map_picture(segmenter, image)
        else:
            yield kind, blend(image, result.labels, segmenter.classes)


def _score_map_picture(segmenter: Segmenter, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The nearest class text's colour at each place, the darker the less certain."""
    match = segmenter.match_text([image])[0]
    colours = np.take(segmenter.classes.palette, match.labels, axis=0)
    return (colours * (match.confidence[..., None] / 255.0)).astype(np.uint8)


def _claim(settings: SegmentSettings, segmenter: Segmenter) -> None:
    """Make the folder ours, or make sure that what is in it came from the same settings."""
    description = {**asdict(settings), "checkpoint": segmenter.describe().checkpoint}
    described = json.dumps({k: v for k, v in description.items() if k not in ("output", "batch_size", "device")}, indent=1)
    marker = settings.output / "segment.json"
    if settings.output.exists() and not settings.output.is_dir():
        raise InputError(f"'{settings.output}' is a file: give another folder with -o")
    is_ours = marker.is_file() and marker.read_text(encoding="utf-8") == described
    if settings.output.is_dir() and any(settings.output.iterdir()) and not is_ours:
        raise InputError(f"'{settings.output}' holds other files or results of other settings: give a new folder with -o")
    for kind in settings.kinds:
        (settings.output / kind).mkdir(parents=True, exist_ok=True)
    marker.write_text(described, encoding="utf-8")


def _write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}")
    Image.fromarray(pixels).save(partial, "PNG")
    os.replace(partial, path)
