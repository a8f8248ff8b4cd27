# SPDX-License-Identifier: Apache-2.0
"""What every image encoder gives.

B batch, C channels, D width of CLIP's joint embedding, h and w places of a map.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

NUM_LEVELS = 4


class EncodedImage(NamedTuple):
    """What an image encoder gives.

    feature_maps: four maps. A hierarchical tower's lie at strides 4, 8, 16, 32; a ViT's are equally large [B, C, h, w].
    dense_embedding: [B, D, h, w] in CLIP's joint space, or None where the tower has no such projection.
    """

    feature_maps: tuple[Tensor, ...]
    dense_embedding: Tensor | None
