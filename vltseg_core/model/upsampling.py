# SPDX-License-Identifier: Apache-2.0
"""From a map to one of half its stride, where each place stays over the pixels that it came from."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def doubled(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [B, C, h, w] of twice the stride of a finer one, bilinearly at that one's size (height, width).

    A convolution of stride 2 makes of a map of an odd length one that is a place longer than its half, and the last place
    lies partly beyond the map: the coarse map is doubled and cut, not shrunk to fit, which would shift all that it shows.
    Where a tower leaves an odd row or column out, the coarse map's last one stands for it.
    """
    height, width = 2 * coarse.shape[-2], 2 * coarse.shape[-1]
    upsampled = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    if (height, width) == tuple(size):
        return upsampled
    if height < size[0] or width < size[1]:
        upsampled = F.pad(upsampled, (0, max(0, size[1] - width), 0, max(0, size[0] - height)), mode="replicate")
    return upsampled[..., : size[0], : size[1]]
