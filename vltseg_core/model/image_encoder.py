# SPDX-License-Identifier: Apache-2.0
"""Image towers of CLIP models, giving four feature maps and, for pixel-text matching, a dense CLIP embedding.

B batch, C channels, D width of CLIP's joint embedding, H and W image pixels, P patch side, h and w patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import open_clip
import timm
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.config import ImageEncoderConfig
from vltseg_core.errors import ConfigurationError

NUM_LEVELS = 4


class EncodedImage(NamedTuple):
    """What an image encoder gives.

    feature_maps: four maps. A convolutional tower's lie at strides 4, 8, 16, 32; a ViT's are equally large [B, C, h, w].
    dense_embedding: [B, D, h, w] in CLIP's joint space, or None where the tower has no such projection.
    """

    feature_maps: tuple[Tensor, ...]
    dense_embedding: Tensor | None


class VitImageEncoder(nn.Module):
    """A CLIP vision transformer, tapped after some of its blocks (VLTSeg, section 3.1; no norm on the tapped maps).

    The absolute position embedding is resized bicubically to the image's own grid and the rotary table built for it,
    so that any height and width can enter; an image is padded (right and below) to whole patches.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.trunk, projection_width = _build_vit(config)
        if len(config.tapped_blocks) != NUM_LEVELS or not all(0 <= b < len(self.trunk.blocks) for b in config.tapped_blocks):
            raise ConfigurationError(
                f"tapped_blocks {config.tapped_blocks} of '{config.model}': give {NUM_LEVELS} block numbers "
                f"from 0 to {len(self.trunk.blocks) - 1}"
            )
        self.tapped_blocks = config.tapped_blocks
        self.patch_px: int = self.trunk.patch_embed.patch_size[0]
        self.channels = (self.trunk.embed_dim,) * NUM_LEVELS
        self.strides = (self.patch_px,) * NUM_LEVELS
        self.embedding_width = projection_width

    def forward(self, images: Tensor, *, with_embedding: bool = True) -> EncodedImage:
        """Normalised images float [B, 3, H, W] to maps of [B, C, ceil(H/P), ceil(W/P)]."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.patch_px, 0, -height % self.patch_px))
        feature_maps: list[Tensor] = self.trunk.forward_intermediates(  # type: ignore[assignment]  # intermediates only
            images, indices=list(self.tapped_blocks), norm=False, stop_early=True, intermediates_only=True
        )
        if not (with_embedding and self.embedding_width):
            return EncodedImage(tuple(feature_maps), None)
        last = feature_maps[-1].permute(0, 2, 3, 1)
        tokens: Tensor = self.trunk.head(self.trunk.norm(last))  # [B, h, w, D]
        return EncodedImage(tuple(feature_maps), tokens.permute(0, 3, 1, 2))


def _build_vit(config: ImageEncoderConfig) -> tuple[Eva, int]:
    """A timm ViT without weights by its open_clip name, and the width of CLIP's joint embedding."""
    clip = open_clip.get_model_config(config.model)
    timm_name = (clip or {}).get("vision_cfg", {}).get("timm_model_name")
    if timm_name is None or not timm_name.startswith("eva02"):
        raise ConfigurationError(
            f"image encoder '{config.model}' is no EVA02-CLIP architecture of open_clip: use 'EVA02-L-14', "
            "'EVA02-L-14-336' or 'EVA02-B-16'"
        )
    trunk: Any = timm.create_model(
        timm_name,
        pretrained=False,
        dynamic_img_size=True,
        img_size=config.trained_size,
        num_classes=clip["embed_dim"],
        drop_path_rate=config.drop_path,
        scale_attn_inner=config.attention_inner_norm,
        **config.overrides,
    )
    if config.joint_embedding:
        return trunk, clip["embed_dim"]
    trunk.norm, trunk.head = nn.Identity(), nn.Identity()
    return trunk, 0


class ConvImageEncoder(nn.Module):
    """A convolutional tower of timm's: maps at strides 4, 8, 16 and 32. It has no joint embedding of its own."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        if config.model not in timm.list_models():
            raise ConfigurationError(f"'{config.model}' is no architecture of timm {timm.__version__}")
        trunk: Any = timm.create_model(
            config.model, pretrained=False, features_only=True, drop_path_rate=config.drop_path, **config.overrides
        )
        self.trunk = trunk
        self.architecture = config.model
        self._frozen: list[nn.Module] = []
        strides = trunk.feature_info.reduction()
        if strides[-NUM_LEVELS:] != [4, 8, 16, 32]:
            raise ConfigurationError(f"'{config.model}' gives maps at strides {strides}, not 4, 8, 16, 32: choose another")
        self.channels = tuple(trunk.feature_info.channels()[-NUM_LEVELS:])
        self.strides = (4, 8, 16, 32)
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


ImageEncoder = VitImageEncoder | ConvImageEncoder


def build_image_encoder(config: ImageEncoderConfig) -> ImageEncoder:
    """The image encoder of that configuration, with random weights."""
    return VitImageEncoder(config) if config.kind == "vit" else ConvImageEncoder(config)
