# SPDX-License-Identifier: Apache-2.0
"""From a ViT's equally large maps to a pyramid: 4 times up, 2 times up, as it is, 2 times down."""

from __future__ import annotations

from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """The public VLTSeg network's pyramid over four tapped blocks (as in BEiT's segmentation head)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def double() -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)

        self.up4 = nn.Sequential(double(), nn.BatchNorm2d(channels), nn.GELU(), double())
        self.up2 = double()
        self.down2 = nn.MaxPool2d(kernel_size=2, stride=2)

    def forward(self, feature_maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Four maps [B, C, h, w] to [B, C, 4h, 4w], [B, C, 2h, 2w], [B, C, h, w] and [B, C, h/2, w/2]."""
        first, second, third, fourth = feature_maps
        return self.up4(first), self.up2(second), third, self.down2(fourth)
