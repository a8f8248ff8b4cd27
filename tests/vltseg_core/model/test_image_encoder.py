# SPDX-License-Identifier: Apache-2.0
"""What is frozen does not move, and what is not does."""

from __future__ import annotations

import copy

import torch

from vltseg_core.config import preset
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder


def test_frozen_stages_keep_weights_and_statistics() -> None:
    torch.manual_seed(0)
    encoder = ConvImageEncoder(preset("tiny").image_encoder)
    encoder.freeze_stages(2)
    encoder.train()
    before = copy.deepcopy(encoder.trunk.state_dict())
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    maps = encoder(torch.randn(2, 3, 64, 64)).feature_maps
    torch.stack([m.square().mean() for m in maps]).sum().backward()
    optimizer.step()
    changed = {name for name, value in encoder.trunk.state_dict().items() if not torch.equal(value, before[name])}
    frozen = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    assert not {name for name in changed if name.startswith(frozen)}
    assert {"blocks.2.0.conv_pw.weight", "blocks.2.0.bn1.running_mean", "blocks.6.0.bn3.weight"} <= changed
