# SPDX-License-Identifier: Apache-2.0
"""Pixel decoder, mask decoder and loss compute what transformers' Mask2Former computes from the same weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.mask2former_weights import renamed
from vltseg_core.config import MaskDecoderConfig, PixelDecoderConfig
from vltseg_core.model.mask_decoder import MaskDecoder, MaskPrediction
from vltseg_core.model.pixel_decoder import DecodedPixels, DeformablePixelDecoder
from vltseg_core.training.mask2former_loss import Mask2FormerLoss, segments_of

mask2former = pytest.importorskip(
    "transformers.models.mask2former.modeling_mask2former", reason="transformers, the reference, is not installed (extra 'dev')"
)
from transformers import Mask2FormerConfig  # noqa: E402  # after the skip

WIDTH, NUM_CLASSES, NUM_QUERIES = 64, 19, 12
TOLERANCE = 1e-4
Note = Callable[[str, str, float], None]
REFERENCE = "transformers Mask2Former"


@pytest.fixture(scope="module")
def config() -> Mask2FormerConfig:
    return Mask2FormerConfig(
        feature_size=WIDTH, mask_feature_size=WIDTH, hidden_dim=WIDTH, encoder_feedforward_dim=128, dim_feedforward=128,
        num_attention_heads=4, encoder_layers=3, decoder_layers=7, num_queries=NUM_QUERIES, num_labels=NUM_CLASSES,
        dropout=0.0, train_num_points=500,
    )  # fmt: skip


def scrambled(module: nn.Module) -> nn.Module:
    """Weights of a size that lets every part matter, in evaluation mode."""
    torch.manual_seed(3)
    for name, parameter in module.named_parameters():
        if name == "level_embed":
            nn.init.normal_(parameter)  # it comes as the memory was, numbers or not
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def test_the_pixel_decoder_gives_the_reference_s_maps(
    config: Mask2FormerConfig, fidelity: Callable[[str, str, float], None]
) -> None:
    channels = (24, 32, 40, 48)
    theirs = scrambled(mask2former.Mask2FormerPixelDecoder(config, list(channels)))
    ours = DeformablePixelDecoder(
        PixelDecoderConfig("deformable", width=WIDTH, mask_width=WIDTH, num_layers=3, num_heads=4, ffn_width=128), channels
    ).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), ours))
    maps = [torch.randn(2, c, 80 // s, 112 // s) for c, s in zip(channels, (1, 2, 4, 8), strict=True)]
    expected = theirs(maps)
    found = ours(tuple(maps))
    differences = [relative_difference(found.mask_features, expected.mask_features)]
    differences += [relative_difference(*pair) for pair in zip(found.memory, expected.multi_scale_features, strict=True)]
    fidelity("pixel decoder", REFERENCE, max(differences))
    assert max(differences) < TOLERANCE


@torch.no_grad()
def test_the_mask_decoder_gives_the_reference_s_masks_after_every_layer(
    config: Mask2FormerConfig, fidelity: Callable[[str, str, float], None]
) -> None:
    theirs = scrambled(mask2former.Mask2FormerTransformerModule(in_features=WIDTH, config=config))
    class_head = scrambled(nn.Linear(WIDTH, NUM_CLASSES + 1))
    ours = MaskDecoder(
        MaskDecoderConfig("learned", num_queries=NUM_QUERIES, num_layers=6, num_heads=4, ffn_width=128),
        width=WIDTH, mask_width=WIDTH, num_classes=NUM_CLASSES, embedding_width=0,
    ).train()  # fmt: skip  # training mode gives every layer's prediction; there is no dropout
    converted = renamed(theirs.state_dict(), ours)
    ours.load_state_dict(converted | {f"class_head.{k}": v for k, v in class_head.state_dict().items()})
    memory = [torch.randn(2, WIDTH, *size) for size in ((5, 7), (10, 14), (20, 28))]
    mask_features = torch.randn(2, WIDTH, 40, 56)
    expected = theirs(memory, mask_features, output_hidden_states=True)
    found = ours(DecodedPixels(mask_features, tuple(memory)), None)
    assert len(found) == len(expected.masks_queries_logits) == 7
    differences = []
    for prediction, masks, states in zip(found, expected.masks_queries_logits, expected.intermediate_hidden_states, strict=True):
        differences.append(relative_difference(prediction.mask_logits, masks))
        differences.append(relative_difference(prediction.class_logits, class_head(states.transpose(0, 1))))
    fidelity("mask decoder, every layer", REFERENCE, max(differences))
    assert max(differences) < TOLERANCE


def random_predictions(num_layers: int, requires_grad: bool = False) -> list[MaskPrediction]:
    torch.manual_seed(7)
    return [
        MaskPrediction(
            (3 * torch.randn(2, NUM_QUERIES, 24, 32)).requires_grad_(requires_grad),
            torch.randn(2, NUM_QUERIES, NUM_CLASSES + 1).requires_grad_(requires_grad),
        )
        for _ in range(num_layers)
    ]


def labels_of_blocks() -> Tensor:
    """Blocks of classes, int64 [2, 96, 128]."""
    torch.manual_seed(9)
    blocks = torch.randint(0, NUM_CLASSES, (2, 1, 3, 4)).float()
    return nn.functional.interpolate(blocks, scale_factor=32)[:, 0].long()


def test_the_loss_and_its_gradients_are_the_reference_s(
    config: Mask2FormerConfig, fidelity: Callable[[str, str, float], None]
) -> None:
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    theirs = mask2former.Mask2FormerLoss(config, weight_dict=weights)
    predictions = random_predictions(3, requires_grad=True)
    segments = [segments_of(labels, NUM_CLASSES) for labels in labels_of_blocks()]
    *earlier, final = predictions
    torch.manual_seed(11)  # both draw their points in the same order
    expected = theirs(
        final.mask_logits, final.class_logits, [s.masks for s in segments], [s.codes for s in segments],
        [{"masks_queries_logits": p.mask_logits, "class_queries_logits": p.class_logits} for p in earlier],
    )  # fmt: skip
    total = {n: sum(v for k, v in expected.items() if k.startswith(f"loss_{n}")) for n in ("cross_entropy", "mask", "dice")}
    torch.manual_seed(11)
    found = Mask2FormerLoss(num_points=config.train_num_points)(predictions, segments)
    differences = []
    for ours, reference in (("class", "cross_entropy"), ("mask", "mask"), ("dice", "dice")):
        wanted = weights[f"loss_{reference}"] * total[reference].item()
        differences.append(abs(found[ours].item() - wanted) / wanted)
    fidelity("matching and loss", REFERENCE, max(differences))
    assert max(differences) < TOLERANCE
    leaves = [tensor for prediction in predictions for tensor in prediction]
    ours_gradients = torch.autograd.grad(sum(found.values()), leaves, retain_graph=True)
    reference_sum = sum(weights[f"loss_{n}"] * value for n, value in total.items())
    reference_gradients = torch.autograd.grad(reference_sum, leaves)
    differences = [relative_difference(*pair) for pair in zip(ours_gradients, reference_gradients, strict=True)]
    fidelity("gradients of the loss", REFERENCE, max(differences))
    assert max(differences) < TOLERANCE
