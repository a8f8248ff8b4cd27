# SPDX-License-Identifier: Apache-2.0
"""A user's own input as a sequence of frames: image files, a video file, or a bag (which is `BagSource`'s)."""

from __future__ import annotations

import glob
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_frames import COMPRESSED_IMAGE_TOPIC, FRAME_ID, START_NS
from vltseg_ros.bag_source import BagSource
from vltseg_ros.frame_source import FrameSource, SourceFrame
from vltseg_ros.ground_truth import CITYSCAPES_TRAIN_IDS
from vltseg_ros.serialised_images import rgb_of

_LOG = logging.getLogger(__name__)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
DEFAULT_IMAGE_RATE_HZ = 10.0
_JPEG_QUALITY = 95


class _DecodedSource:
    """What video and image files share: frames that were decoded here and are published as rgb8."""

    drawn = False
    has_truth = False
    truth_topic: str | None = None
    label_space = CITYSCAPES_TRAIN_IDS
    message_type = bag_messages.IMAGE_TYPE

    @property
    def entries(self) -> dict[str, str]:
        """Pictures have no metadata of a bag."""
        return {}

    @property
    def losses(self) -> list[str]:
        """What cannot be read here is raised, or logged."""
        return []

    def picture(self, frame: SourceFrame) -> NDArray[np.uint8]:
        """The frame's pixels, uint8 [H, W, 3] RGB."""
        return rgb_of(frame.message, self.message_type)

    def archive(self, frame: SourceFrame) -> Iterator[bags.BagMessage]:
        """The picture as a JPEG: raw pixels would take twenty times the room of what the user gave."""
        encoded = io.BytesIO()
        Image.fromarray(self.picture(frame)).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        cdr = bag_messages.compressed_image_message(encoded.getvalue(), "jpeg", frame.stamp_ns, FRAME_ID)
        yield bags.BagMessage(COMPRESSED_IMAGE_TOPIC, bag_messages.COMPRESSED_IMAGE_TYPE, frame.time_ns, cdr)

    def truth(self, frame: SourceFrame) -> NDArray[np.uint8] | None:
        """Pictures carry no ground truth."""
        return None


class ImageFilesSource(_DecodedSource):
    """Image files in the order of their names (frame2 before frame10), played at a rate; an `FrameSource`."""

    def __init__(self, paths: list[Path], description: str, rate_hz: float, max_seconds: float | None = None) -> None:
        ordered = sorted(paths, key=lambda path: _natural_order(str(path)))
        self.paths = ordered if max_seconds is None else ordered[: max(1, round(max_seconds * rate_hz))]
        self.num_frames: int | None = len(self.paths)
        self.frame_rate_hz = rate_hz
        self.description = f"{description}, {len(self.paths)} files at {rate_hz:g} Hz"

    def frames(self) -> Iterator[SourceFrame]:
        """One frame a file; raises InputError for a file that is no image."""
        for index, path in enumerate(self.paths):
            stamp_ns = START_NS + round(index * 1e9 / self.frame_rate_hz)
            message = bag_messages.image_message(read_upright(path), stamp_ns, FRAME_ID)
            yield SourceFrame(path.stem, "", stamp_ns, stamp_ns, message)


class VideoSource(_DecodedSource):
    """The first video track of a file, with its own times unless `rate_hz` sets others; an `FrameSource`."""

    def __init__(self, path: Path, rate_hz: float | None = None, max_seconds: float | None = None) -> None:
        self._path, self._rate_hz, self._max_seconds = path, rate_hz, max_seconds
        with _open_video(path) as container:
            track = container.streams.video[0]
            self.frame_rate_hz = rate_hz or float(track.average_rate or track.guessed_rate or 25)
            duration_s = track.frames / self.frame_rate_hz if track.frames else (container.duration or 0) / av.time_base
        played_s = duration_s if max_seconds is None else min(duration_s, max_seconds)
        self.num_frames: int | None = round(played_s * self.frame_rate_hz) or None
        self.description = f"video {path} at {self.frame_rate_hz:.3g} Hz"

    def frames(self) -> Iterator[SourceFrame]:
        """The video's frames; raises InputError where it cannot be decoded or holds none."""
        count = 0
        with _open_video(self._path) as container:
            first_s: float | None = None
            for index, frame in enumerate(_decoded(container, self._path)):
                frame_s = index / self.frame_rate_hz
                if self._rate_hz is None and frame.time is not None:
                    first_s = frame.time if first_s is None else first_s
                    frame_s = frame.time - first_s
                if self._max_seconds is not None and frame_s >= self._max_seconds:
                    break
                stamp_ns = START_NS + round(frame_s * 1e9)
                pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                message = bag_messages.image_message(pixels, stamp_ns, FRAME_ID)
                yield SourceFrame(f"{index:06d}", "", stamp_ns, stamp_ns, message)
                count += 1
        if count == 0:
            raise InputError(f"'{self._path}' holds no video frame that can be decoded: convert it to mp4")


def open_source(
    given: str, *, topic: str | None = None, rate_hz: float | None = None, max_seconds: float | None = None
) -> FrameSource:
    """The source that a path or glob pattern names: a bag, a folder of images, a pattern of images, or a video.

    rate_hz: frames a second for image files (10 unless given), and for a video instead of its own times.
    Raises InputError where there is nothing that can be played.
    """
    path = Path(given)
    if not path.exists():
        if glob.has_magic(given):
            matches = [Path(match) for match in glob.glob(given, recursive=True)]
            return _image_files(matches, f"images {given}", rate_hz, max_seconds)
        raise InputError(f"'{given}' does not exist: give a video, an image folder, a quoted glob pattern or a bag")
    if bags.is_bag(path):
        if rate_hz is not None:
            raise InputError(f"'{given}' is a bag, which has its own times: use --rate to scale them, not --rate-hz")
        return BagSource(path, topic, max_seconds)
    if topic is not None:
        raise InputError(f"'{given}' is no bag, so it has no topic '{topic}': leave --topic out")
    if path.is_dir():
        return _image_files(list(path.iterdir()), f"image folder {given}", rate_hz, max_seconds)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _image_files([path], f"image {given}", rate_hz, max_seconds)
    return VideoSource(path, rate_hz, max_seconds)


def _image_files(candidates: list[Path], description: str, rate_hz: float | None, max_seconds: float | None) -> ImageFilesSource:
    images = [path for path in candidates if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise InputError(f"{description}: there is no image file ({kinds}), give a folder or pattern of images")
    return ImageFilesSource(images, description, rate_hz or DEFAULT_IMAGE_RATE_HZ, max_seconds)


def read_upright(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3] RGB, turned as its EXIF data says.

    16-bit grey is scaled, not clipped as Pillow does. Raises InputError where the file cannot be read, or has no known white.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = Image.fromarray(_grey_8_bit(np.asarray(upright), path))
            elif upright.mode == "F":
                raise InputError(f"'{path}' holds floating-point values, whose white is unknown: save it with 8 or 16 bits")
            return np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"'{path}' cannot be read as an image ({error}): remove or replace it") from error


def _grey_8_bit(levels: NDArray[np.integer], path: Path) -> NDArray[np.uint8]:
    """Grey of 16 bits, [H, W] of any integer type, in 8: 257 levels become one, so that white stays white."""
    if levels.min() < 0 or levels.max() > 65535:
        raise InputError(f"'{path}' has values from {levels.min()} to {levels.max()}, expected 0 to 65535: save it with 16 bits")
    return np.asarray((levels.astype(np.int32) + 128) // 257, np.uint8)


def _open_video(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror
        raise InputError(f"'{path}' cannot be read as a video ({reason}): give a video, image folder or bag") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"'{path}' has no video track: give a video, an image folder or a bag")
    return container


def _decoded(container: av.container.InputContainer, path: Path) -> Iterator[av.VideoFrame]:
    """The frames of the first video track; a damaged packet costs its own frames only, and is logged once."""
    num_damaged = 0
    for packet in container.demux(container.streams.video[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            num_damaged += 1
    if num_damaged:
        _LOG.warning("'%s' is damaged: %d of its packets could not be decoded and are left out", path, num_damaged)


def _natural_order(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]
