# SPDX-License-Identifier: Apache-2.0
"""Towers whose maps grow coarser from stage to stage: timm's convolutional ones, and MobileCLIP's.

B batch, C_i channels of stage i, D width of CLIP's joint embedding, H and W image pixels, s_i the strides 4, 8, 16, 32.
"""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from vltseg_core.config import ImageEncoderConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.encoded_image import NUM_LEVELS, EncodedImage

STRIDES = (4, 8, 16, 32)


class ConvImageEncoder(nn.Module):
    """A convolutional tower of timm's. It has no joint embedding of its own."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        if config.model not in timm.list_models():
            raise ConfigurationError(f"'{config.model}' is no architecture of open_clip or timm {timm.__version__}")
        trunk: Any = timm.create_model(
            config.model, pretrained=False, features_only=True, drop_path_rate=config.drop_path, **config.overrides
        )
        self.trunk = trunk
        self.architecture = config.model
        self._frozen: list[nn.Module] = []
        strides = trunk.feature_info.reduction()
        if strides[-NUM_LEVELS:] != list(STRIDES):
            raise ConfigurationError(f"'{config.model}' gives maps at strides {strides}, not 4, 8, 16, 32: choose another")
        self.channels = tuple(trunk.feature_info.channels()[-NUM_LEVELS:])
        self.strides = STRIDES
        self.embedding_width = 0

    def freeze_stages(self, num_stages: int) -> None:
        """Keep the stem and the first stages as they are, normalisation statistics included; 0 freezes nothing."""
        if num_stages and not hasattr(self.trunk, "conv_stem"):
            raise ConfigurationError(f"'{self.architecture}' has no stem and stages that could be frozen: leave frozen_stages 0")
        self._frozen = [self.trunk.conv_stem, self.trunk.bn1, *self.trunk.blocks[:num_stages]] if num_stages else []
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ConvImageEncoder:
        """As for any module; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor, *, with_embedding: bool = True) -> EncodedImage:
        """Normalised images float [B, 3, H, W] to maps of [B, C_i, ceil(H/s_i), ceil(W/s_i)]."""
        del with_embedding
        return EncodedImage(tuple(self.trunk(images)[-NUM_LEVELS:]), None)


class MobileClipImageEncoder(nn.Module):
    """MobileCLIP's FastViT. Its joint embedding is dense before the pooling, which commutes with the projection.

    Source: Vasu et al., "MobileCLIP", 2024; Faghri et al., "MobileCLIP2", 2025.
    """

    def __init__(self, config: ImageEncoderConfig, *, timm_name: str, embedding_width: int) -> None:
        super().__init__()
        trunk: Any = timm.create_model(
            timm_name, pretrained=False, num_classes=embedding_width, drop_path_rate=config.drop_path, **config.overrides
        )
        self.trunk = trunk
        self.architecture = config.model
        self.channels = tuple(stage["num_chs"] for stage in trunk.feature_info)
        self.strides = STRIDES
        self.embedding_width = embedding_width if config.joint_embedding else 0
        if not self.embedding_width:
            trunk.final_conv, trunk.head = nn.Identity(), nn.Identity()

    def forward(self, images: Tensor, *, with_embedding: bool = True) -> EncodedImage:
        """Normalised images float [B, 3, H, W] to maps [B, C_i, ceil(H/s_i), ceil(W/s_i)], the embedding at stride 32."""
        feature_maps = tuple(self.trunk.forward_intermediates(images, intermediates_only=True))
        if not (with_embedding and self.embedding_width):
            return EncodedImage(feature_maps, None)
        dense = self.trunk.final_conv(feature_maps[-1]).permute(0, 2, 3, 1)
        return EncodedImage(feature_maps, self.trunk.head.fc(dense).permute(0, 3, 1, 2))
