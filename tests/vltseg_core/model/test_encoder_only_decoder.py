# SPDX-License-Identifier: Apache-2.0
"""The encoder-only decoder computes what transformers' EoMT computes from the same weights, masked and unmasked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vltseg_core.config import EncoderOnlyConfig, ImageEncoderConfig, VltsegConfig, preset
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.encoder_only_decoder import EncoderOnlyDecoder
from vltseg_core.model.image_encoder import build_image_encoder
from vltseg_core.model.vit_image_encoder import VitImageEncoder
from vltseg_core.model.vltseg import Vltseg

WIDTH, DEPTH, NUM_QUERIES, NUM_CLASSES = 48, 6, 7, 19
RENAMINGS = (
    (r"^embeddings\.patch_embeddings\.projection\.", "encoder.patch_embed.proj."),
    (r"^embeddings\.cls_token$", "encoder.cls_token"),
    (r"^embeddings\.register_tokens$", "encoder.reg_token"),
    (r"^layers\.(\d+)\.attention\.out_proj\.", r"encoder.blocks.\1.attn.proj."),
    (r"^layers\.(\d+)\.layer_scale(\d)\.lambda1$", r"encoder.blocks.\1.ls\2.gamma"),
    (r"^layers\.", "encoder.blocks."),
    (r"^layernorm\.", "decoder.output_norm."),
    (r"^query\.", "decoder.query_features."),
    (r"^class_predictor\.", "decoder.class_head."),
    (r"^mask_head\.fc(\d)\.", lambda m: f"decoder.mask_head.{2 * int(m[1]) - 2}."),
    (r"^upscale_block\.block\.(\d)\.conv1\.", r"decoder.upscale.\1.0."),
    (r"^upscale_block\.block\.(\d)\.conv2\.", r"decoder.upscale.\1.2."),
    (r"^upscale_block\.block\.(\d)\.layernorm2d\.", r"decoder.upscale.\1.3."),
)


def reference() -> Any:
    eomt = pytest.importorskip("transformers.models.eomt", reason="transformers, the reference, is not installed (extra 'dev')")
    config = eomt.EomtConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=4, image_size=96, patch_size=16, num_blocks=3,
        num_queries=NUM_QUERIES, num_labels=NUM_CLASSES, num_upscale_blocks=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = eomt.EomtForUniversalSegmentation(config).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network


def from_reference(state: dict[str, torch.Tensor]) -> tuple[VitImageEncoder, EncoderOnlyDecoder]:
    config = ImageEncoderConfig(
        "vit", "deit3_base_patch16_224", (2, 3, 4, 5), joint_embedding=False, trained_size=96,
        overrides={"embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "reg_tokens": 4},
    )  # fmt: skip
    encoder = build_image_encoder(config).eval()
    decoder = EncoderOnlyDecoder(EncoderOnlyConfig(NUM_QUERIES, num_blocks=3), encoder, NUM_CLASSES).eval()
    parts: dict[str, dict[str, torch.Tensor]] = {"encoder": {}, "decoder": {}}
    for key, value in state.items():
        name = key
        for pattern, replacement in RENAMINGS:
            name = re.sub(pattern, replacement, name)
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = value
    parts["encoder"]["pos_embed"] = state["embeddings.position_embeddings.weight"][None]
    for block in range(DEPTH):
        for kind in ("weight", "bias"):
            split = [parts["encoder"].pop(f"blocks.{block}.attention.{role}_proj.{kind}") for role in "qkv"]
            parts["encoder"][f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(split)
    parts["decoder"]["mask_probabilities"] = torch.ones(3)
    encoder.trunk.load_state_dict(parts["encoder"])
    decoder.load_state_dict(parts["decoder"])
    return encoder, decoder


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_masks_and_classes_are_the_reference_s(masked: bool, fidelity: Callable[[str, str, float], None]) -> None:
    theirs = reference()
    encoder, decoder = from_reference(theirs.state_dict())
    theirs.attn_mask_probs.fill_(1.0 if masked else 0.0)
    decoder.train(masked)
    images = torch.randn(2, 3, 96, 96)
    expected = theirs(images)
    predictions, _ = decoder(encoder, images)
    assert len(predictions) == (4 if masked else 1)
    differences = [
        float((found - wanted).abs().max() / wanted.abs().max())
        for found, wanted in (
            (predictions[-1].mask_logits, expected.masks_queries_logits),
            (predictions[-1].class_logits, expected.class_queries_logits),
        )
    ]
    fidelity(f"encoder-only decoder, {'masked as in training' if masked else 'unmasked'}", "transformers EoMT", max(differences))
    assert max(differences) < 1e-4


def test_masking_is_annealed_block_by_block() -> None:
    _, decoder = from_reference(reference().state_dict())
    seen = []
    for progress in (0.0, 0.3, 0.5, 0.7, 1.0):
        decoder.anneal(progress)
        seen.append(decoder.mask_probabilities.tolist())
    assert seen[0] == [1, 1, 1] and seen[-1] == [0, 0, 0]
    assert seen[1] == pytest.approx([0.5**0.9, 1, 1])  # three blocks, so the first one's fall is from 0.2 to 0.4
    assert all(earlier <= later for step in seen for earlier, later in zip(step, step[1:], strict=False))


@torch.no_grad()
def test_with_probability_0_training_masks_nothing() -> None:
    encoder, decoder = from_reference(reference().state_dict())
    images = torch.randn(2, 3, 96, 96)
    unmasked = decoder(encoder, images)[0][-1]
    decoder.train()
    masked = decoder(encoder, images)[0][-1]
    decoder.anneal(1.0)
    annealed = decoder(encoder, images)[0][-1]
    assert torch.allclose(annealed.mask_logits, unmasked.mask_logits, atol=1e-4)
    assert torch.allclose(annealed.class_logits, unmasked.class_logits, atol=1e-4)
    assert not torch.allclose(masked.mask_logits, unmasked.mask_logits, atol=1e-2)


def rotary_network() -> Vltseg:
    fields = preset("eva02_clip_l_encoder_only").to_dict()
    fields["image_encoder"] |= {
        "tapped_blocks": [0, 1, 2, 3], "overrides": {"embed_dim": 48, "depth": 4, "num_heads": 2}, "model": "EVA02-B-16",
    }  # fmt: skip
    fields |= {"name": "small", "encoder_only": {"num_queries": 5, "num_blocks": 2}, "pixel_text": {"embedding_width": 512}}
    torch.manual_seed(0)
    return Vltseg(VltsegConfig.from_dict(fields)).eval()


@torch.no_grad()
def test_queries_have_no_place_in_the_rotary_table() -> None:
    network = rotary_network()
    assert network.encoder_only_decoder is not None
    images = torch.randn(1, 3, 64, 96)
    before = network(images).predictions[-1]
    order = torch.tensor([3, 1, 4, 0, 2])
    network.encoder_only_decoder.query_features.weight.copy_(network.encoder_only_decoder.query_features.weight[order])
    after = network(images).predictions[-1]
    assert torch.allclose(after.mask_logits, before.mask_logits[:, order], atol=1e-5)


@torch.no_grad()
def test_any_size_can_enter_and_the_score_map_is_there() -> None:
    output = rotary_network()(torch.randn(1, 3, 75, 130), with_score_map=True)
    assert output.predictions[-1].mask_logits.shape == (1, 5, 20, 36)
    assert output.score_map is not None and output.score_map.shape == (1, 19, 5, 9)


def test_a_number_of_blocks_that_leaves_none_is_refused() -> None:
    encoder = rotary_network().image_encoder
    with pytest.raises(ConfigurationError, match="num_blocks 4 of 4: give 1 to 3"):
        EncoderOnlyDecoder(EncoderOnlyConfig(5, num_blocks=4), encoder, NUM_CLASSES)
