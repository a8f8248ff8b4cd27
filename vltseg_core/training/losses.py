# SPDX-License-Identifier: Apache-2.0
"""Losses for networks whose query k is bound to class k, and pixel-text matching.

B batch, K classes, G codes, h and w any size; codes are label codes (see `vltseg_core.data.labelled_images`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.data.labelled_images import CODE_MEMBERS
from vltseg_core.labels import IGNORE


def code_log_probabilities(class_logits: Tensor) -> Tensor:
    """Class logits [B, K, h, w] to the log of each label code's probability [B, G, h, w].

    A code's probability is the sum over the classes that it admits.
    """
    log_probabilities = class_logits.log_softmax(1)
    num_classes = class_logits.shape[1]
    ambiguous = [log_probabilities[:, list(ids)].logsumexp(1, keepdim=True) for ids in CODE_MEMBERS[num_classes:]]
    return torch.cat((log_probabilities, *ambiguous), dim=1)


def code_cross_entropy(log_probabilities: Tensor, codes: Tensor) -> Tensor:
    """Mean negative log-probability [B, G, h, w] of each pixel's code, int64 [B, h, w], 255 not counted."""
    total = F.nll_loss(log_probabilities, codes, ignore_index=IGNORE, reduction="sum")
    return total / (codes != IGNORE).sum().clamp(min=1)


def segment_dice(log_probabilities: Tensor, codes: Tensor) -> Tensor:
    """One minus the soft dice overlap, averaged over an image's segments, so that a small one counts as much.

    A segment is all pixels of an image with the same code. Shapes as for `code_cross_entropy`.
    Source: Milletari et al., "V-Net", 2016; smoothing 1 as in Mask2Former.
    """
    counted = codes != IGNORE
    num_codes = log_probabilities.shape[1]
    probabilities = log_probabilities.exp() * counted[:, None]
    truth = F.one_hot(codes.where(counted, num_codes), num_codes + 1)[..., :num_codes]  # [B, h, w, G]
    truth = truth.permute(0, 3, 1, 2).to(probabilities.dtype)
    overlap = torch.einsum("bghw,bghw->bg", probabilities, truth)
    num_true = truth.sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probabilities.sum((2, 3)) + num_true + 1)
    occurs = num_true > 0
    return (dice * occurs).sum() / occurs.sum().clamp(min=1)


def resize_codes(codes: Tensor, size: tuple[int, int]) -> Tensor:
    """Label codes [B, H, W] at another size [B, h, w], by the nearest pixel."""
    return F.interpolate(codes[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
