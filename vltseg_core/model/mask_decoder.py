# SPDX-License-Identifier: Apache-2.0
"""From queries, mask features and memory to one mask a query (Cheng et al., "Mask2Former", 2022, section 3.2).

B batch, Q queries, K classes, C channels, D width of the class embeddings.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.config import MaskDecoderConfig
from vltseg_core.model.attention import FeedForward, MultiHeadAttention
from vltseg_core.model.linear import Linear, is_eager_cpu_inference, products
from vltseg_core.model.pixel_decoder import NUM_MEMORY_LEVELS, DecodedPixels
from vltseg_core.model.positions import sine_positions


class MaskPrediction(NamedTuple):
    """One layer's prediction.

    mask_logits: [B, Q, H/4, W/4].
    class_logits: [B, Q, K + 1], the last one "no object"; None where query k is bound to class k.
    """

    mask_logits: Tensor
    class_logits: Tensor | None


class _DecoderLayer(nn.Module):
    """Cross-attention, self-attention, feed-forward; norm after each."""

    def __init__(self, width: int, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.cross_attention = MultiHeadAttention(width, config.num_heads)
        self.cross_attention_norm = nn.LayerNorm(width)
        self.self_attention = MultiHeadAttention(width, config.num_heads)
        self.self_attention_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, config.ffn_width)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, query_positions: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.cross_attention(queries + query_positions, keys, values, mask)
        queries = self.cross_attention_norm(queries + attended)
        positioned = queries + query_positions
        queries = self.self_attention_norm(queries + self.self_attention(positioned, positioned, queries))
        return self.feed_forward_norm(queries + self.feed_forward(queries))


class MaskDecoder(nn.Module):
    """Queries attend to the memory's levels round robin and give masks after every layer.

    Learned queries attend only inside their last mask (a query whose mask is empty attends everywhere) and name their
    class themselves. Text queries stand for one class each and attend everywhere: their masks compete in a softmax
    over the classes, so that no threshold says what is inside. With `class_masks` a class's mask is at first that of a learned
    embedding alone, a linear classifier of the pixels, and what its query reads in the image comes to it.
    """

    def __init__(self, config: MaskDecoderConfig, *, width: int, mask_width: int, num_classes: int, embedding_width: int) -> None:
        super().__init__()
        self.from_text = config.queries == "text"
        num_queries = num_classes if self.from_text else config.num_queries
        if self.from_text:
            self.text_projection = Linear(embedding_width, width)
        else:
            self.query_features = nn.Embedding(num_queries, width)
            self.class_head = Linear(width, num_classes + 1)
        self.query_positions = nn.Embedding(num_queries, width)
        self.level_embedding = nn.Embedding(NUM_MEMORY_LEVELS, width)
        self.layers = nn.ModuleList(_DecoderLayer(width, config) for _ in range(config.num_layers))
        self.output_norm = nn.LayerNorm(width)
        self.mask_head = nn.Sequential(
            Linear(width, width), nn.ReLU(), Linear(width, width), nn.ReLU(), Linear(width, mask_width)
        )
        self.mask_embedding: nn.Embedding | None = None
        if config.class_masks:
            self.mask_embedding = nn.Embedding(num_queries, mask_width)
            nn.init.normal_(self.mask_embedding.weight, std=mask_width**-0.5)
            for of_query in self.mask_head[-1].parameters():
                nn.init.zeros_(of_query)

    def forward(self, pixels: DecodedPixels, class_embeddings: Tensor | None) -> tuple[MaskPrediction, ...]:
        """Decoded pixels, and class embeddings [K, D] for text queries, to each layer's prediction, the final one last.

        At inference (`eval`) the final one is the only one: what a layer attends to is then read from masks as small as its
        memory, and text queries, which attend everywhere, need none.
        """
        batch_size = pixels.mask_features.shape[0]
        values = [
            m.flatten(2).transpose(1, 2) + self.level_embedding.weight[i] for i, m in enumerate(pixels.memory)
        ]  # [B, hw, C]
        keys = [v + sine_positions(m).flatten(1).T for v, m in zip(values, pixels.memory, strict=True)]
        features = self.text_projection(class_embeddings) if self.from_text else self.query_features.weight
        queries = features.expand(batch_size, -1, -1)
        query_positions = self.query_positions.weight.expand(batch_size, -1, -1)
        masked_at = [] if self.from_text or self.training else [_resized(pixels.mask_features, m) for m in pixels.memory]

        predictions = [self._predict(queries, pixels.mask_features)] if self.training else []
        for i, layer in enumerate(self.layers):
            level = i % NUM_MEMORY_LEVELS
            mask = None
            if masked_at:
                mask = _attention_mask(self._mask_logits(self.output_norm(queries), masked_at[level]))
            elif not self.from_text:
                mask = _attention_mask(_resized(predictions[-1].mask_logits.detach(), pixels.memory[level]))
            queries = layer(queries, query_positions, keys[level], values[level], mask)
            if self.training:
                predictions.append(self._predict(queries, pixels.mask_features))
        return tuple(predictions) if self.training else (self._predict(queries, pixels.mask_features),)

    def mask_parameters(self) -> list[nn.Parameter]:
        """What mask logits are linear in: all of them divided by a number divide every mask logit by it."""
        of_class = [] if self.mask_embedding is None else self.mask_embedding.parameters()
        return [*self.mask_head[-1].parameters(), *of_class]

    def _predict(self, queries: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.output_norm(queries)
        return MaskPrediction(self._mask_logits(normed, mask_features), None if self.from_text else self.class_head(normed))

    def _mask_logits(self, normed_queries: Tensor, mask_features: Tensor) -> Tensor:
        embeddings = self.mask_head(normed_queries)
        if self.mask_embedding is not None:
            embeddings = embeddings + self.mask_embedding.weight
        if is_eager_cpu_inference(mask_features):
            places = mask_features.flatten(2).transpose(1, 2)
            return products(places, embeddings).transpose(1, 2).unflatten(2, mask_features.shape[-2:])
        return torch.einsum("bqc,bchw->bqhw", embeddings, mask_features)


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps [B, *, H, W] at the size of another [B, C, h, w].

    Resizing sums over places and a mask sums over channels, so that the masks of resized features are the resized masks.
    """
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _attention_mask(mask_logits: Tensor) -> Tensor:
    """Masks [B, Q, h, w] to an additive one [B, Q, hw]: 0 inside, the dtype's minimum outside; all 0 where one is empty."""
    inside = mask_logits.flatten(2) >= 0
    inside = torch.where(inside.any(-1, keepdim=True), inside, torch.ones_like(inside))
    return torch.where(inside, mask_logits.new_zeros(()), torch.finfo(mask_logits.dtype).min)
