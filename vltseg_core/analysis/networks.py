# SPDX-License-Identifier: Apache-2.0
"""The network before training: weights, a pre-trained tower in an untrained network, or chance alone."""

from __future__ import annotations

from pathlib import Path

import torch

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.native import Checkpoint
from vltseg_core.checkpoints.pretrained_towers import load_pretrained_tower
from vltseg_core.checkpoints.published_models import PUBLISHED_MODELS
from vltseg_core.checkpoints.safetensors_file import ChangedFileError, FormatError, opened
from vltseg_core.config import PRESETS
from vltseg_core.errors import CheckpointError
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.weights_path import weights_path

RANDOM = "random"


def trained_network(name: str) -> Checkpoint:
    """A preset's, a fetched or a file's network; CheckpointError where there is none."""
    return native.load(weights_path(name))


def network_before(name: str, after: Checkpoint, seed: int) -> Checkpoint:
    """What to compare a trained network with.

    name: a weights file, a preset with weights or a fetched checkpoint; "random" for the same network with the weights
    that `seed` gives; or what `load_pretrained_tower` takes, for such a tower in that random network. The last two have
    the class embeddings of `after`. CheckpointError where it is none of these.
    """
    if name in PRESETS or name in PUBLISHED_MODELS or _is_own_file(Path(name)):
        return trained_network(name)
    torch.manual_seed(seed)
    network = Vltseg(after.network.config)
    if after.network.class_embeddings is not None and network.class_embeddings is not None:
        network.class_embeddings.copy_(after.network.class_embeddings)
    if name != RANDOM:
        try:
            load_pretrained_tower(network.image_encoder, name)
        except CheckpointError as error:
            raise CheckpointError(
                f"--before '{name}' is neither '{RANDOM}' nor weights of a network, and as a tower: {error}"
            ) from error
    return Checkpoint(network.eval(), "nothing" if name == RANDOM else f"the image encoder's start: '{name}'")


def _is_own_file(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with opened(path) as weights:
            return weights.metadata.get("format") == native.FORMAT
    except (FormatError, ChangedFileError):
        return False
