# SPDX-License-Identifier: Apache-2.0
"""How many pixels of each class every frame of a data set shows, and which files cannot be read.

N frames, C label codes (`labelled_images.CODE_MEMBERS`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.checkpoints.cache import cache_folder, make_folder
from vltseg_core.data.data_set import FilesOnDisk
from vltseg_core.data.labelled_images import CODE_MEMBERS
from vltseg_core.errors import InputError

OnProgress = Callable[[int, int], None]
"""Called with the frames done and all frames."""

_FORMAT = 2
_UNREADABLE = -1


class FrameCount(NamedTuple):
    """One frame: its height and width, its pixels by label code int64 [C], and what is wrong with its files, if anything."""

    size: tuple[int, int]
    counts: NDArray[np.int64]
    problem: str = ""


@dataclass(frozen=True)
class Census:
    """All frames counted: sizes, pixels by label code int64 [N, C], and by frame number what cannot be read."""

    sizes: list[tuple[int, int]]
    counts: NDArray[np.int64]
    problems: dict[int, str]


def take_census(files: FilesOnDisk, on_progress: OnProgress | None = None, *, num_workers: int = 0) -> Census:
    """Read every image, label and depth file to its end; what cannot be read is named, and shows no class.

    num_workers: frames read at once, 0 for one a core. Threads, since the decoders let others run while they work.
    """
    return _collect(files, _count_frame, on_progress, num_workers, range(len(files)))


def class_counts(files: FilesOnDisk, on_progress: OnProgress | None = None, *, num_workers: int = 0) -> NDArray[np.int64]:
    """Pixels of each frame by label code, int64 [N, C]; zeros for a frame whose label file cannot be read.

    Reads the label files alone, once: the counts are kept in the cache folder for as long as no file changes. What could
    not be read is tried again, for the cause may be gone without a trace in the file: a right, a disk that was away.
    """
    kept = cache_folder() / "class_counts" / f"{_fingerprint(files)}.npy"
    counts = _known_counts(kept, len(files))
    unknown = range(len(files)) if counts is None else [int(i) for i in np.flatnonzero(counts[:, 0] == _UNREADABLE)]
    if counts is None or unknown:
        census = _collect(files, _count_labels, on_progress, num_workers, unknown)
        counts = np.zeros((len(files), len(CODE_MEMBERS)), np.int64) if counts is None else counts
        counts[unknown] = census.counts
        counts[[unknown[i] for i in census.problems]] = _UNREADABLE
        if len(census.problems) < len(unknown):
            _keep(counts, kept)
    return np.maximum(counts, 0)


def _keep(counts: NDArray[np.int64], kept: Path) -> None:
    make_folder(kept.parent)
    beside = kept.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as file:
        np.save(file, counts)
    beside.replace(kept)


def _known_counts(kept: Path, num_frames: int) -> NDArray[np.int64] | None:
    try:
        counts = np.asarray(np.load(kept, allow_pickle=False), np.int64)
    except (OSError, ValueError, EOFError):  # not counted yet, or not whole: then they are counted again
        return None
    return counts if counts.shape == (num_frames, len(CODE_MEMBERS)) else None


def _collect(
    files: FilesOnDisk,
    count: Callable[[FilesOnDisk, int], FrameCount],
    on_progress: OnProgress | None,
    num_workers: int,
    indices: Sequence[int],
) -> Census:
    """Of the frames of these numbers, in their order; problems by place in it."""
    frames: list[FrameCount] = []
    pool = ThreadPoolExecutor(num_workers or os.cpu_count() or 1)
    try:
        for frame in pool.map(partial(count, files), indices):
            frames.append(frame)
            if on_progress:
                on_progress(len(frames), len(indices))
    finally:  # Ctrl-C waits for the frames being read, not for those in the queue
        pool.shutdown(cancel_futures=True)
    counts = np.stack([frame.counts for frame in frames]) if frames else _nothing()[None][:0]
    problems = {i: frame.problem for i, frame in enumerate(frames) if frame.problem}
    return Census([frame.size for frame in frames], counts, problems)


def _count_frame(files: FilesOnDisk, index: int) -> FrameCount:
    return _count(lambda: files[index].codes)


def _count_labels(files: FilesOnDisk, index: int) -> FrameCount:
    return _count(lambda: files.codes(index))


def _count(read_codes: Callable[[], NDArray[np.uint8]]) -> FrameCount:
    try:
        codes = read_codes()
    except InputError as error:
        return FrameCount((0, 0), _nothing(), str(error))
    pixels_by_value = np.bincount(codes.ravel(), minlength=256).astype(np.int64)
    return FrameCount((codes.shape[0], codes.shape[1]), pixels_by_value[: len(CODE_MEMBERS)])


def _nothing() -> NDArray[np.int64]:
    return np.zeros(len(CODE_MEMBERS), np.int64)


def _fingerprint(files: FilesOnDisk) -> str:
    """Of what the counts follow from: the data set, its label map, and every label file's path, size and time of change."""
    digest = hashlib.sha256(f"{_FORMAT} {files.data_set.name} {CODE_MEMBERS}".encode() + files.lookup.tobytes())
    for file in files.files:
        status = file.labels.stat() if file.labels.is_file() else None
        digest.update(f"{file.labels.absolute()} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:32]
