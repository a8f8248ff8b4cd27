# SPDX-License-Identifier: Apache-2.0
"""From a map to one of half its stride, where each place stays over the pixels that it came from."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def doubled(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [B, C, h, w] of twice the stride of a finer one, bilinearly at that one's size (height, width).

    A convolution of stride 2 makes of a map of an odd length one that is a place longer than its half, and the last place
    lies partly beyond the map: the coarse map is doubled and cut, not shrunk to fit, which would shift all that it shows.
    One that is too short, as of a tower that drops the last odd row, is stretched.
    """
    twice = (2 * coarse.shape[-2], 2 * coarse.shape[-1])
    is_covered = twice[0] >= size[0] and twice[1] >= size[1]
    upsampled = F.interpolate(coarse, size=twice if is_covered else size, mode="bilinear", align_corners=False)
    return upsampled if upsampled.shape[-2:] == size else upsampled[..., : size[0], : size[1]]
