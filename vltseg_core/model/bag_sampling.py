# SPDX-License-Identifier: Apache-2.0
"""Bilinear samples of several maps and their weighted sum in one pass over a table, for a CPU.

`embedding_bag` adds weighted rows of a table without keeping them: a bag is one head of one token, its rows are the cells
that its points lie between. Maps lie in the table with zeros around them, so that points outside need no case of their own.

B batch, C channels, L levels, M heads, P points, N tokens, n of them looked at together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class BagSampler:
    """What deformable attention sums up, for the maps of one image batch.

    Args:
        values: the maps' cells [B, N, C], level after level, fp32. sizes: each level's (h, w).
        num_heads: M, each with C / M channels. num_points: P in each level.
    """

    def __init__(self, values: Tensor, sizes: list[tuple[int, int]], num_heads: int, num_points: int) -> None:
        self._num_heads, self._slots = num_heads, num_heads * len(sizes) * num_points
        self._row_cells = max(w for _, w in sizes) + 1  # one zero: right of a row, and left of the next
        first_rows = [1]
        for height, _ in sizes:
            first_rows.append(first_rows[-1] + height + 1)
        num_rows = first_rows.pop() + 2  # a point on the lower border names cells two rows below, with weight zero
        batch_size, _, channels = values.shape
        table = values.new_zeros(batch_size, num_rows, self._row_cells, channels)
        for (height, width), first, cells in zip(sizes, first_rows, values.split([h * w for h, w in sizes], dim=1), strict=True):
            table[:, first : first + height, 1 : width + 1] = cells.unflatten(1, (height, width))
        self._table = table.view(-1, channels // num_heads)

        def per_slot(of_levels: list[int]) -> Tensor:  # [M * L * P]
            return torch.tensor(of_levels).view(1, -1, 1).expand(num_heads, -1, num_points).flatten()

        self._scales = torch.stack((per_slot([w for _, w in sizes]), per_slot([h for h, _ in sizes]))).float()  # [2, MLP]
        heads = torch.arange(num_heads).repeat_interleave(self._slots // num_heads)
        in_image = (per_slot(first_rows) * self._row_cells + 1) * num_heads + heads
        images = torch.arange(batch_size).view(-1, 1, 1) * (num_rows * self._row_cells * num_heads)
        self._first_entries = (in_image + images).int()  # [B, 1, MLP]

    def __call__(self, offsets: Tensor, weights: Tensor, reference_points: Tensor) -> Tensor:
        """Offsets [B, n, 2, M * L * P] in cells, x before y, and weights [B, n, M * L * P] of the points around the
        reference points [n, 2], which are (x, y) in 0..1, to [B, n, C].
        """
        centres = reference_points[..., None] * self._scales - 0.5  # [n, 2, MLP]
        places = (offsets + centres).clamp_(min=-1.0).clamp_(max=self._scales)  # both bounds lie in the zeros around a map
        corners = places.floor()
        shares = places.sub_(corners)
        entries = torch.add(corners[:, :, 0], corners[:, :, 1], alpha=self._row_cells).int()
        entries = entries.mul_(self._num_heads).add_(self._first_entries)
        entries.clamp_(0, len(self._table) - 1 - (self._row_cells + 1) * self._num_heads)  # where places are no numbers
        lower = weights * shares[:, :, 1]
        upper = weights - lower
        lower_right, upper_right = lower * shares[:, :, 0], upper * shares[:, :, 0]
        of_corners = ((0, upper.sub_(upper_right)), (1, upper_right),
                      (self._row_cells, lower.sub_(lower_right)), (self._row_cells + 1, lower_right))  # fmt: skip
        total: Tensor | None = None
        for cells_on, corner_weights in of_corners:
            summed = self._sum(entries, corner_weights, cells_on)
            total = summed if total is None else total.add_(summed)
        assert total is not None  # there are corners
        return total.view(*weights.shape[:2], -1)

    def _sum(self, entries: Tensor, weights: Tensor, cells_on: int) -> Tensor:
        """The weighted rows that lie so many cells behind the entries, [B * n * M, C / M]."""
        in_bag = self._slots // self._num_heads
        return F.embedding_bag(
            entries.view(-1, in_bag), self._table[cells_on * self._num_heads :], mode="sum",
            per_sample_weights=weights.view(-1, in_bag),
        )  # fmt: skip
