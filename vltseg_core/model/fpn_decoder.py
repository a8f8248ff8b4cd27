# SPDX-License-Identifier: Apache-2.0
"""The semantic FPN on the pyramid, with the score map beside the stride-16 map, as DenseCLIP decodes.

Source: Rao et al., "DenseCLIP", 2022, section 3.3; Kirillov et al., "Panoptic Feature Pyramid Networks", 2019, section 3.
B batch, C_i channels of map i, K classes, H and W pixels.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork  # type: ignore[import-untyped]  # torchvision has no stubs

from vltseg_core.config import FpnDecoderConfig
from vltseg_core.model.upsampling import doubled

STRIDES = (4, 8, 16, 32)
_SCORE_MAP_LEVEL = 2


class FpnDecoder(nn.Module):
    """A top-down pyramid, then each level brought to the finest in steps of two, summed and classified.

    Args:
        config: widths. channels: C_i of the four maps, finest first. num_classes: K.
    """

    def __init__(self, config: FpnDecoderConfig, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.with_score_map = config.with_score_map
        added = num_classes if config.with_score_map else 0
        widths = [c + (added if level == _SCORE_MAP_LEVEL else 0) for level, c in enumerate(channels)]
        self.pyramid = FeaturePyramidNetwork(widths, config.width)
        self.scale_heads = nn.ModuleList(_ScaleHead(config.width, stride) for stride in STRIDES)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(config.width, num_classes, 1)

    def forward(self, feature_maps: tuple[Tensor, ...], score_map: Tensor | None) -> Tensor:
        """Four maps [B, C_i, H/s, W/s], finest first, and the score map [B, K, h, w], to class logits [B, K, H/4, W/4]."""
        maps = list(feature_maps)
        if self.with_score_map:
            assert score_map is not None  # the configuration says that there is one
            beside = maps[_SCORE_MAP_LEVEL]
            size = (beside.shape[-2], beside.shape[-1])
            resized = score_map if score_map.shape[-2:] == size else doubled(score_map, size)  # a tower's own is at stride 32
            maps[_SCORE_MAP_LEVEL] = torch.cat((beside, resized), dim=1)
        levels = self.pyramid(OrderedDict((str(i), m) for i, m in enumerate(maps))).values()
        size = (maps[0].shape[-2], maps[0].shape[-1])
        summed = torch.stack([head(level, size) for head, level in zip(self.scale_heads, levels, strict=True)]).sum(0)
        logits: Tensor = self.classifier(self.dropout(summed))
        return logits


class _ScaleHead(nn.Module):
    """3x3 convolutions, each followed by a doubling, until a level has the finest stride."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        num_steps = max(1, int(math.log2(stride / STRIDES[0])))
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for _ in range(num_steps)
        )

    def forward(self, level: Tensor, size: tuple[int, int]) -> Tensor:
        for step, conv in enumerate(self.convs):
            level = conv(level)
            is_last = step == len(self.convs) - 1
            target = size if is_last else (2 * level.shape[-2], 2 * level.shape[-1])
            if target != (level.shape[-2], level.shape[-1]):
                level = doubled(level, target)
        return level
