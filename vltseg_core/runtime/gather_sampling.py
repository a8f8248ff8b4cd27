# SPDX-License-Identifier: Apache-2.0
"""Bilinear sampling by index, in place of `grid_sample`.

GridSample inside deformable attention is reported silently wrong on TensorRT 10.14 and 11.1 (NVIDIA/TensorRT issue 4813).
B batch, C channels, N sampling points (of any grid [B, h, w, 2]), H and W places of the sampled map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def gather_sample(
    feature_map: Tensor, grid: Tensor, interpolation_mode: int = 0, padding_mode: int = 0, align_corners: bool = False
) -> Tensor:
    """What `grid_sampler_2d` gives for bilinear interpolation, zeros outside and align_corners False; no other mode is known.

    feature_map [B, C, H, W], grid [B, h, w, 2] as (x, y) in -1..1, to [B, C, h, w]. Weights are computed in fp32.
    """
    assert (interpolation_mode, padding_mode, align_corners) == (0, 0, False)  # the network samples in no other way
    batch, channels, height, width = feature_map.shape
    rows, columns = grid.shape[1:3]
    locations = grid.reshape(batch, 1, rows * columns, 2).float()
    x = (locations[..., 0] + 1) * (width / 2) - 0.5  # [B, 1, N]
    y = (locations[..., 1] + 1) * (height / 2) - 0.5
    left, top = x.floor(), y.floor()
    flat_map = feature_map.reshape(batch, channels, height * width)
    sampled: Tensor | None = None
    for right in (0, 1):
        for below in (0, 1):
            column, row = left + right, top + below
            inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            share = torch.where(inside | (share != share), share, torch.zeros_like(share)).to(feature_map.dtype)  # NaN stays
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).to(torch.int64)
            index = index.clamp(0, height * width - 1)  # of a place that is no number, too
            corner = torch.gather(flat_map, 2, index.expand(batch, channels, rows * columns)) * share
            sampled = corner if sampled is None else sampled + corner
    assert sampled is not None  # there are corners
    return sampled.reshape(batch, channels, rows, columns)


GATHER_SAMPLING: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.grid_sampler.default: gather_sample,
    torch.ops.aten.grid_sampler_2d.default: gather_sample,
}
"""For `ExportedProgram.run_decompositions`."""
