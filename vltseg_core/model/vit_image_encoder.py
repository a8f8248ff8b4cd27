# SPDX-License-Identifier: Apache-2.0
"""Vision transformers: EVA02-CLIP's, OpenAI CLIP's and DeiT-3.

B batch, C channels, D width of CLIP's joint embedding, N tokens, H and W image pixels, P patch side, h and w patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import timm
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.config import ImageEncoderConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.encoded_image import NUM_LEVELS, EncodedImage


class TokenGrid(NamedTuple):
    """An image on its way through the blocks.

    tokens: class token, then patches row by row, [B, N, C]. rotary: EVA02's rotary table for the grid, else None.
    size: the grid (h, w).
    """

    tokens: Tensor
    rotary: Tensor | None
    size: tuple[int, int]


class VitImageEncoder(nn.Module):
    """A vision transformer, tapped after some of its blocks (VLTSeg, section 3.1; no norm on the tapped maps).

    The absolute position embedding is resized to the image's own grid and the rotary table built for it, so that any
    height and width can enter. Resized bicubically with antialiasing, as timm does it, when weights are loaded and when an
    image enters: a grid that grows is plain bicubic's but for rounding, one that shrinks keeps its mean.

    Args:
        config: which tower. timm_name: its architecture in timm. embedding_width: D, 0 where it has no joint space.
    """

    def __init__(self, config: ImageEncoderConfig, *, timm_name: str, embedding_width: int) -> None:
        super().__init__()
        self.embedding_width = embedding_width if config.joint_embedding else 0
        self.trunk = _build_trunk(config, timm_name, embedding_width)
        num_blocks = len(self.trunk.blocks)
        if len(config.tapped_blocks) != NUM_LEVELS or not all(0 <= b < num_blocks for b in config.tapped_blocks):
            raise ConfigurationError(
                f"tapped_blocks {config.tapped_blocks} of '{config.model}': give {NUM_LEVELS} block numbers "
                f"from 0 to {num_blocks - 1}"
            )
        if not self.embedding_width:
            self.trunk.norm, self.trunk.head = nn.Identity(), nn.Identity()
        self.architecture = config.model
        self.tapped_blocks = config.tapped_blocks
        self.partial_patches = config.partial_patches
        self.patch_px: int = self.trunk.patch_embed.patch_size[0]
        self.channels = (self.trunk.embed_dim,) * NUM_LEVELS
        self.strides = (self.patch_px,) * NUM_LEVELS

    def forward(self, images: Tensor, *, with_embedding: bool = True) -> EncodedImage:
        """Normalised images float [B, 3, H, W] to maps of [B, C, h, w], h and w being H / P and W / P, rounded up.

        They are rounded down where the encoder drops partial patches.
        """
        blocks = sorted(set(self.tapped_blocks))  # a tower of fewer blocks than levels gives some of its maps twice
        maps: list[Tensor] = self.trunk.forward_intermediates(  # type: ignore[assignment]  # intermediates only
            self.whole_patches(images), indices=blocks, norm=False, stop_early=True, intermediates_only=True
        )
        feature_maps = [maps[blocks.index(block)] for block in self.tapped_blocks]
        if not (with_embedding and self.embedding_width):
            return EncodedImage(tuple(feature_maps), None)
        return EncodedImage(tuple(feature_maps), self.joint_embedding(feature_maps[-1]))

    def joint_embedding(self, feature_map: Tensor) -> Tensor:
        """The last block's map [B, C, h, w] in CLIP's joint space [B, D, h, w]."""
        tokens: Tensor = self.trunk.head(self.trunk.norm(feature_map.permute(0, 2, 3, 1)))  # [B, h, w, D]
        return tokens.permute(0, 3, 1, 2)

    def whole_patches(self, images: Tensor) -> Tensor:
        """Images whose sides are multiples of the patch: resized up, or, where partial patches are dropped, cut.

        Two patches a side are the least, which the pyramid's halving needs.
        """
        height, width = images.shape[-2:]
        patch_px = self.patch_px
        if self.partial_patches == "drop" and min(height, width) >= 2 * patch_px:
            return images[..., : height - height % patch_px, : width - width % patch_px]
        size = (max(2, -(-height // patch_px)) * patch_px, max(2, -(-width // patch_px)) * patch_px)
        return images if size == (height, width) else F.interpolate(images, size, mode="bilinear", align_corners=False)

    def embed_patches(self, images: Tensor) -> TokenGrid:
        """Normalised images to the tokens that enter the first block."""
        trunk: Any = self.trunk
        patches = trunk.patch_embed(self.whole_patches(images))  # [B, h, w, C]
        positioned = trunk._pos_embed(patches)
        tokens, rotary = positioned if isinstance(trunk, Eva) else (positioned, None)
        return TokenGrid(trunk.norm_pre(tokens), rotary, (patches.shape[1], patches.shape[2]))

    def run_block(self, index: int, grid: TokenGrid, *, attention_mask: Tensor | None = None) -> TokenGrid:
        """One block on; the mask, boolean [B, 1, N, N], is True where a token may look."""
        block: Any = self.trunk.blocks[index]
        keywords = {"rope": grid.rotary} if isinstance(self.trunk, Eva) else {}
        return grid._replace(tokens=block(grid.tokens, attn_mask=attention_mask, **keywords))

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens in front of the patches."""
        return self.trunk.num_prefix_tokens


def _build_trunk(config: ImageEncoderConfig, timm_name: str, embedding_width: int) -> Eva | VisionTransformer:
    keywords: dict[str, Any] = {"scale_attn_inner": config.attention_inner_norm} if timm_name.startswith("eva02") else {}
    trunk: Any = timm.create_model(
        timm_name,
        pretrained=False,
        dynamic_img_size=True,
        img_size=config.trained_size,
        num_classes=embedding_width if config.joint_embedding else 0,
        drop_path_rate=config.drop_path,
        **keywords,
        **config.overrides,
    )
    return trunk
