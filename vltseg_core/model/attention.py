# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention and the feed-forward block that pixel and mask decoder share.

B batch, N queries, M keys, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.model.linear import Linear


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with projections (Vaswani et al., 2017)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_proj = Linear(width, width)
        self.key_proj = Linear(width, width)
        self.value_proj = Linear(width, width)
        self.out_proj = Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries [B, N, C], keys and values [B, M, C], additive mask [B, N, M] to [B, N, C]."""

        def split(tokens: Tensor) -> Tensor:  # [B, heads, tokens, C / heads]
            return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            split(self.query_proj(queries)),
            split(self.key_proj(keys)),
            split(self.value_proj(values)),
            attn_mask=None if mask is None else mask[:, None],
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between: [..., C] to [..., C]."""

    def __init__(self, width: int, hidden_width: int) -> None:
        super().__init__()
        self.expand = Linear(width, hidden_width)
        self.contract = Linear(hidden_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.contract(F.relu(self.expand(tokens), inplace=True))
