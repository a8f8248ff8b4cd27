# SPDX-License-Identifier: Apache-2.0
"""Queries that join the image's tokens in the encoder's last blocks, so that no decoder is needed.

Source: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model" (EoMT), 2025.
B batch, Q queries, K classes, C channels, N tokens of a block, h and w patches.
"""

from __future__ import annotations

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.config import EncoderOnlyConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.vit_image_encoder import TokenGrid, VitImageEncoder

_NUM_DOUBLINGS = 2


class EncoderOnlyDecoder(nn.Module):
    """Runs a ViT whose last blocks see queries beside the patches, and reads masks off them.

    In training a query looks only at patches inside its last mask, in each of those blocks with a probability that
    `anneal` lowers from 1 to 0, the first block's first; at run time nothing is masked and only the final masks are made.

    Args:
        config: how many queries and blocks. encoder: the ViT; its last blocks are told how many tokens have no place in
            the image. num_classes: K.
    """

    mask_probabilities: Tensor

    def __init__(self, config: EncoderOnlyConfig, encoder: VitImageEncoder, num_classes: int) -> None:
        super().__init__()
        blocks = list(encoder.trunk.blocks)
        if not 0 < config.num_blocks < len(blocks):
            raise ConfigurationError(f"num_blocks {config.num_blocks} of {len(blocks)}: give 1 to {len(blocks) - 1}")
        width = encoder.channels[0]
        self.num_queries, self.num_joint_blocks = config.num_queries, config.num_blocks
        for block in blocks[-config.num_blocks :]:
            if hasattr(block.attn, "num_prefix_tokens"):  # EVA02 turns the patches alone by their rotary table
                block.attn.num_prefix_tokens = encoder.num_prefix_tokens + config.num_queries
        self.query_features = nn.Embedding(config.num_queries, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-6)
        self.class_head = nn.Linear(width, num_classes + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.upscale = nn.Sequential(*(_Doubling(width) for _ in range(_NUM_DOUBLINGS)))
        self.register_buffer("mask_probabilities", torch.ones(config.num_blocks))

    def forward(self, encoder: VitImageEncoder, images: Tensor) -> tuple[tuple[MaskPrediction, ...], Tensor]:
        """Normalised images [B, 3, H, W] to predictions, the final one last, and the last block's map [B, C, h, w]."""
        grid = encoder.embed_patches(images)
        num_blocks = len(encoder.trunk.blocks)
        first_joint = num_blocks - self.num_joint_blocks
        for index in range(first_joint):
            grid = encoder.run_block(index, grid)
        queries = self.query_features.weight.expand(len(images), -1, -1)
        grid = grid._replace(tokens=torch.cat((queries, grid.tokens), dim=1))
        num_before = self.num_queries + encoder.num_prefix_tokens
        predictions = []
        for joint, index in enumerate(range(first_joint, num_blocks)):
            mask = None
            if self.training:
                predictions.append(self._predict(grid, num_before))
                mask = self._attention_mask(predictions[-1].mask_logits, grid, num_before, self.mask_probabilities[joint])
            grid = encoder.run_block(index, grid, attention_mask=mask)
        predictions.append(self._predict(grid, num_before))
        return tuple(predictions), _patch_map(grid.tokens[:, num_before:], grid.size)

    def anneal(self, progress: float) -> None:
        """Set each block's probability of masking for training's progress in 0..1 (EoMT, section 3.3; power 0.9)."""
        steps = self.num_joint_blocks + 2
        for joint in range(self.num_joint_blocks):
            share = min(max(progress * steps - (joint + 1), 0.0), 1.0)
            self.mask_probabilities[joint] = (1 - share) ** 0.9

    def _predict(self, grid: TokenGrid, num_before: int) -> MaskPrediction:
        tokens = self.output_norm(grid.tokens)
        queries = tokens[:, : self.num_queries]
        pixels = self.upscale(_patch_map(tokens[:, num_before:], grid.size))
        return MaskPrediction(torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), pixels), self.class_head(queries))

    def _attention_mask(self, mask_logits: Tensor, grid: TokenGrid, num_before: int, probability: Tensor) -> Tensor:
        """Boolean [B, 1, N, N]: everything sees everything, but masked queries only patches inside their last mask."""
        batch_size, num_tokens = grid.tokens.shape[:2]
        inside = F.interpolate(mask_logits.detach(), size=grid.size, mode="bilinear", align_corners=False).flatten(2) > 0
        unmasked = torch.rand(batch_size, self.num_queries, 1, device=mask_logits.device) >= probability
        mask = torch.ones(batch_size, num_tokens, num_tokens, dtype=torch.bool, device=mask_logits.device)
        mask[:, : self.num_queries, num_before:] = inside | unmasked
        return mask[:, None]


class _Doubling(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            LayerNorm2d(width),
        )


def _patch_map(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Patch tokens [B, hw, C] as a map [B, C, h, w]."""
    return patches.transpose(1, 2).unflatten(2, size)
