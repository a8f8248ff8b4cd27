# SPDX-License-Identifier: Apache-2.0
"""The assembled network: shapes at any size, independence of the batch, and what the text decides."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vltseg_core.config import ImageEncoderConfig, VltsegConfig, preset
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.vltseg import Vltseg


def small_vit() -> VltsegConfig:
    """The paper's network with four narrow blocks."""
    config = preset("eva02_clip_l")
    encoder = ImageEncoderConfig(
        "vit", "EVA02-L-14", tapped_blocks=(0, 1, 2, 3), overrides={"embed_dim": 64, "depth": 4, "num_heads": 2}
    )
    pixel_decoder = dataclasses.replace(
        config.pixel_decoder, width=32, mask_width=32, num_layers=2, num_heads=4, ffn_width=64, num_groups=8
    )
    mask_decoder = dataclasses.replace(config.mask_decoder, num_queries=12, num_layers=3, num_heads=4, ffn_width=64)
    return dataclasses.replace(
        config, image_encoder=encoder, pixel_decoder=pixel_decoder, mask_decoder=mask_decoder, name="small"
    )


@pytest.fixture(scope="module")
def tiny() -> Vltseg:
    torch.manual_seed(0)
    network = Vltseg(preset("tiny"))
    network.class_embeddings.copy_(torch.randn(19, 384))
    return network.eval()


@pytest.fixture(scope="module")
def vit() -> Vltseg:
    torch.manual_seed(0)
    network = Vltseg(small_vit())
    network.class_embeddings.copy_(torch.randn(19, 768))
    return network.eval()


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (360, 480)])
def test_tiny_takes_any_size(tiny: Vltseg, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = tiny(torch.randn(2, 3, *size), with_score_map=True)
    scores = semantic_scores(output.predictions[-1], size)
    assert scores.shape == (2, 19, *size)
    assert torch.allclose(scores.sum(1), torch.ones(2, *size), atol=1e-5)
    assert output.score_map.shape[:2] == (2, 19) and output.score_map.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("size", [(224, 224), (112, 168), (131, 97)])
def test_a_vit_takes_any_size(vit: Vltseg, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = vit(torch.randn(1, 3, *size), with_score_map=True)
    patches = (-(-size[0] // 14), -(-size[1] // 14))
    assert output.score_map.shape == (1, 19, *patches)
    assert output.predictions[-1].mask_logits.shape == (1, 12, 4 * patches[0], 4 * patches[1])
    assert output.predictions[-1].class_logits.shape == (1, 12, 20)
    assert len(output.predictions) == 1
    assert semantic_scores(output.predictions[-1], size).shape == (1, 19, *size)


def test_tiny_has_at_most_six_million_parameters(tiny: Vltseg) -> None:
    assert sum(p.numel() for p in tiny.parameters()) <= 6e6


@pytest.mark.parametrize("name", ["tiny", "vit"])
def test_an_image_is_segmented_the_same_alone_and_in_a_batch(name: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(name)
    images = torch.randn(3, 3, 112, 140)
    with torch.inference_mode():
        together = network(images).predictions[-1].mask_logits
        alone = network(images[1:2]).predictions[-1].mask_logits
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_exchanged_class_texts_exchange_the_score_maps(tiny: Vltseg) -> None:
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = tiny(images, with_score_map=True).score_map
        tiny.class_embeddings[[0, 1]] = tiny.class_embeddings[[1, 0]]
        after = tiny(images, with_score_map=True).score_map
        tiny.class_embeddings[[0, 1]] = tiny.class_embeddings[[1, 0]]
    assert torch.allclose(before[:, [1, 0]], after[:, [0, 1]], atol=1e-6)


def test_inference_gives_training_s_final_prediction(tiny: Vltseg) -> None:
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        alone = tiny(images).predictions
        tiny.mask_decoder.train()
        supervised = tiny(images).predictions
        tiny.mask_decoder.eval()
    assert len(alone) == 1 and len(supervised) == 4
    assert torch.equal(alone[-1].mask_logits, supervised[-1].mask_logits)


def test_gradients_reach_every_parameter_but_the_text(vit: Vltseg) -> None:
    network = Vltseg(small_vit()).train()
    for layer in network.pixel_decoder.layers:  # they start at zero, which keeps gradients from what lies before
        torch.nn.init.normal_(layer.self_attention.sampling_offsets.weight)
        torch.nn.init.normal_(layer.self_attention.attention_weights.weight)
    network.class_embeddings.copy_(torch.randn(19, 768))
    output = network(torch.randn(2, 3, 112, 112), with_score_map=True)
    total = sum((p.mask_logits**2).mean() + (p.class_logits**2).mean() for p in output.predictions)
    (total + (output.score_map**2).mean()).backward()
    untouched = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The key's bias cancels in the softmax, so its gradient is zero but for rounding.
    assert [n for n in untouched if "key_proj.bias" not in n] == []
    assert "class_embeddings" not in dict(network.named_parameters())


def test_a_wrong_tower_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'resnet_of_mine' is no architecture of open_clip or timm"):
        Vltseg(dataclasses.replace(preset("tiny"), image_encoder=ImageEncoderConfig("conv", "resnet_of_mine")))
    with pytest.raises(ConfigurationError, match="'RN50' is no vision transformer known here: use one of EVA02-L-14"):
        Vltseg(dataclasses.replace(preset("eva02_clip_l"), image_encoder=ImageEncoderConfig("vit", "RN50")))
    taps = dataclasses.replace(small_vit().image_encoder, tapped_blocks=(0, 1, 2, 9))
    with pytest.raises(ConfigurationError, match="give 4 block numbers from 0 to 3"):
        Vltseg(dataclasses.replace(small_vit(), image_encoder=taps))
