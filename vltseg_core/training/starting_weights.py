# SPDX-License-Identifier: Apache-2.0
"""What a network starts from: a pre-trained image tower, the text of its classes, or weights of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.class_embeddings import PROMPTS_FOLDER, load_class_embeddings
from vltseg_core.checkpoints.pretrained_files import pretrained_path
from vltseg_core.config import VltsegConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder
from vltseg_core.model.text_encoder import LearnedContext, Prompts, clip_text_encoder, embed_classes
from vltseg_core.model.vltseg import Vltseg


def class_embeddings_of(network: Vltseg, name_or_path: str | None, pretrained: str | None, prompts: str) -> Tensor:
    """The class embeddings [K, D] of a name or file, else what the pre-trained CLIP's own text tower makes of the prompts."""
    config = network.config
    if name_or_path is not None:
        return load_class_embeddings(name_or_path, config)
    if pretrained is None or not network.image_encoder.embedding_width:
        raise ConfigurationError(
            f"'{config.name}' is matched to text, and no CLIP with 'pretrained' weights makes it: give class_embeddings"
        )
    path = Path(prompts) if Path(prompts).suffix else PROMPTS_FOLDER / f"{prompts}.yaml"
    encode = clip_text_encoder(config.image_encoder.model, _clip_weights(config, pretrained))
    return embed_classes(encode, Prompts.read(path, config.classes.names), config.classes.names)


def learned_context_of(network: Vltseg, num_tokens: int, pretrained: str | None) -> LearnedContext:
    """Learnable context tokens through the pre-trained CLIP's text tower."""
    config = network.config
    if config.pixel_text is None or pretrained is None or not network.image_encoder.embedding_width:
        raise ConfigurationError(
            f"context_tokens need a CLIP network with pixel_text and its weights, '{config.name}' with pretrained "
            f"'{pretrained}' has not all of them: leave context_tokens 0"
        )
    return LearnedContext(
        config.image_encoder.model, _clip_weights(config, pretrained), config.classes.names, num_tokens
    )  # fmt: skip


def _clip_weights(config: VltsegConfig, pretrained: str) -> str:
    return pretrained if Path(pretrained).suffix else str(pretrained_path(config.image_encoder.model, pretrained))


def load_initial_weights(network: Vltseg, path: Path) -> None:
    """A weights file of the same network, in place."""
    start = native.load(path).network
    found, wanted = start.config, network.config
    if found.name != wanted.name:
        raise ConfigurationError(f"'{path}' is network '{found.name}', not preset '{wanted.name}': start from one of its own")
    found = replace(found, inference=wanted.inference)  # how it is used, not what it is
    if found != wanted:
        setting, theirs, ours = _first_difference(found.to_dict(), wanted.to_dict())
        raise ConfigurationError(
            f"'{path}' is another '{wanted.name}', its {setting} is {theirs} and not {ours}: set it so with --model.network, "
            "or start from other weights"
        )
    network.load_state_dict(start.state_dict())


def _first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """The first setting, by its dotted name, that differs between two networks' sections, and its two values."""
    key = next(key for key in wanted if found[key] != wanted[key])
    if isinstance(found[key], Mapping) and isinstance(wanted[key], Mapping) and found[key].keys() == wanted[key].keys():
        inner, theirs, ours = _first_difference(found[key], wanted[key])
        return f"{key}.{inner}", theirs, ours
    return key, found[key], wanted[key]


def freeze(network: Vltseg, *, encoder: bool, num_stages: int, matching: bool) -> None:
    """Take parameters out of the training.

    encoder: all of the image encoder. num_stages: a convolutional encoder's stem and first stages. matching: what serves
    pixel-text matching alone, which distributed training must not wait for where nothing is matched.
    """
    if isinstance(network.image_encoder, ConvImageEncoder):
        network.image_encoder.freeze_stages(num_stages)
    elif num_stages:
        raise ConfigurationError(f"frozen_stages {num_stages}: only a convolutional encoder has stages, leave it 0")
    if encoder:
        network.image_encoder.requires_grad_(False)
    if matching:
        for module in _matching_modules(network):
            module.requires_grad_(False)


def _matching_modules(network: Vltseg) -> list[nn.Module]:
    modules: list[nn.Module] = [] if network.dense_projection is None else [network.dense_projection]
    if network.image_encoder.embedding_width:
        trunk = network.image_encoder.trunk
        modules += [part for name in ("norm", "final_conv", "head") if isinstance(part := getattr(trunk, name, None), nn.Module)]
    return modules
