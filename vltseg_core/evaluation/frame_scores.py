# SPDX-License-Identifier: Apache-2.0
"""What was counted of each frame so far: the part of an evaluation that survives an interruption, and that processes merge.

K classes, N frames that were judged.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.errors import InputError


class FrameScores:
    """Confusion counts by frame. Each frame is there once, by its index, whoever judged it and however often.

    counts: int64 [K, K + 1] of each judged frame. seconds: from the decoded image to its labels.
    unreadable: why each unreadable frame could not be used.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: dict[int, NDArray[np.int64]] = {}
        self.seconds: dict[int, float] = {}
        self.unreadable: dict[int, str] = {}

    @property
    def done(self) -> set[int]:
        """Indices of the frames that need no more work."""
        return self.counts.keys() | self.unreadable.keys()

    def merge(self, other: FrameScores) -> None:
        """Add the frames of another process or an earlier run."""
        self.counts.update(other.counts)
        self.seconds.update(other.seconds)
        self.unreadable.update(other.unreadable)

    def save(self, path: Path) -> None:
        """Write a file that `load` reads, beside the target first and renamed."""
        partial = path.with_name(f".{path.name}.partial")
        indices = sorted(self.counts)
        shape = (0, self.num_classes, self.num_classes + 1)
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                indices=np.array(indices, np.int64),
                counts=np.stack([self.counts[i] for i in indices]) if indices else np.zeros(shape, np.int64),
                seconds=np.array([self.seconds[i] for i in indices], np.float64),
                unreadable_indices=np.array(sorted(self.unreadable), np.int64),
                reasons=np.array([self.unreadable[i] for i in sorted(self.unreadable)], np.str_),
            )
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> FrameScores:
        """What `save` wrote; InputError where the file is something else."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                counts, indices = arrays["counts"], arrays["indices"].tolist()
                scores = cls(counts.shape[1])
                scores.counts = dict(zip(indices, counts, strict=True))
                scores.seconds = dict(zip(indices, arrays["seconds"].tolist(), strict=True))
                scores.unreadable = dict(zip(arrays["unreadable_indices"].tolist(), arrays["reasons"].tolist(), strict=True))
        except (OSError, KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"'{path}' is no file of frame scores ({error}): remove it, its frames are then judged again"
            ) from error
        return scores
