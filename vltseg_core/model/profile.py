# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters by part, and floating-point operations and memory at an image size."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vltseg_core.config import VltsegConfig
from vltseg_core.model.folding import fold_for_inference
from vltseg_core.model.image_encoder import build_image_encoder
from vltseg_core.model.peak_memory import PeakMemory
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.vltseg import Vltseg

PARTS = (
    "image_encoder",
    "feature_pyramid",
    "pixel_decoder",
    "mask_decoder",
    "fpn_decoder",
    "encoder_only_decoder",
    "dense_projection",
)


class NetworkCost(NamedTuple):
    """What one image of image_size (height, width) costs at run time.

    num_parameters: by part. flops: by part, a multiply-add counting as two. activation_values: the most numbers that exist
    at once besides the weights, class scores at the image's size included (see `PeakMemory` for what that leaves out).
    """

    num_parameters: dict[str, int]
    flops: dict[str, int]
    activation_values: int
    image_size: tuple[int, int]

    def weight_bytes(self, bytes_per_value: int) -> int:
        """Memory that the weights take at 4 (fp32) or 2 (fp16, bf16) bytes a value."""
        return sum(self.num_parameters.values()) * bytes_per_value

    def peak_bytes(self, bytes_per_value: int) -> int:
        """Memory of weights and activations at their peak."""
        return self.weight_bytes(bytes_per_value) + self.activation_values * bytes_per_value


def network_cost(config: VltsegConfig, image_size: tuple[int, int]) -> NetworkCost:
    """The cost of one image of (height, width) pixels at run time; nothing is computed and no weights are made."""
    with torch.device("meta"):
        network = Vltseg(config).eval().requires_grad_(False)
        num_parameters = {name: sum(w.numel() for w in part.parameters()) for name, part in network.named_children()}
        fold_for_inference(network)
        images = torch.empty(1, 3, *image_size)
    counter = FlopCounterMode(display=False, depth=2)
    with counter, torch.no_grad():
        network(images)
    with PeakMemory() as memory, torch.no_grad():
        semantic_scores(network(images).predictions[-1], image_size)
    by_module = counter.get_flop_counts()
    flops = {part: sum(by_module.get(f"Vltseg.{part}", {}).values()) for part in PARTS}
    if network.encoder_only_decoder is not None:  # it runs the encoder's blocks: what the queries add is its own
        flops["image_encoder"] = _encoder_flops(config, images)
        flops["encoder_only_decoder"] -= flops["image_encoder"]
    num_parameters = {part: num_parameters[part] for part in PARTS if num_parameters.get(part)}
    return NetworkCost(num_parameters, flops, memory.peak_bytes // 4, image_size)


def _encoder_flops(config: VltsegConfig, images: Tensor) -> int:
    with torch.device("meta"):
        encoder = build_image_encoder(config.image_encoder).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        encoder(images, with_embedding=False)
    return counter.get_total_flops()
