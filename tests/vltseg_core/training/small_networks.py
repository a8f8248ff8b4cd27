# SPDX-License-Identifier: Apache-2.0
"""The presets' networks cut down, and a batch for them."""

from __future__ import annotations

import torch

from vltseg_core import config as network_config
from vltseg_core.config import VltsegConfig
from vltseg_core.training.training_samples import TrainingBatch

_PIXELS = {
    "kind": "deformable", "width": 32, "mask_width": 32, "num_layers": 1, "num_heads": 4, "ffn_width": 64, "num_groups": 8,
}  # fmt: skip
_MASKS = {"num_queries": 19, "num_layers": 3, "num_heads": 4, "ffn_width": 64}
SMALL_DECODERS = {
    "eva02_clip_l": {"pixel_decoder": _PIXELS, "mask_decoder": {"queries": "learned", **_MASKS}},
    "eva02_clip_l_text_queries": {"pixel_decoder": _PIXELS, "mask_decoder": {"queries": "text", "class_masks": True, **_MASKS}},
    "eva02_clip_l_fpn": {"fpn_decoder": {"width": 32}},
    "eva02_clip_l_encoder_only": {"encoder_only": {"num_queries": 12, "num_blocks": 2}},
}


def small(name: str, drop_path: float = 0.2) -> VltsegConfig:
    """A preset's network with four narrow blocks."""
    fields = network_config.PRESETS[name].to_dict()
    fields["image_encoder"] |= {
        "model": "EVA02-B-16", "tapped_blocks": [0, 1, 2, 3], "drop_path": drop_path,
        "overrides": {"embed_dim": 48, "depth": 4, "num_heads": 2},
    }  # fmt: skip
    return VltsegConfig.from_dict(fields | SMALL_DECODERS[name] | {"pixel_text": {"embedding_width": 512}})


def small_batch(num_images: int = 2, seeds: tuple[int, ...] | None = None) -> TrainingBatch:
    torch.manual_seed(1)
    codes = torch.randint(0, 19, (num_images, 1, 4, 4)).float()
    codes = torch.nn.functional.interpolate(codes, scale_factor=16)[:, 0].to(torch.uint8)
    codes[:, :8] = 255
    return TrainingBatch(torch.randint(0, 256, (num_images, 3, 64, 64), dtype=torch.uint8), codes, seeds)
