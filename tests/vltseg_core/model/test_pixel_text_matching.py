# SPDX-License-Identifier: Apache-2.0
"""The score map is a cosine."""

from __future__ import annotations

import math

import torch

from vltseg_core.model.pixel_text_matching import score_map


def test_the_score_map_is_the_cosine_whatever_the_lengths() -> None:
    dense = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    text = torch.tensor([[0.5, 0.0], [0.0, 7.0], [2.0, 2.0], [-1.0, 0.0]])
    scores = score_map(dense, text).flatten()
    assert torch.allclose(scores, torch.tensor([1.0, 0.0, math.sqrt(0.5), -1.0]), atol=1e-6)
