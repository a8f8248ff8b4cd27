# SPDX-License-Identifier: Apache-2.0
"""From the feature pyramid to mask features and multi-scale memory.

B batch, C channels, Cm mask channels, L levels, M heads, P points, N tokens of all levels together; levels run
from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vltseg_core.config import PixelDecoderConfig
from vltseg_core.model.attention import FeedForward, MultiHeadAttention
from vltseg_core.model.deformable_attention import MultiScaleDeformableAttention
from vltseg_core.model.linear import is_eager_cpu_inference
from vltseg_core.model.positions import sine_positions
from vltseg_core.model.upsampling import doubled

NUM_MEMORY_LEVELS = 3


class DecodedPixels(NamedTuple):
    """What a pixel decoder gives.

    mask_features: [B, Cm, H/4, W/4]; a query's product with them is its mask.
    memory: [B, C, h, w] for each of three levels, coarsest first; what the queries attend to.
    """

    mask_features: Tensor
    memory: tuple[Tensor, ...]


class _DeformableLayer(nn.Module):
    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        self.self_attention = MultiScaleDeformableAttention(config.width, config.num_heads, NUM_MEMORY_LEVELS, config.num_points)
        self.attention_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.ffn_width)
        self.feed_forward_norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor, positions: Tensor, points: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        tokens = self.attention_norm(tokens + self.self_attention(tokens + positions, tokens, points, sizes))
        return self.feed_forward_norm(tokens + self.feed_forward(tokens))


class DeformablePixelDecoder(nn.Module):
    """Mask2Former's pixel decoder: deformable attention over three levels, then one FPN step (Cheng et al., 2022)."""

    def __init__(self, config: PixelDecoderConfig, channels: tuple[int, ...]) -> None:
        super().__init__()
        width, groups = config.width, config.num_groups
        coarse_to_fine = channels[:0:-1]
        self.input_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), nn.GroupNorm(groups, width)) for c in coarse_to_fine
        )
        self.level_embedding = nn.Embedding(NUM_MEMORY_LEVELS, width)
        self.layers = nn.ModuleList(_DeformableLayer(config) for _ in range(config.num_layers))
        self.lateral_conv = nn.Sequential(nn.Conv2d(channels[0], width, 1, bias=False), nn.GroupNorm(groups, width))
        self.output_conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU(inplace=True)
        )
        self.mask_feature_conv = nn.Conv2d(width, config.mask_width, 1)

    def forward(self, feature_maps: Sequence[Tensor]) -> DecodedPixels:
        """Four maps, finest first, to mask features and memory. The maps of a list are taken out as they are used up."""
        remaining = feature_maps if isinstance(feature_maps, list) else list(feature_maps)
        finest = self.lateral_conv(remaining.pop(0))
        maps = [conv(remaining.pop()) for conv in self.input_convs]
        sizes = [(m.shape[-2], m.shape[-1]) for m in maps]
        tokens = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)  # [B, N, C]
        positions = torch.cat(
            [sine_positions(m).flatten(1).T + self.level_embedding.weight[i] for i, m in enumerate(maps)]
        )  # [N, C]
        points = torch.cat([_cell_centres(h, w, tokens.device) for h, w in sizes])
        for layer in self.layers:
            tokens = layer(tokens, positions, points, sizes)
        memory = tuple(
            level_tokens.transpose(1, 2).unflatten(2, size)
            for level_tokens, size in zip(tokens.split([h * w for h, w in sizes], dim=1), sizes, strict=True)
        )
        merged = _add_upsampled(finest, memory[-1])
        del finest  # as large as any map here
        return DecodedPixels(self.mask_feature_conv(self.output_conv(merged)), memory)


def _cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (x, y) of a grid's cells in 0..1, fp32 [height * width, 2]."""
    rows = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    columns = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.stack((columns.repeat(height), rows.repeat_interleave(width)), dim=-1)


class _SelfAttentionLayer(nn.Module):
    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.self_attention = MultiHeadAttention(config.width, config.num_heads)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, config.ffn_width)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        normed = self.attention_norm(tokens)
        tokens = tokens + self.self_attention(normed + positions, normed + positions, normed)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class _SeparableBlock(nn.Module):
    """Residual block: depthwise 5x5, then a pointwise bottleneck turned inside out."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, expansion * width, 1, bias=False),
            nn.BatchNorm2d(expansion * width),
            nn.ReLU(),
            nn.Conv2d(expansion * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map + self.residual(feature_map)


class FpnPixelDecoder(nn.Module):
    """For small networks: self-attention on the coarsest map alone (as RT-DETR's encoder), then an FPN downwards.

    The finest map, where a convolution costs most, is as narrow as the mask features.
    """

    def __init__(self, config: PixelDecoderConfig, channels: tuple[int, ...]) -> None:
        super().__init__()
        width, mask_width = config.width, config.mask_width
        finest, *coarser = channels
        self.lateral_convs = nn.ModuleList(_projection(c, width) for c in reversed(coarser))
        self.layers = nn.ModuleList(_SelfAttentionLayer(config) for _ in range(config.num_layers))
        self.blocks = nn.ModuleList(_SeparableBlock(width) for _ in coarser[1:])
        self.finest_lateral_conv = _projection(finest, mask_width)
        self.narrow_conv = _projection(width, mask_width)
        self.finest_block = _SeparableBlock(mask_width)
        self.mask_feature_conv = nn.Conv2d(mask_width, mask_width, 1)

    def forward(self, feature_maps: Sequence[Tensor]) -> DecodedPixels:
        """Four maps, finest first, to mask features and memory."""
        coarsest, *laterals = [conv(m) for conv, m in zip(self.lateral_convs, feature_maps[:0:-1], strict=True)]
        tokens = coarsest.flatten(2).transpose(1, 2)
        positions = sine_positions(coarsest).flatten(1).T
        for layer in self.layers:
            tokens = layer(tokens, positions)
        memory = [tokens.transpose(1, 2).reshape(coarsest.shape)]
        for lateral, block in zip(laterals, self.blocks, strict=True):
            memory.append(block(_add_upsampled(lateral, memory[-1])))
        finest = self.finest_lateral_conv(feature_maps[0])
        finest = self.finest_block(_add_upsampled(finest, self.narrow_conv(memory[-1])))
        return DecodedPixels(self.mask_feature_conv(finest), tuple(memory))


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))


def _add_upsampled(fine: Tensor, coarse: Tensor) -> Tensor:
    if is_eager_cpu_inference(fine):  # a level's part of all tokens is in no layout that torch knows, and slow
        coarse = coarse.clone(memory_format=torch.channels_last)
    size = (fine.shape[-2], fine.shape[-1])
    upsampled = doubled(coarse, size)
    is_part = size[0] % 2 or size[1] % 2  # of a larger map
    return upsampled + fine if is_part else upsampled.add_(fine)


PixelDecoder = DeformablePixelDecoder | FpnPixelDecoder


def build_pixel_decoder(config: PixelDecoderConfig, channels: tuple[int, ...]) -> PixelDecoder:
    """The pixel decoder of that configuration for maps of these channels, finest first."""
    if config.kind == "deformable":
        return DeformablePixelDecoder(config, channels)
    return FpnPixelDecoder(config, channels)
