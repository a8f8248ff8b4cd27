# SPDX-License-Identifier: Apache-2.0
"""Memory for time: what a block computes on the way is not kept but computed again on the way back."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from vltseg_core.model.vit_image_encoder import VitImageEncoder
from vltseg_core.model.vltseg import Vltseg


def blocks_of(network: Vltseg) -> list[nn.Module]:
    """A transformer's blocks and the decoder layers: what activations are recomputed for, and weights are sharded by."""
    encoder = network.image_encoder
    stacks: list[Any] = [encoder.trunk.blocks] if isinstance(encoder, VitImageEncoder) else []
    stacks += [decoder.layers for decoder in (network.pixel_decoder, network.mask_decoder) if decoder is not None]
    return [block for stack in stacks for block in stack]


def checkpoint_activations(network: Vltseg) -> None:
    """Recompute the activations of every block in the backward pass; names and gradients stay what they are."""
    for block in blocks_of(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    trunk: Any = network.image_encoder.trunk
    if not isinstance(network.image_encoder, VitImageEncoder) and hasattr(trunk, "set_grad_checkpointing"):
        trunk.set_grad_checkpointing(True)
