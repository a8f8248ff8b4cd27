# SPDX-License-Identifier: Apache-2.0
"""Image towers by their names in open_clip and timm: the one place that knows which architecture becomes which encoder."""

from __future__ import annotations

import difflib
from typing import NamedTuple

import timm

from vltseg_core.config import ImageEncoderConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder, MobileClipImageEncoder
from vltseg_core.model.vit_image_encoder import VitImageEncoder

ImageEncoder = VitImageEncoder | ConvImageEncoder | MobileClipImageEncoder

_VIT_FAMILIES = ("eva02_", "vit_", "deit3_")


class TimmTower(NamedTuple):
    """A tower's name in timm, and the width of CLIP's joint embedding, 0 for a tower that is no CLIP's."""

    timm_name: str
    embedding_width: int


# open_clip, which knows them all, takes transformers along and two seconds to import: not on a vehicle. OpenAI's towers are
# its own code; timm has the same under other names.
KNOWN_TOWERS = {
    "EVA02-L-14": TimmTower("eva02_large_patch14_clip_224", 768),
    "EVA02-L-14-336": TimmTower("eva02_large_patch14_clip_336", 768),
    "EVA02-B-16": TimmTower("eva02_base_patch16_clip_224", 512),
    "ViT-B-16": TimmTower("vit_base_patch16_clip_224", 512),
    "ViT-B-16-quickgelu": TimmTower("vit_base_patch16_clip_quickgelu_224", 512),
    "ViT-L-14": TimmTower("vit_large_patch14_clip_224", 768),
    "ViT-L-14-quickgelu": TimmTower("vit_large_patch14_clip_quickgelu_224", 768),
    "MobileCLIP2-S0": TimmTower("fastvit_mci0", 512),
    "deit3_large_patch16_224": TimmTower("deit3_large_patch16_224", 0),
    "deit3_base_patch16_224": TimmTower("deit3_base_patch16_224", 0),
    "efficientnet_lite0": TimmTower("efficientnet_lite0", 0),
}


class HubFile(NamedTuple):
    """A weights file on the Hugging Face hub: repository, and file in it."""

    repository: str
    file_name: str


def build_image_encoder(config: ImageEncoderConfig) -> ImageEncoder:
    """The image encoder of that configuration, with random weights; ConfigurationError where there is no such tower."""
    timm_name, embedding_width = KNOWN_TOWERS.get(config.model) or _tower_of_open_clip(config.model)
    if config.kind == "vit":
        if not timm_name.startswith(_VIT_FAMILIES) or timm_name not in timm.list_models():
            known = ", ".join(name for name, tower in KNOWN_TOWERS.items() if tower.timm_name.startswith(_VIT_FAMILIES))
            raise ConfigurationError(
                f"image encoder '{config.model}' is no vision transformer known here: use one of {known}{_nearest(config.model)}"
            )
        return VitImageEncoder(config, timm_name=timm_name, embedding_width=embedding_width)
    if embedding_width:
        if not timm_name.startswith("fastvit"):
            raise ConfigurationError(f"image encoder '{config.model}' is not hierarchical: use MobileCLIP2-S0, or kind vit")
        return MobileClipImageEncoder(config, timm_name=timm_name, embedding_width=embedding_width)
    return ConvImageEncoder(config)


def _tower_of_open_clip(model: str) -> TimmTower:
    """Any tower that open_clip builds by timm; a name that it does not know is timm's."""
    import open_clip

    clip = open_clip.get_model_config(model)
    if clip is None:
        return TimmTower(model, 0)
    return TimmTower(clip["vision_cfg"].get("timm_model_name", ""), clip["embed_dim"])


def pretrained_file(model: str, tag: str) -> HubFile:
    """Where the weights of an architecture lie that open_clip (else timm) knows under that tag.

    Raises ConfigurationError with the tags that there are.
    """
    import open_clip

    if open_clip.get_model_config(model) is not None:
        tags = list(open_clip.list_pretrained_tags_by_model(model))
        repository = (open_clip.get_pretrained_cfg(model, tag) or {}).get("hf_hub", "").strip("/")
        file_name = "open_clip_model.safetensors"
    else:
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
        known = timm.get_pretrained_cfg(f"{model}.{tag}") if tag in tags else None
        repository, file_name = (known.hf_hub_id or "") if known else "", "model.safetensors"
    if not repository:
        there_are = f"it has {', '.join(tags)}" if tags else "it has none"
        raise ConfigurationError(f"no pre-trained weights '{tag}' of '{model}' on the hub: {there_are}")
    return HubFile(repository, file_name)


def _nearest(model: str) -> str:
    import open_clip

    nearest = difflib.get_close_matches(model, [*open_clip.list_models(), *timm.list_models("deit3_*")], n=1)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
