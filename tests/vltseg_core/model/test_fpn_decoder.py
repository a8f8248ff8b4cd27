# SPDX-License-Identifier: Apache-2.0
"""The semantic FPN: the definition at its parts, and the score map's way into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from vltseg_core.config import FpnDecoderConfig, ImageEncoderConfig, VltsegConfig, preset
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.fpn_decoder import FpnDecoder
from vltseg_core.model.vltseg import Vltseg

CHANNELS = (8, 12, 16, 20)


def maps(size: tuple[int, int] = (40, 56)) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return tuple(torch.randn(2, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip(CHANNELS, (1, 2, 4, 8), strict=True))


def decoder(with_score_map: bool = True) -> FpnDecoder:
    torch.manual_seed(0)
    return FpnDecoder(FpnDecoderConfig(width=24, with_score_map=with_score_map), CHANNELS, num_classes=5).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 56), (41, 55)])
def test_logits_have_the_finest_map_s_size(size: tuple[int, int]) -> None:
    assert decoder()(maps(size), torch.randn(2, 5, 7, 9)).shape == (2, 5, *size)


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 56), (41, 55)])
def test_it_computes_the_definition(size: tuple[int, int], fidelity: Callable[[str, str, float], None]) -> None:
    fpn, feature_maps = decoder(with_score_map=False), maps(size)
    laterals = [fpn.pyramid.inner_blocks[i](m) for i, m in enumerate(feature_maps)]
    for fine, coarse in ((2, 3), (1, 2), (0, 1)):
        laterals[fine] = laterals[fine] + F.interpolate(laterals[coarse], size=laterals[fine].shape[-2:], mode="nearest")
    levels = [fpn.pyramid.layer_blocks[i](m) for i, m in enumerate(laterals)]
    total = fpn.scale_heads[0].convs[0](levels[0])
    for i in (1, 2, 3):
        scaled = levels[i]
        for conv in fpn.scale_heads[i].convs:
            scaled = F.interpolate(conv(scaled), scale_factor=2, mode="bilinear")
        total = total + scaled[..., : size[0], : size[1]]  # eight places of the finest map to one of the coarsest
    assert [len(head.convs) for head in fpn.scale_heads] == [1, 1, 2, 3]
    expected = fpn.classifier(total)
    difference = float((fpn(feature_maps, None) - expected).abs().max() / expected.abs().max())
    fidelity(f"semantic FPN, {size[1]}x{size[0]}", "its definition, step by step (no other code at hand)", difference)
    assert difference < 1e-5


def test_the_score_map_lies_beside_the_map_of_stride_16() -> None:
    inputs = [conv[0].in_channels for conv in decoder().pyramid.inner_blocks]
    assert inputs == [8, 12, 16 + 5, 20]


def test_the_score_map_enters_and_is_trained_through() -> None:
    score_map = torch.randn(2, 5, 10, 14, requires_grad=True)
    decoder()(maps(), score_map).sum().backward()
    assert score_map.grad is not None and float(score_map.grad.abs().max()) > 0


def test_a_tower_without_a_joint_embedding_cannot_feed_it() -> None:
    tower = ImageEncoderConfig("conv", "efficientnet_lite0")
    config = dataclasses.replace(
        preset("tiny"), image_encoder=tower, pixel_decoder=None, mask_decoder=None, fpn_decoder=FpnDecoderConfig()
    )
    with pytest.raises(ConfigurationError, match="'efficientnet_lite0' has no joint embedding with text"):
        Vltseg(config)
    plain = dataclasses.replace(config, pixel_text=None, fpn_decoder=FpnDecoderConfig(with_score_map=False))
    with torch.no_grad():
        assert Vltseg(plain).eval()(torch.randn(1, 3, 64, 96)).predictions[-1].mask_logits.shape == (1, 19, 16, 24)


def test_one_decoder_and_no_more() -> None:
    with pytest.raises(ConfigurationError, match="has 2 decoders"):
        dataclasses.replace(preset("tiny"), fpn_decoder=FpnDecoderConfig())
    with pytest.raises(ConfigurationError, match="has 0 decoders"):
        VltsegConfig("none", ImageEncoderConfig("conv", "efficientnet_lite0"))
    with pytest.raises(ConfigurationError, match="only one of pixel_decoder and mask_decoder"):
        dataclasses.replace(preset("tiny"), pixel_decoder=None)
