# SPDX-License-Identifier: Apache-2.0
"""Networks with every operator of the full ones, cut to two transformer blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vltseg_core.checkpoints import native
from vltseg_core.config import PRESETS, VltsegConfig, varied
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.run_time_network import RunTimeNetwork


def short_config(preset: str, **changes: Any) -> VltsegConfig:
    """A preset of EVA02-CLIP with two blocks (four where queries join the last two) and few decoder layers, widths kept."""
    is_encoder_only = PRESETS[preset].encoder_only is not None
    depth = 4 if is_encoder_only else 2
    encoder = {"overrides": {"depth": depth}, "tapped_blocks": [0, 0, 1, depth - 1]}
    layers = {"pixel_decoder": {"num_layers": 1}, "mask_decoder": {"num_layers": 3}}
    decoder = {"encoder_only": {"num_blocks": 2}} if is_encoder_only else layers
    return varied(PRESETS[preset], {"image_encoder": encoder, **decoder, **changes})


def small_config(*, with_text_queries: bool = False) -> VltsegConfig:
    """Mask2Former or text queries on EVA02-CLIP's smallest tower, a few queries and layers, for a test that runs it."""
    queries = {"queries": "text", "num_queries": 19} if with_text_queries else {"num_queries": 12}
    return varied(
        PRESETS["eva02_clip_b"],
        {
            "image_encoder": {"overrides": {"depth": 2}, "tapped_blocks": [0, 0, 1, 1]},
            "pixel_decoder": {"width": 64, "mask_width": 32, "num_layers": 1, "ffn_width": 64},
            "mask_decoder": {**queries, "num_layers": 2, "ffn_width": 64},
        },
    )


def network_of(config: VltsegConfig, *, seed: int = 0) -> Vltseg:
    """A network with random weights, in evaluation mode, whose masks and classes differ from place to place."""
    torch.manual_seed(seed)
    network = Vltseg(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if network.class_embeddings is not None:
        network.class_embeddings.normal_()
    return network


def run_time_network(config: VltsegConfig) -> RunTimeNetwork:
    """As it runs on a vehicle: folded."""
    network = network_of(config)
    fold_for_inference(network)
    return RunTimeNetwork(network).eval()


def save_weights(config: VltsegConfig, path: Path) -> Path:
    """A weights file of such a network."""
    native.save(network_of(config), path, trained_on="nothing")
    return path
