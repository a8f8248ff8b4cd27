# SPDX-License-Identifier: Apache-2.0
"""Masked attention: inside the mask only, everywhere where it is empty, in every precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vltseg_core.config import MaskDecoderConfig
from vltseg_core.model.mask_decoder import MaskDecoder, _attention_mask
from vltseg_core.model.pixel_decoder import DecodedPixels
from vltseg_core.model.semantic_map import semantic_scores


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_query_attends_inside_its_mask_and_everywhere_where_it_is_empty(dtype: torch.dtype) -> None:
    mask_logits = torch.full((1, 2, 2, 2), -5.0, dtype=dtype)
    mask_logits[0, 0, 0, 0] = 5.0
    mask = _attention_mask(mask_logits)
    assert mask.dtype == dtype and torch.isfinite(mask).all()
    assert (mask[0, 0] == 0).tolist() == [True, False, False, False]
    assert (mask[0, 1] == 0).all()
    weights = mask.float().softmax(-1)
    assert weights[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0]


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 48), (31, 45)])
@pytest.mark.parametrize("queries", ["learned", "text"])
def test_small_masks_lead_to_the_masks_that_training_s_full_ones_lead_to(
    queries: str, size: tuple[int, int], fidelity: Callable[[str, str, float], None]
) -> None:
    torch.manual_seed(0)
    config = MaskDecoderConfig(queries, num_queries=19, num_layers=6, num_heads=4, ffn_width=64)
    decoder = MaskDecoder(config, width=32, mask_width=16, num_classes=19, embedding_width=24)
    for parameter in decoder.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    memory = tuple(torch.randn(2, 32, -(-size[0] // s), -(-size[1] // s)) for s in (8, 4, 2))
    pixels, texts = DecodedPixels(torch.randn(2, 16, *size), memory), torch.randn(19, 24)
    expected = decoder.train()(pixels, texts)[-1]  # nothing in it is random
    found = decoder.eval()(pixels, texts)
    assert len(found) == 1
    difference = float((found[0].mask_logits - expected.mask_logits).abs().max() / expected.mask_logits.abs().max())
    fidelity(f"mask decoder at inference, {queries} queries, {size[1]}x{size[0]}", "the decoder as trained", difference)
    assert difference < 1e-4
    labels = [semantic_scores(p, (64, 96)).argmax(1) for p in (found[0], expected)]
    assert (labels[0] == labels[1]).float().mean() >= 0.9999
