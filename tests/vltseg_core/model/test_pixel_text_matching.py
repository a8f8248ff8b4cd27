# SPDX-License-Identifier: Apache-2.0
"""The score map is a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from vltseg_core.model.pixel_text_matching import score_map


def test_the_score_map_is_the_cosine_whatever_the_lengths() -> None:
    dense = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    text = torch.tensor([[0.5, 0.0], [0.0, 7.0], [2.0, 2.0], [-1.0, 0.0]])
    scores = score_map(dense, text).flatten()
    assert torch.allclose(scores, torch.tensor([1.0, 0.0, math.sqrt(0.5), -1.0]), atol=1e-6)


def test_it_is_the_library_s_cosine_of_every_pair(fidelity: Callable[[str, str, float], None]) -> None:
    torch.manual_seed(0)
    dense, texts = torch.randn(2, 16, 5, 7), torch.randn(19, 16)
    expected = F.cosine_similarity(dense[:, None], texts[None, :, :, None, None], dim=2)
    difference = float((score_map(dense, texts) - expected).abs().max() / expected.abs().max())
    fidelity("score map", "torch cosine_similarity", difference)
    assert difference < 1e-5
