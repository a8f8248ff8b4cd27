# SPDX-License-Identifier: Apache-2.0
"""The semantic map made band by band is the one made whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vltseg_core.model import semantic_map
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.semantic_map import semantic_scores


@pytest.mark.parametrize("size", [(90, 160), (61, 47), (24, 32), (10, 12), (1, 1)])
def test_bands_give_the_same_scores_as_the_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, fidelity: Callable[[str, str, float], None]
) -> None:
    monkeypatch.setattr(semantic_map, "_BAND_VALUES", 2 * 20 * 7 * size[1])  # bands of seven rows
    torch.manual_seed(0)
    prediction = MaskPrediction(4 * torch.randn(2, 20, 24, 32), 3 * torch.randn(2, 20, 20))
    banded = semantic_scores(prediction, size)
    whole = semantic_scores(prediction, size, whole_masks=True)
    difference = float((banded - whole).abs().max() / whole.abs().max())
    fidelity(f"semantic map in bands, {size[1]}x{size[0]}", "all masks resized at once", difference)
    assert difference < 1e-5
    assert (banded.argmax(1) == whole.argmax(1)).float().mean() > 0.999


def test_the_definition_holds_at_a_pixel() -> None:
    torch.manual_seed(0)
    prediction = MaskPrediction(torch.randn(1, 5, 8, 8), torch.randn(1, 5, 4))
    scores = semantic_scores(prediction, (8, 8))
    classes = prediction.class_logits[0].softmax(-1)[:, :3]
    expected = (classes * prediction.mask_logits[0, :, 3, 6].sigmoid()[:, None]).sum(0)
    assert torch.allclose(scores[0, :, 3, 6], expected, atol=1e-6)
