# SPDX-License-Identifier: Apache-2.0
"""Fixed sine position embedding of a feature map's grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_positions(feature_map: Tensor) -> Tensor:
    """Sine position embedding [C, h, w] for a feature map [B, C, h, w], in its device and dtype.

    The first half of the channels encodes the row, the second the column, each as interleaved sine and cosine of the
    coordinate scaled to 2 pi, temperature 10000 (Carion et al., "End-to-End Object Detection with Transformers", 2020).
    """
    _, channels, height, width = feature_map.shape
    num_frequencies = channels // 2
    index = torch.arange(num_frequencies, device=feature_map.device)
    periods = 10000.0 ** (2 * (index // 2) / num_frequencies)

    def encode(length: int) -> Tensor:  # [length, C/2]
        coordinates = torch.arange(1, length + 1, device=feature_map.device) / (length + 1e-6) * 2 * math.pi
        angles = coordinates[:, None] / periods
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)

    rows = encode(height)[:, None].expand(height, width, num_frequencies)
    columns = encode(width)[None].expand(height, width, num_frequencies)
    return torch.cat((rows, columns), dim=2).permute(2, 0, 1).to(feature_map.dtype)
