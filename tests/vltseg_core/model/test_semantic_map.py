# SPDX-License-Identifier: Apache-2.0
"""The semantic map made band by band is the one made whole, with a fraction of the memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from vltseg_core.config import preset
from vltseg_core.model import semantic_map
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.peak_memory import PeakMemory
from vltseg_core.model.semantic_map import best_classes, semantic_best, semantic_scores
from vltseg_core.model.vltseg import Vltseg


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


def smooth_prediction(size: tuple[int, int]) -> MaskPrediction:
    """Masks [1, 100, h, w] of a stride-4 map as smooth as real ones, every class the best somewhere."""
    torch.manual_seed(0)
    masks = F.interpolate(6 * torch.randn(1, 100, 9, 16), (size[0] // 4, size[1] // 4), mode="bicubic")
    votes = 6.0 * F.one_hot(torch.arange(100) % 19, 20)[None] + torch.randn(1, 100, 20)
    return MaskPrediction(masks, votes)


def test_bands_give_the_labels_of_the_whole_where_many_classes_compete() -> None:
    size = (540, 960)
    prediction = smooth_prediction(size)
    banded, whole = (semantic_scores(prediction, size, whole_masks=w).argmax(1) for w in (False, True))
    shares = whole.flatten().bincount(minlength=19) / whole.numel()
    assert shares.min() > 0.002 and shares.max() < 0.2
    assert (banded == whole).float().mean() >= 0.999


@pytest.mark.parametrize("size", [(61, 47), (96, 128), (48, 47), (72, 96), (24, 32), (10, 12)])
@pytest.mark.parametrize("with_classes", [True, False])
@pytest.mark.parametrize("band_rows", [9, 3])  # of masks with four times the rows, two gaps between rows, and no whole one
def test_labels_without_all_scores_are_the_labels_of_all_scores(
    with_classes: bool, band_rows: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic_map, "_BAND_VALUES", 2 * 20 * band_rows * size[1])
    torch.manual_seed(0)
    prediction = MaskPrediction(4 * torch.randn(2, 20, 24, 32), 3 * torch.randn(2, 20, 20) if with_classes else None)
    found, expected = semantic_best(prediction, size), best_classes(semantic_scores(prediction, size, whole_masks=True))
    assert torch.allclose(found.scores, expected.scores, atol=1e-5) and torch.allclose(found.totals, expected.totals, atol=1e-4)
    assert (found.labels == expected.labels).float().mean() > 0.999
    assert len(expected.labels.unique()) > 10


def test_the_first_of_equal_classes_is_the_label() -> None:
    scores = torch.tensor([0.1, 0.4, 0.1, 0.4])[None, :, None, None].repeat(2, 1, 3, 5)
    found = best_classes(scores)
    assert (found.labels == 1).all() and found.labels.dtype == torch.int64
    assert torch.allclose(found.scores, torch.full((2, 3, 5), 0.4)) and torch.allclose(found.totals, torch.ones(2, 3, 5))


def test_classes_that_lie_last_in_memory_are_labelled_alike() -> None:
    scores = torch.rand(2, 19, 6, 7)
    assert torch.equal(best_classes(scores).labels, best_classes(scores.to(memory_format=torch.channels_last)).labels)


def test_more_classes_than_a_byte_counts_are_labelled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic_map, "_BAND_VALUES", 300 * 6 * 3)  # bands of three rows
    scores = torch.rand(1, 300, 4, 6)
    found = best_classes(scores)
    assert torch.equal(found.labels, scores.argmax(1)) and found.labels.max() > 255


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_text_query_s_mask_that_is_no_number_is_seen_in_the_best_score(value: float) -> None:
    masks = torch.randn(1, 19, 8, 8)
    masks[0, 7, 3, 4] = value
    assert not semantic_best(MaskPrediction(masks, None), (32, 32)).scores.sum().isfinite()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_mask_that_is_no_number_is_seen_in_the_best_score(value: float) -> None:
    prediction = MaskPrediction(torch.randn(1, 5, 8, 8), torch.randn(1, 5, 4))
    prediction.class_logits[0, 2, 1] = value
    assert not semantic_best(prediction, (32, 32)).scores.sum().isfinite()


def test_labels_without_all_scores_take_less_memory() -> None:
    with torch.device("meta"), torch.no_grad():
        prediction = MaskPrediction(torch.empty(1, 100, 270, 480), torch.empty(1, 100, 20))
        peaks = []
        for way in (semantic_scores, semantic_best):
            with PeakMemory() as memory:
                way(prediction, (1080, 1920))
            peaks.append(memory.peak_bytes)
    assert peaks[1] < 0.7 * peaks[0]


def peak_bytes(prediction_of: Callable[[], MaskPrediction], whole_masks: bool) -> int:
    with torch.device("meta"), torch.no_grad(), PeakMemory() as memory:
        semantic_scores(prediction_of(), (1080, 1920), whole_masks=whole_masks)
    return memory.peak_bytes


def test_bands_of_100_masks_at_1080p_take_a_fraction_of_the_memory() -> None:
    with torch.device("meta"):
        prediction = MaskPrediction(torch.empty(1, 100, 270, 480), torch.empty(1, 100, 20))
    banded, whole = (peak_bytes(lambda: prediction, w) for w in (False, True))
    assert whole > 2 * 100 * 1080 * 1920 * 4  # resized masks, and their sigmoids
    assert banded < 0.15 * whole


def test_a_whole_inference_at_1080p_takes_half_above_the_loaded_network() -> None:
    with torch.device("meta"):
        network = Vltseg(preset("eva02_clip_l")).eval()
        fold_for_inference(network)
        image = torch.empty(1, 3, 1080, 1920)
    banded, whole = (peak_bytes(lambda: network(image).predictions[-1], w) for w in (False, True))
    assert banded <= 0.5 * whole
