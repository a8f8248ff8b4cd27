# SPDX-License-Identifier: Apache-2.0
"""Masked attention: inside the mask only, everywhere where it is empty, in every precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch

from vltseg_core.config import MaskDecoderConfig, preset, varied
from vltseg_core.errors import ConfigurationError
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
@pytest.mark.parametrize(("queries", "class_masks"), [("learned", False), ("text", False), ("text", True)])
def test_small_masks_lead_to_the_masks_that_training_s_full_ones_lead_to(
    queries: Literal["learned", "text"],
    class_masks: bool,
    size: tuple[int, int],
    fidelity: Callable[[str, str, float], None],
) -> None:
    torch.manual_seed(0)
    config = MaskDecoderConfig(queries, num_queries=19, num_layers=6, num_heads=4, ffn_width=64, class_masks=class_masks)
    decoder = MaskDecoder(config, width=32, mask_width=16, num_classes=19, embedding_width=24)
    for parameter in decoder.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    memory = tuple(torch.randn(2, 32, -(-size[0] // s), -(-size[1] // s)) for s in (8, 4, 2))
    pixels, texts = DecodedPixels(torch.randn(2, 16, *size), memory), torch.randn(19, 24)
    expected = decoder.train()(pixels, texts)[-1]  # nothing in it is random
    found = decoder.eval()(pixels, texts)
    assert len(found) == 1
    difference = float((found[0].mask_logits - expected.mask_logits).abs().max() / expected.mask_logits.abs().max())
    fidelity(
        f"mask decoder at inference, {queries} queries{' and class masks' * class_masks}, {size[1]}x{size[0]}",
        "the decoder as trained",
        difference,
    )
    assert difference < 1e-4
    labels = [semantic_scores(p, (64, 96)).argmax(1) for p in (found[0], expected)]
    assert (labels[0] == labels[1]).float().mean() >= 0.9999


@torch.no_grad()
def test_class_masks_start_as_a_linear_classifier_of_the_pixels_to_which_the_image_s_own_part_comes() -> None:
    torch.manual_seed(0)
    config = MaskDecoderConfig("text", num_queries=19, num_layers=3, num_heads=4, ffn_width=64, class_masks=True)
    decoder = MaskDecoder(config, width=32, mask_width=16, num_classes=19, embedding_width=24).eval()
    memory = tuple(torch.randn(2, 32, -(-32 // s), -(-48 // s)) for s in (8, 4, 2))
    pixels, texts = DecodedPixels(torch.randn(2, 16, 32, 48), memory), torch.randn(19, 24)
    (first,) = decoder(pixels, texts)
    assert decoder.mask_embedding is not None
    of_class = torch.einsum("kc,bchw->bkhw", decoder.mask_embedding.weight, pixels.mask_features)
    assert torch.allclose(first.mask_logits, of_class, atol=1e-5)
    torch.nn.init.normal_(decoder.mask_head[-1].weight)
    (later,) = decoder(pixels, texts)
    own = later.mask_logits - of_class
    (other,) = decoder(pixels, texts.roll(1, dims=0))
    assert own.abs().mean() > 0.1 and not torch.allclose(other.mask_logits, later.mask_logits, atol=1e-3)


def test_learned_queries_have_no_class_masks() -> None:
    with pytest.raises(ConfigurationError, match="class_masks for queries that stand for no class"):
        varied(preset("eva02_clip_l"), {"mask_decoder": {"class_masks": True}})
