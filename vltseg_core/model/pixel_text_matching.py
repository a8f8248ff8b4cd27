# SPDX-License-Identifier: Apache-2.0
"""Pixel-text matching: how near each place of the image lies to each class's text, and the loss that keeps it so.

B batch, D embedding width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def score_map(dense_embedding: Tensor, class_embeddings: Tensor) -> Tensor:
    """Cosine similarity in -1..1 of dense visual embedding [B, D, h, w] and class embeddings [K, D]: [B, K, h, w].

    Source: Rao et al., "DenseCLIP", 2022, section 3.2; VLTSeg, section 3.2.
    """
    visual = F.normalize(dense_embedding, dim=1)
    text = F.normalize(class_embeddings, dim=1)
    return torch.einsum("bdhw,kd->bkhw", visual, text)
