# SPDX-License-Identifier: Apache-2.0
"""The sizes and views in which an image enters the network. B batch, K classes, H and W pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vltseg_core.errors import ConfigurationError

ViewScores = Callable[[Tensor, tuple[int, int]], Tensor]
"""Images [B, 3, H, W] and the (height, width) at which they enter the network, to class scores [B, K, H, W]."""


@dataclass(frozen=True)
class InferenceAugmentation:
    """Test-time augmentation: the mean of the scores over scales, each plain and, with `flip`, mirrored left to right.

    scales: of the size at which an image enters the network otherwise.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 8 for scale in self.scales):
            raise ConfigurationError(f"test-time augmentation at scales {self.scales}: give one or more from 0.1 to 8")

    def mean_scores(self, images: Tensor, size: tuple[int, int], scores_of: ViewScores) -> Tensor:
        """The views' mean of `scores_of`, [B, K, H, W]; with one view, that view's own to the last bit."""
        total: Tensor | None = None
        for scale in self.scales:
            scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
            for mirrored in (False, True) if self.flip else (False,):
                scores = scores_of(images.flip(-1), scaled).flip(-1) if mirrored else scores_of(images, scaled)
                total = scores if total is None else total + scores
        assert total is not None  # there is a scale
        num_views = len(self.scales) * (2 if self.flip else 1)
        return total if num_views == 1 else total / num_views


PLAIN = InferenceAugmentation()
"""One view, as it is."""

LEADERBOARD = InferenceAugmentation((1.0, 1.25, 1.5, 1.75, 2.0, 2.25), flip=True)
"""What VLTSeg's figures on test servers were made with: scales 1.0 to 2.25 and flip; the steps between are ours."""


def fit_within(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of an image made larger or smaller until it just fits a box, either way round, ratio kept.

    As mmcv's `rescale_size` has it, by which the published figures were made: longer side with longer, shorter with
    shorter, rounded half up.
    """
    factor = min(max(box) / max(size), min(box) / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def within_pixels(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The (height, width) of an image made smaller until it has at most so many pixels; 0 for any number.

    The ratio is kept to the pixel, unless the shorter side would be none.
    """
    height, width = size
    if not max_pixels or height * width <= max_pixels:
        return size
    factor = math.sqrt(max_pixels / (height * width))
    height, width = max(1, int(height * factor)), max(1, int(width * factor))
    return min(height, max_pixels // width or 1), min(width, max_pixels // height or 1)
