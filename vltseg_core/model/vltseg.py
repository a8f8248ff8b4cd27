# SPDX-License-Identifier: Apache-2.0
"""The network assembled (VLTSeg, arXiv 2312.02021).

B batch, Q queries, K classes, D embedding width, H and W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vltseg_core.config import VltsegConfig
from vltseg_core.model.feature_pyramid import FeaturePyramid
from vltseg_core.model.image_encoder import build_image_encoder
from vltseg_core.model.mask_decoder import MaskDecoder, MaskPrediction
from vltseg_core.model.pixel_decoder import build_pixel_decoder
from vltseg_core.model.pixel_text_matching import score_map
from vltseg_core.model.vit_image_encoder import VitImageEncoder


class VltsegOutput(NamedTuple):
    """What the network gives for normalised images.

    predictions: every decoder layer's masks (in inference what is needed of them), the final one last.
    score_map: cosine similarity to each class's text, [B, K, h, w]; None where it was not asked for.
    """

    predictions: tuple[MaskPrediction, ...]
    score_map: Tensor | None


class Vltseg(nn.Module):
    """Image encoder, pixel-text matching, pixel decoder and mask decoder.

    A ViT's patches all see the whole image, so pixel-text matching compares CLIP's own dense embedding, as the paper
    does; a convolutional tower sees far only after the pixel decoder's self-attention, so there it compares a linear
    map of the finest memory.
    """

    class_embeddings: Tensor | None

    def __init__(self, config: VltsegConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = build_image_encoder(config.image_encoder)
        channels = self.image_encoder.channels
        is_vit = isinstance(self.image_encoder, VitImageEncoder)
        self.feature_pyramid = FeaturePyramid(channels[0]) if is_vit else nn.Identity()
        self.pixel_decoder = build_pixel_decoder(config.pixel_decoder, channels)
        embedding_width = config.pixel_text.embedding_width if config.pixel_text else 0
        self.mask_decoder = MaskDecoder(
            config.mask_decoder,
            width=config.pixel_decoder.width,
            mask_width=config.pixel_decoder.mask_width,
            num_classes=len(config.classes),
            embedding_width=embedding_width,
        )
        self.dense_projection: nn.Conv2d | None = None
        if config.pixel_text and not self.image_encoder.embedding_width:
            self.dense_projection = nn.Conv2d(config.pixel_decoder.width, embedding_width, 1)
        embeddings = torch.zeros(len(config.classes), embedding_width) if config.pixel_text else None
        self.register_buffer("class_embeddings", embeddings)

    def forward(self, images: Tensor, *, with_score_map: bool = False) -> VltsegOutput:
        """Normalised images float [B, 3, H, W] of any height and width to masks and, if asked for, the score map."""
        encoded = self.image_encoder(images, with_embedding=with_score_map)
        pixels = self.pixel_decoder(self.feature_pyramid(encoded.feature_maps))
        predictions = self.mask_decoder(pixels, self.class_embeddings)
        if not with_score_map or self.class_embeddings is None:
            return VltsegOutput(predictions, None)
        embedding = encoded.dense_embedding
        if self.dense_projection is not None:
            embedding = self.dense_projection(pixels.memory[-1])
        return VltsegOutput(predictions, score_map(embedding, self.class_embeddings))
