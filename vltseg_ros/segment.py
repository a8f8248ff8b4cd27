# SPDX-License-Identifier: Apache-2.0
"""Segments a user's own pictures to files, without ROS: images, folders, glob patterns, videos, bags."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
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
from vltseg_ros.image_sources import VideoSource, read_upright
from vltseg_ros.result_names import named_inputs

KINDS = ("labels", "colour", "overlay", "confidence", "score-map")
"""What can be written of each picture."""
DEFAULT_KINDS = KINDS[:4]


@dataclass(frozen=True)
class SegmentSettings:
    """inputs: paths or patterns. kinds: of `KINDS`. batch_size: pictures that enter the network together.

    window_px, whole_masks: as for `Segmenter.load`.
    """

    inputs: tuple[str, ...]
    output: Path
    kinds: tuple[str, ...] = DEFAULT_KINDS
    checkpoint: str = "tiny"
    device: str = "auto"
    batch_size: int = 1
    window_px: int | None = None
    whole_masks: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ConfigurationError(f"unknown kind of result '{unknown[0]}': choose from {', '.join(KINDS)}")


class _Picture(NamedTuple):
    name: str
    image: NDArray[np.uint8]


def segment_files(settings: SegmentSettings, progress: Progress) -> int:
    """Write a folder of PNGs for each kind of result, and an overlay video for each video; gives how many pictures.

    Pictures whose results are there already, from the same settings, are passed over, so that a run that was stopped
    goes on. Raises VltsegError with one sentence for input that cannot be read, and for a folder of other results.
    """
    inputs = named_inputs(settings.inputs, settings.output)
    segmenter = Segmenter.load(
        settings.checkpoint, device=settings.device, window_px=settings.window_px, whole_masks=settings.whole_masks
    )
    _claim(settings, segmenter)
    total = len(inputs.images) + sum(source.num_frames or 0 for source in inputs.streams.values())
    task = progress.add_task("Segmenting", total=total or None)
    num_pictures = 0

    def segment(pictures: Iterator[_Picture], video: VideoWriter | None = None) -> None:
        nonlocal num_pictures
        while batch := list(islice(pictures, settings.batch_size)):
            batch_to_do = [p for p in batch if video is not None or not _is_done(settings, p.name)]
            results = segmenter.segment([picture.image for picture in batch_to_do])
            for picture, result in zip(batch_to_do, results, strict=True):
                for kind, pixels in _rendered(segmenter, picture.image, result, settings.kinds):
                    _write_png(pixels, settings.output / kind / f"{picture.name}.png")
                    if kind == "overlay" and video is not None:
                        video.add(pixels)
            num_pictures += len(batch)
            progress.update(task, advance=len(batch))

    segment(_Picture(name, read_upright(path)) for path, name in inputs.images.items())
    for prefix, source in inputs.streams.items():
        pictures = (_Picture(prefix + frame.name, source.picture(frame)) for frame in source.frames())
        if isinstance(source, VideoSource) and "overlay" in settings.kinds:
            with VideoWriter(settings.output / f"{prefix}overlay.mp4", source.frame_rate_hz) as video:
                segment(pictures, video)
        else:
            segment(pictures)
    return num_pictures


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


def _is_done(settings: SegmentSettings, name: str) -> bool:
    return all((settings.output / kind / f"{name}.png").is_file() for kind in settings.kinds)


def _write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}")
    Image.fromarray(pixels).save(partial, "PNG")
    os.replace(partial, path)
