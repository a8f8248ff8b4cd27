# SPDX-License-Identifier: Apache-2.0
"""Which tower a name means; what is frozen does not move, and what is not does."""

from __future__ import annotations

import copy

import open_clip
import timm
import torch

from vltseg_core.config import PRESETS, ImageEncoderConfig, preset
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder
from vltseg_core.model.image_encoder import KNOWN_TOWERS, build_image_encoder


def test_frozen_stages_keep_weights_and_statistics() -> None:
    torch.manual_seed(0)
    encoder = ConvImageEncoder(preset("tiny").image_encoder)
    encoder.freeze_stages(2)
    encoder.train()
    before = copy.deepcopy(encoder.trunk.state_dict())
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    maps = encoder(torch.randn(2, 3, 64, 64)).feature_maps
    torch.stack([m.square().mean() for m in maps]).sum().backward()
    optimizer.step()
    changed = {name for name, value in encoder.trunk.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    assert not {name for name in changed if name.startswith(frozen)}
    assert {"blocks.2.0.conv_pw.weight", "blocks.2.0.bn1.running_mean", "blocks.6.0.bn3.weight"} <= changed


def test_the_towers_known_without_open_clip_are_those_that_it_has() -> None:
    for name, (timm_name, embedding_width) in KNOWN_TOWERS.items():
        clip = open_clip.get_model_config(name)
        assert timm_name in timm.list_models()
        assert embedding_width == (clip["embed_dim"] if clip else 0), name
        if clip and "timm_model_name" in clip["vision_cfg"]:
            assert timm_name == clip["vision_cfg"]["timm_model_name"]
    assert {config.image_encoder.model for config in PRESETS.values()} <= set(KNOWN_TOWERS)


def test_a_tower_that_only_open_clip_knows_is_found() -> None:
    with torch.device("meta"):
        encoder = build_image_encoder(ImageEncoderConfig("vit", "EVA02-E-14", (0, 1, 2, 3), overrides={"depth": 4}))
    assert encoder.embedding_width == 1024 and encoder.patch_px == 14
