# SPDX-License-Identifier: Apache-2.0
"""From class scores to labels and confidence. B batch, K classes, H and W pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from vltseg_core.errors import NonFiniteScoresError
from vltseg_core.model.semantic_map import BestClasses, best_classes
from vltseg_core.runtime.segmentation import Segmentation

_ADVICE = {
    "fp16": "its range is too small for this network, use fp32 or bf16",
    "bf16": "use fp32",
    "fp32": "the weights or the checkpoint's mean and std are wrong, try another checkpoint",
}


def labelled(scores: Tensor, precision: str) -> list[Segmentation]:
    """`labelled_best` of class scores [B, K, H, W]."""
    return labelled_best(best_classes(scores), precision)


def labelled_best(found: BestClasses, precision: str) -> list[Segmentation]:
    """The best classes of scores computed in that precision, as labels and confidence.

    Raises NonFiniteScoresError where a score is no finite number, for then the labels would be made up.
    """
    best, labels, totals = found  # [B, H, W]
    if not bool(best.sum().isfinite()):  # the maximum passes on NaN, and so does the sum, which costs less than a mask
        raise NonFiniteScoresError(f"the network's scores in precision {precision} are no finite numbers: {_ADVICE[precision]}")
    # Scores of learned queries need not sum to one; where they sum to less, little was found there at all.
    confidence_levels = (best / totals.clamp(min=1.0)).mul_(255).round_().to(torch.uint8)
    downloaded = torch.stack((labels.to(torch.uint8), confidence_levels)).cpu().numpy()  # [2, B, H, W], at once
    return [Segmentation(*pair) for pair in zip(*downloaded, strict=True)]
