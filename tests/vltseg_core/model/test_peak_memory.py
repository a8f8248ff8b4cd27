# SPDX-License-Identifier: Apache-2.0
"""The peak is what lives at once, and comes near to what an inference really takes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from vltseg_core.model.peak_memory import PeakMemory


def test_what_is_no_longer_needed_is_free_again() -> None:
    with torch.device("meta"), PeakMemory() as memory:
        kept = torch.empty(1000)  # 4,000 bytes
        for _ in range(5):
            passing = kept * 2
            passing = None  # noqa: F841  # freed here
        assert memory.peak_bytes == 8000
        view = kept.view(10, 100)[2:4]
        assert memory.peak_bytes == 8000 and view.shape == (2, 100)


def test_weights_and_their_views_count_nothing() -> None:
    with torch.device("meta"):
        weight, tokens = torch.empty(1000, 1000), torch.empty(10, 1000)
        with PeakMemory() as memory:
            F.linear(tokens, weight)
    assert memory.peak_bytes == 10 * 1000 * 4


def test_attention_counts_by_its_output() -> None:
    with torch.device("meta"):
        tokens = torch.empty(1, 4, 5000, 16)
        with PeakMemory() as memory:
            F.scaled_dot_product_attention(tokens, tokens, tokens)
    assert memory.peak_bytes == tokens.numel() * 4
