# SPDX-License-Identifier: Apache-2.0
"""Label codes as tables: which classes a code admits, and for which codes a pixel is evidence.

G codes, K classes; codes are label codes (see `vltseg_core.data.labelled_images`).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from vltseg_core.data.labelled_images import CODE_MEMBERS
from vltseg_core.labels import CITYSCAPES, IGNORE


@functools.cache
def _admitted() -> Tensor:
    table = torch.zeros(len(CODE_MEMBERS), len(CITYSCAPES), dtype=torch.bool)
    for code, members in enumerate(CODE_MEMBERS):
        table[code, list(members)] = True
    return table


@functools.cache
def _is_evidence() -> Tensor:
    """[G + 1, G]: a pixel of its own code, or of one that shares no class with it; the last row is that of 255, all False."""
    admitted = _admitted().float()
    shares_a_class = admitted @ admitted.T > 0
    return torch.cat((~shares_a_class | torch.eye(len(CODE_MEMBERS), dtype=torch.bool), torch.zeros(1, len(CODE_MEMBERS)) > 0))


def admitted_classes(codes: Tensor) -> Tensor:
    """Whether each of the codes, int64 [N], admits each class: bool [N, K]."""
    return _admitted().to(codes.device)[codes]


def is_evidence(codes: Tensor) -> Tensor:
    """Whether the pixels, int64 [B, H, W], say anything of where each code is: bool [B, G, H, W].

    A pixel of unknown class says nothing. One whose code shares classes with another's (a car of one data set pasted beside
    "car, truck, bus or train" of another) may be either, so it is evidence for its own code, and none against the other.
    """
    table = _is_evidence().to(codes.device)
    return table[codes.where(codes != IGNORE, len(CODE_MEMBERS))].movedim(-1, 1)
