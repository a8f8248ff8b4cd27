# SPDX-License-Identifier: Apache-2.0
"""Deformable attention over the levels of a pyramid (Zhu et al., "Deformable DETR", 2021).

B batch, C channels, L levels, M heads, P points, N tokens of all levels together; levels run from coarse to fine.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.model.bag_sampling import BagSampler
from vltseg_core.model.linear import Linear, is_eager_cpu_inference, linear

_CHUNK_TOKENS = 1 << 14
_BAG_CHUNK_TOKENS = 1 << 12


class MultiScaleDeformableAttention(nn.Module):
    """Each token looks at P points in each level, around its own place (Zhu et al., "Deformable DETR", 2021, eq. 3)."""

    def __init__(self, width: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = Linear(width, num_heads * num_levels * num_points * 2)
        self.attention_weights = Linear(width, num_heads * num_levels * num_points)
        self.value_proj = Linear(width, width)
        self.output_proj = Linear(width, width)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Points start on rays around the token, one direction a head, one step further for each point."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.num_heads) * (2 * torch.pi / self.num_heads)
        directions = torch.stack((angles.cos(), angles.sin()), -1)  # [M, 2]
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        offsets = torch.einsum("mx,p->mpx", directions, steps.float())[:, None].expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, queries: Tensor, values: Tensor, reference_points: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """Queries and values [B, N, C], reference points [N, 2] as (x, y) in 0..1, level sizes (h, w), to [B, N, C].

        At inference large images pass in chunks of tokens: the samples of all would be the network's largest tensor. Places
        are computed and sampled in fp32 whatever the network's dtype: bf16 knows a place to 1/500 of the map's width only,
        and on a CPU torch samples strided bf16 maps to NaN.
        """
        values = self.value_proj(values)
        if is_eager_cpu_inference(values):
            return self.output_proj(self._attend_by_bags(queries, values, reference_points, sizes))
        values = values.unflatten(-1, (self.num_heads, -1)).permute(0, 2, 3, 1).flatten(0, 1)  # [BM, C/M, N]
        levels = [v.unflatten(-1, size) for v, size in zip(values.split([h * w for h, w in sizes], dim=-1), sizes, strict=True)]
        chunk = queries.shape[1] if self.training else _CHUNK_TOKENS
        attended = [
            self._attend(q, points, levels)
            for q, points in zip(queries.split(chunk, dim=1), reference_points.split(chunk), strict=True)
        ]
        return self.output_proj(torch.cat(attended, dim=1))

    def _attend_by_bags(self, queries: Tensor, values: Tensor, reference_points: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        """The same by `BagSampler`; queries [B, N, C] and projected values [B, N, C] to [B, N, C]."""
        sampler = BagSampler(values, sizes, self.num_heads, self.num_points)
        points_in_all = self.num_levels * self.num_points
        x_first = [p.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1) for p in self.sampling_offsets.parameters()]
        attended = queries.new_empty(queries.shape)
        for start in range(0, queries.shape[1], _BAG_CHUNK_TOKENS):
            chunk = slice(start, start + _BAG_CHUNK_TOKENS)
            offsets = linear(queries[:, chunk], *x_first).unflatten(-1, (2, -1))
            weights = _softmax_of_short_rows(self.attention_weights(queries[:, chunk]).unflatten(-1, (-1, points_in_all)))
            attended[:, chunk] = sampler(offsets, weights.flatten(-2), reference_points[chunk])
        return attended

    def _attend(self, queries: Tensor, reference_points: Tensor, levels: list[Tensor]) -> Tensor:
        batch_size, num_tokens, _ = queries.shape
        heads, num_levels, points = self.num_heads, self.num_levels, self.num_points
        precision = torch.promote_types(queries.dtype, torch.float32)
        offsets = self.sampling_offsets(queries).view(batch_size, num_tokens, heads, num_levels, points, 2).to(precision)
        weights = self.attention_weights(queries).view(batch_size, num_tokens, heads, num_levels * points).softmax(-1)
        weights = weights.transpose(1, 2).flatten(0, 1).unflatten(-1, (num_levels, points))  # [BM, N, L, P]
        attended = []
        for level, level_map in enumerate(levels):
            size = offsets.new_tensor(level_map.shape[:-3:-1])  # width, height
            locations = reference_points[:, None, None] + offsets[:, :, :, level] / size  # [B, N, M, P, 2]
            grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # [BM, N, P, 2]
            sampled = F.grid_sample(level_map.to(precision), grid, align_corners=False).to(level_map.dtype)  # [BM, C/M, N, P]
            attended.append((sampled * weights[:, None, :, level]).sum(-1))  # [BM, C/M, N]
        return torch.stack(attended).sum(0).view(batch_size, -1, num_tokens).transpose(1, 2)


def _softmax_of_short_rows(logits: Tensor) -> Tensor:
    """Softmax over the last dimension, in place; torch's own is five times as slow on a CPU for a dozen values a row."""
    weights = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    return weights.div_(weights.sum(-1, keepdim=True))
