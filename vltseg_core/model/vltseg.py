# SPDX-License-Identifier: Apache-2.0
"""The network assembled (VLTSeg, arXiv 2312.02021).

B batch, Q queries, K classes, D embedding width, H and W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vltseg_core.config import VltsegConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.encoded_image import EncodedImage
from vltseg_core.model.encoder_only_decoder import EncoderOnlyDecoder
from vltseg_core.model.feature_pyramid import FeaturePyramid
from vltseg_core.model.fpn_decoder import FpnDecoder
from vltseg_core.model.image_encoder import build_image_encoder
from vltseg_core.model.mask_decoder import MaskDecoder, MaskPrediction
from vltseg_core.model.pixel_decoder import build_pixel_decoder
from vltseg_core.model.pixel_text_matching import score_map
from vltseg_core.model.vit_image_encoder import VitImageEncoder


class VltsegOutput(NamedTuple):
    """What the network gives for normalised images.

    predictions: in training every layer's masks, the final ones last; at inference those alone.
    score_map: cosine similarity to each class's text, [B, K, h, w]; None where it was not asked for.
    dense_embedding: what was compared with the text for it, [B, D, h, w].
    """

    predictions: tuple[MaskPrediction, ...]
    score_map: Tensor | None
    dense_embedding: Tensor | None = None


class Vltseg(nn.Module):
    """Image encoder, pixel-text matching, and one of three decoders.

    The decoders: pixel and mask decoder (the paper's), a semantic FPN, or none but queries in the encoder itself.
    A CLIP tower's own dense embedding is compared with the text, as in the paper; a tower without one sees far only after
    the pixel decoder's self-attention, so there a linear map of the finest memory is compared.
    """

    class_embeddings: Tensor | None

    def __init__(self, config: VltsegConfig) -> None:
        super().__init__()
        self.config = config
        num_classes = len(config.classes)
        self.image_encoder = build_image_encoder(config.image_encoder)
        is_vit = isinstance(self.image_encoder, VitImageEncoder)
        channels = self.image_encoder.channels
        embedding_width = config.pixel_text.embedding_width if config.pixel_text else 0
        self._check_text(embedding_width)
        self.feature_pyramid = FeaturePyramid(channels[0]) if is_vit and not config.encoder_only else nn.Identity()
        self.pixel_decoder: nn.Module | None = None
        self.mask_decoder: MaskDecoder | None = None
        self.fpn_decoder: FpnDecoder | None = None
        self.encoder_only_decoder: EncoderOnlyDecoder | None = None
        self.dense_projection: nn.Conv2d | None = None
        if config.pixel_decoder and config.mask_decoder:
            self.pixel_decoder = build_pixel_decoder(config.pixel_decoder, channels)
            self.mask_decoder = MaskDecoder(
                config.mask_decoder,
                width=config.pixel_decoder.width,
                mask_width=config.pixel_decoder.mask_width,
                num_classes=num_classes,
                embedding_width=embedding_width,
            )
            if config.pixel_text and not self.image_encoder.embedding_width:
                self.dense_projection = nn.Conv2d(config.pixel_decoder.width, embedding_width, 1)
        elif config.fpn_decoder:
            self.fpn_decoder = FpnDecoder(config.fpn_decoder, channels, num_classes)
        elif config.encoder_only:
            if not isinstance(self.image_encoder, VitImageEncoder):
                raise ConfigurationError(f"network '{config.name}': an encoder-only decoder needs an encoder of kind vit")
            self.encoder_only_decoder = EncoderOnlyDecoder(config.encoder_only, self.image_encoder, num_classes)
        embeddings = torch.zeros(num_classes, embedding_width) if config.pixel_text else None
        self.register_buffer("class_embeddings", embeddings)

    @property
    def score_map_stride(self) -> int:
        """Pixels between two places of the score map: the finest memory's, or those of a convolutional CLIP tower's last map."""
        return 8 if self.dense_projection is not None else 32

    def _check_text(self, embedding_width: int) -> None:
        own = self.image_encoder.embedding_width
        model = self.config.image_encoder.model
        if embedding_width and own and own != embedding_width:
            raise ConfigurationError(f"'{model}' embeds in {own} dimensions, pixel_text says {embedding_width}: make them equal")
        if embedding_width and not own and not self.config.mask_decoder:
            raise ConfigurationError(
                f"'{model}' has no joint embedding with text, which pixel_text needs with this decoder: leave pixel_text out, "
                "or use a CLIP tower"
            )

    def forward(self, images: Tensor, *, with_score_map: bool = False, class_embeddings: Tensor | None = None) -> VltsegOutput:
        """Normalised images float [B, 3, H, W] of any height and width to masks and, if asked for, the score map.

        class_embeddings: [K, D] to use in place of the network's own, for a text side that is being trained.
        """
        texts = self.class_embeddings if class_embeddings is None else class_embeddings
        if self.encoder_only_decoder is not None:
            assert isinstance(self.image_encoder, VitImageEncoder)
            predictions, last_map = self.encoder_only_decoder(self.image_encoder, images)
            dense = self.image_encoder.joint_embedding(last_map) if with_score_map and texts is not None else None
            return VltsegOutput(predictions, _similarity(dense, texts), dense)
        feeds_score_map = self.fpn_decoder is not None and self.fpn_decoder.with_score_map
        encoded: EncodedImage = self.image_encoder(images, with_embedding=with_score_map or feeds_score_map)
        if self.fpn_decoder is not None:
            similarity = _similarity(encoded.dense_embedding, texts)
            logits = self.fpn_decoder(self.feature_pyramid(encoded.feature_maps), similarity)
            if not with_score_map:
                return VltsegOutput((MaskPrediction(logits, None),), None)
            return VltsegOutput((MaskPrediction(logits, None),), similarity, encoded.dense_embedding)
        assert self.pixel_decoder is not None and self.mask_decoder is not None  # the configuration has a decoder
        dense = encoded.dense_embedding
        maps = list(self.feature_pyramid(encoded.feature_maps))
        del encoded  # its maps and the pyramid's are freed on the way
        pixels = self.pixel_decoder(maps)
        predictions = self.mask_decoder(pixels, texts)
        if self.dense_projection is not None and with_score_map:
            dense = self.dense_projection(pixels.memory[-1])
        if not with_score_map:
            return VltsegOutput(predictions, None)
        return VltsegOutput(predictions, _similarity(dense, texts), dense)


def _similarity(dense_embedding: Tensor | None, class_embeddings: Tensor | None) -> Tensor | None:
    if dense_embedding is None or class_embeddings is None:
        return None
    return score_map(dense_embedding, class_embeddings)
