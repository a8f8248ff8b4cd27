# SPDX-License-Identifier: Apache-2.0
"""Temporal flicker: how often a pixel's label changes from one frame to the next where the image holds still.

A pixel holds still where its grey value, averaged over its 5x5 neighbours, differs by at most 3 of 255 levels between
the two frames. The average takes sensor noise away: noise of 5 levels leaves 1.

Caveat. With a standing camera this is flicker. With a driving one, what holds still is mostly what has no texture (sky,
asphalt) or lies far ahead, and where a textureless surface moves over a border its label changes rightly: compare
networks on the same drive, not drives with each other. Frames that the network did not answer widen the step.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

STILL_LEVELS = 3.0
_NEIGHBOURS_PX = 5


class Flicker:
    """Counts over consecutive answered frames. num_still: pixels that held still; num_changed: those of another label."""

    def __init__(self, num_still: int = 0, num_changed: int = 0) -> None:
        self.num_still, self.num_changed = num_still, num_changed
        self._last: tuple[NDArray[np.float32], NDArray[np.uint8]] | None = None

    def add(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Count the next answered frame: image uint8 [H, W, 3] RGB, its labels uint8 [H, W].

        The first one, and one of another size than the one before, only begin. A change from or to 255 (a confidence
        under the threshold) is a change too.
        """
        grey = cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (_NEIGHBOURS_PX, _NEIGHBOURS_PX))
        if self._last is not None and self._last[1].shape == labels.shape:
            last_grey, last_labels = self._last
            still = np.abs(grey - last_grey) <= STILL_LEVELS
            self.num_still += int(np.count_nonzero(still))
            self.num_changed += int(np.count_nonzero(still & (labels != last_labels)))
        self._last = (grey.astype(np.float32), labels)

    def restart(self) -> None:
        """Let the next frame begin: it does not follow the one before."""
        self._last = None

    def merge(self, other: Flicker) -> None:
        """Add another sequence's counts."""
        self.num_still += other.num_still
        self.num_changed += other.num_changed

    @property
    def share(self) -> float:
        """Share of the pixels holding still whose label changed, 0..1; NaN where nothing held still."""
        return self.num_changed / self.num_still if self.num_still else float("nan")
