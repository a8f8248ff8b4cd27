# SPDX-License-Identifier: Apache-2.0
"""What a network is and costs, by the name of a preset or from a weights file, without building its weights."""

from __future__ import annotations

from typing import NamedTuple

from vltseg_core.checkpoints import native
from vltseg_core.config import PRESETS, VltsegConfig, preset
from vltseg_core.model.profile import NetworkCost, network_cost
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER, weights_path


class DescribedNetwork(NamedTuple):
    """config, cost at the size asked for, and the data sets it was trained on."""

    config: VltsegConfig
    cost: NetworkCost
    trained_on: str


def describe_network(name_or_path: str, image_size: tuple[int, int]) -> DescribedNetwork:
    """A preset or a weights file; raises CheckpointError or ConfigurationError where it is neither."""
    if name_or_path in PRESETS and not (WEIGHTS_FOLDER / f"{name_or_path}.safetensors").is_file():
        config, trained_on = preset(name_or_path), "nothing (no weights in this package)"
    else:
        config, trained_on = native.read_header(weights_path(name_or_path))
    return DescribedNetwork(config, network_cost(config, image_size), trained_on)
