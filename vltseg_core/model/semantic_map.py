# SPDX-License-Identifier: Apache-2.0
"""From masks to class scores at the image's size.

B batch, Q queries, K classes, H and W pixels, h and w places of the masks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.model.mask_decoder import MaskPrediction

_BAND_VALUES = 1 << 22
"""Resized mask values that a band of rows may hold: 16 MiB in fp32."""


def semantic_scores(prediction: MaskPrediction, size: tuple[int, int], *, whole_masks: bool = False) -> Tensor:
    """A prediction as class scores [B, K, H, W] at `size`.

    Learned queries: class probabilities times mask probabilities, summed over the queries, each mask resized first
    (Mask2Former, section 3.1); band of rows by band of rows, so that the resized masks of all queries are never there
    together, or, with `whole_masks`, all at once. The two differ by rounding alone. Text queries: softmax of the resized
    masks over the classes.
    """
    mask_logits, class_logits = prediction
    if class_logits is None:
        return F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False).softmax(dim=1)
    class_probabilities = class_logits.softmax(dim=-1)[..., :-1]
    if whole_masks:
        return _sum_over_queries(class_probabilities, F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False))
    batch_size, num_queries = mask_logits.shape[:2]
    height, width = size
    scores = mask_logits.new_empty(batch_size, class_probabilities.shape[-1], height, width)
    band_rows = max(1, _BAND_VALUES // (batch_size * num_queries * width))
    upper, lower, lower_share = _source_rows(mask_logits.shape[-2], height, mask_logits)
    for top in range(0, height, band_rows):
        rows = slice(top, min(top + band_rows, height))
        band = torch.lerp(mask_logits[..., upper[rows], :], mask_logits[..., lower[rows], :], lower_share[rows, None])
        band = F.interpolate(band, size=(band.shape[-2], width), mode="bilinear", align_corners=False)
        scores[..., rows, :] = _sum_over_queries(class_probabilities, band)
    return scores


def _sum_over_queries(class_probabilities: Tensor, mask_logits: Tensor) -> Tensor:
    return torch.einsum("bqk,bqhw->bkhw", class_probabilities, mask_logits.sigmoid())


def _source_rows(num_source: int, num_target: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two source rows between which each target row's centre lies, and the share of the lower one."""
    target = torch.arange(num_target, device=like.device, dtype=torch.float32)
    centres = ((target + 0.5) * (num_source / num_target) - 0.5).clamp(min=0)
    upper = centres.long().clamp(max=num_source - 1)
    return upper, (upper + 1).clamp(max=num_source - 1), (centres - upper).to(like.dtype)
