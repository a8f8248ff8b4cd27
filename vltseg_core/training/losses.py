# SPDX-License-Identifier: Apache-2.0
"""Losses for networks whose query k is bound to class k, and pixel-text matching.

B batch, K classes, G codes, h and w any size; codes are label codes (see `vltseg_core.data.labelled_images`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.data.labelled_images import CODE_MEMBERS
from vltseg_core.labels import IGNORE
from vltseg_core.training.distributed import mean_over_processes, sum_over_processes
from vltseg_core.training.label_codes import admitted_classes, is_evidence


def code_log_probabilities(class_logits: Tensor) -> Tensor:
    """Class logits [B, K, h, w] to the log of each label code's probability [B, G, h, w].

    A code's probability is the sum over the classes that it admits.
    """
    log_probabilities = class_logits.log_softmax(1)
    num_classes = class_logits.shape[1]
    ambiguous = [log_probabilities[:, list(ids)].logsumexp(1, keepdim=True) for ids in CODE_MEMBERS[num_classes:]]
    return torch.cat((log_probabilities, *ambiguous), dim=1)


def code_cross_entropy(log_probabilities: Tensor, codes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean negative log-probability [B, G, h, w] of each pixel's code, int64 [B, h, w], 255 not counted.

    weights: of each code [G]; the mean is then the weighted one. None weighs all alike. In a distributed run the mean is
    over the pixels of all processes.
    """
    total = F.nll_loss(log_probabilities, codes, weight=weights, ignore_index=IGNORE, reduction="sum")
    counted = codes[codes != IGNORE]
    mass = torch.ones_like(counted).sum() if weights is None else weights[counted].sum()
    return total / mean_over_processes(mass.float()).clamp(min=1e-6)


def pixel_text_loss(score_map: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of the score map [B, K, h, w] / tau, resized bilinearly to the label codes int64 [B, H, W].

    What `code_cross_entropy` of the resized logits' `code_log_probabilities` would be, at a third of its cost: only pixels
    whose code stands for several classes look at more than their own class. Source: VLTSeg, section 3.2.
    """
    size = (codes.shape[-2], codes.shape[-1])
    logits = F.interpolate(score_map.float() / temperature, size=size, mode="bilinear", align_corners=False)
    num_classes = logits.shape[1]
    is_class = codes < num_classes
    total = F.cross_entropy(logits, codes.where(is_class, IGNORE), ignore_index=IGNORE, reduction="sum")
    is_set = ~is_class & (codes != IGNORE)
    ambiguous = logits.movedim(1, -1)[is_set]  # [N, K]
    admitted = ambiguous.masked_fill(~admitted_classes(codes[is_set]), -torch.inf)
    total = total + (ambiguous.logsumexp(1) - admitted.logsumexp(1)).sum()
    return total / mean_over_processes((codes != IGNORE).sum().float()).clamp(min=1e-6)


class CodeFrequencies(nn.Module):
    """Running share of each label code among the pixels seen, for weights that let rare classes count.

    momentum: how much of the past is kept at each update.
    """

    shares: Tensor

    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("shares", torch.full((len(CODE_MEMBERS),), 1 / len(CODE_MEMBERS)))

    def update(self, codes: Tensor) -> None:
        """Take in the codes of a batch, int64 [B, H, W], of all processes."""
        counts = sum_over_processes(torch.bincount(codes[codes != IGNORE], minlength=len(self.shares))).float()
        if counts.sum() > 0:
            self.shares.lerp_(counts / counts.sum(), 1 - self.momentum)

    def weights(self, exponent: float) -> Tensor:
        """(mean share / share) to the power of `exponent`, at most 10, float [G]; 0 gives all the weight 1."""
        return (self.shares.mean() / self.shares.clamp(min=1e-6)).pow(exponent).clamp(max=10.0)


def segment_dice(log_probabilities: Tensor, codes: Tensor) -> Tensor:
    """One minus the soft dice overlap, averaged over an image's segments, so that a small one counts as much.

    A segment is all pixels of an image with the same code. Pixels that are no evidence for or against a code are left out
    of its overlap, see `is_evidence`. Shapes as for `code_cross_entropy`; over all processes too.
    Source: Milletari et al., "V-Net", 2016; smoothing 1 as in Mask2Former.
    """
    counted = codes != IGNORE
    num_codes = log_probabilities.shape[1]
    probabilities = log_probabilities.exp() * is_evidence(codes)
    truth = F.one_hot(codes.where(counted, num_codes), num_codes + 1)[..., :num_codes]  # [B, h, w, G]
    truth = truth.permute(0, 3, 1, 2).to(probabilities.dtype)
    with torch.autocast(codes.device.type, enabled=False):  # a sum over many pixels leaves half precision's range
        overlap = torch.einsum("bghw,bghw->bg", probabilities, truth)
    num_true = truth.sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probabilities.sum((2, 3)) + num_true + 1)
    occurs = num_true > 0
    return (dice * occurs).sum() / mean_over_processes(occurs.sum()).clamp(min=1e-6)


def resize_codes(codes: Tensor, size: tuple[int, int]) -> Tensor:
    """Label codes [B, H, W] at another size [B, h, w], by the nearest pixel."""
    return F.interpolate(codes[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
