# SPDX-License-Identifier: Apache-2.0
"""Large images in overlapping square windows, scores averaged where windows meet.

B batch, K classes, H and W pixels, S the window's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ScoreFunction = Callable[[Tensor, tuple[int, int]], Tensor]
"""Normalised crop [B, 3, h, w] and (h, w) to class scores [B, K, h, w]."""


@dataclass(frozen=True)
class SlidingWindow:
    """Windows of one size, a fixed step apart; the last in a row or column is moved back to end at the border.

    size_px: S. step_px: 0 takes five sixths of it, the published protocol's 426 for 512.
    """

    size_px: int
    step_px: int = 0

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        return self.step_px or self.size_px * 5 // 6

    def starts(self, length: int) -> list[int]:
        """First pixels of the windows along an axis of that length."""
        if length <= self.size_px:
            return [0]
        last = length - self.size_px
        return [*range(0, last, self.step), last]

    def merge(self, images: Tensor, num_classes: int, scores_of: ScoreFunction) -> Tensor:
        """Normalised images [B, 3, H, W] to the windows' mean scores [B, K, H, W]."""
        batch_size, _, height, width = images.shape
        total = images.new_zeros((batch_size, num_classes, height, width), dtype=torch.float32)
        count = images.new_zeros((height, width), dtype=torch.float32)
        for top in self.starts(height):
            for left in self.starts(width):
                rows, columns = slice(top, top + self.size_px), slice(left, left + self.size_px)
                crop = images[..., rows, columns]
                total[..., rows, columns] += scores_of(crop, (crop.shape[-2], crop.shape[-1]))
                count[rows, columns] += 1
        return total / count
