# SPDX-License-Identifier: Apache-2.0
"""The names of a published checkpoint's tensors (mmsegmentation's), and the names of the same tensors here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

# Applied in order to a published key; each names one part of the network.
_RENAMINGS: tuple[tuple[str, str], ...] = (
    (r"^backbone\.fpn1\.", "feature_pyramid.up4."),
    (r"^backbone\.fpn2\.0\.", "feature_pyramid.up2."),
    (r"^backbone\.", "image_encoder.trunk."),
    (r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias"),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.ffn_ln\.", ".mlp.norm."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"^decode_head\.pixel_decoder\.", "pixel_decoder."),
    (r"^pixel_decoder\.(lateral|output)_convs\.0\.", r"pixel_decoder.\1_conv."),
    (r"^pixel_decoder\.(input_convs\.\d+|lateral_conv|output_conv)\.conv\.", r"pixel_decoder.\1.0."),
    (r"^pixel_decoder\.(input_convs\.\d+|lateral_conv|output_conv)\.gn\.", r"pixel_decoder.\1.1."),
    (r"^pixel_decoder\.encoder\.layers\.", "pixel_decoder.layers."),
    (r"^pixel_decoder\.level_encoding\.", "pixel_decoder.level_embedding."),
    (r"^pixel_decoder\.mask_feature\.", "pixel_decoder.mask_feature_conv."),
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn\.", r"\1.self_attention."),
    (r"^(pixel_decoder\.layers\.\d+)\.norms\.0\.", r"\1.attention_norm."),
    (r"^(pixel_decoder\.layers\.\d+)\.norms\.1\.", r"\1.feed_forward_norm."),
    (r"\.ffn\.layers\.0\.0\.", ".feed_forward.expand."),
    (r"\.ffn\.layers\.1\.", ".feed_forward.contract."),
    (r"^decode_head\.transformer_decoder\.post_norm\.", "mask_decoder.output_norm."),
    (r"^decode_head\.transformer_decoder\.layers\.", "mask_decoder.layers."),
    (r"^(mask_decoder\.layers\.\d+)\.(self|cross)_attn\.attn\.", r"\1.\2_attention."),
    (r"^(mask_decoder\.layers\.\d+)\.norms\.0\.", r"\1.cross_attention_norm."),
    (r"^(mask_decoder\.layers\.\d+)\.norms\.1\.", r"\1.self_attention_norm."),
    (r"^(mask_decoder\.layers\.\d+)\.norms\.2\.", r"\1.feed_forward_norm."),
    (r"^decode_head\.query_embed\.", "mask_decoder.query_positions."),
    (r"^decode_head\.query_feat\.", "mask_decoder.query_features."),
    (r"^decode_head\.level_embed\.", "mask_decoder.level_embedding."),
    (r"^decode_head\.cls_embed\.", "mask_decoder.class_head."),
    (r"^decode_head\.mask_embed\.", "mask_decoder.mask_head."),
)

# The way back, for what is said of a file in its own words.
_ORIGINALS: tuple[tuple[str, str], ...] = (
    (r"^feature_pyramid\.up4\.", "backbone.fpn1."),
    (r"^feature_pyramid\.up2\.", "backbone.fpn2.0."),
    (r"^image_encoder\.trunk\.", "backbone."),
    (r"\.attn\.([qv])_proj\.bias$", r".attn.\1_bias"),
    (r"\.mlp\.fc1_g\.", ".mlp.w1."),
    (r"\.mlp\.fc1_x\.", ".mlp.w2."),
    (r"\.mlp\.norm\.", ".mlp.ffn_ln."),
    (r"\.mlp\.fc2\.", ".mlp.w3."),
    (r"^pixel_decoder\.(lateral|output)_conv\.", r"pixel_decoder.\1_convs.0."),
    (r"^pixel_decoder\.((?:input|lateral|output)_convs\.\d+)\.0\.", r"pixel_decoder.\1.conv."),
    (r"^pixel_decoder\.((?:input|lateral|output)_convs\.\d+)\.1\.", r"pixel_decoder.\1.gn."),
    (r"^pixel_decoder\.level_embedding\.", "pixel_decoder.level_encoding."),
    (r"^pixel_decoder\.mask_feature_conv\.", "pixel_decoder.mask_feature."),
    (r"^(pixel_decoder\.layers\.\d+)\.self_attention\.", r"\1.self_attn."),
    (r"^(pixel_decoder\.layers\.\d+)\.attention_norm\.", r"\1.norms.0."),
    (r"^(pixel_decoder\.layers\.\d+)\.feed_forward_norm\.", r"\1.norms.1."),
    (r"\.feed_forward\.expand\.", ".ffn.layers.0.0."),
    (r"\.feed_forward\.contract\.", ".ffn.layers.1."),
    (r"^pixel_decoder\.layers\.", "pixel_decoder.encoder.layers."),
    (r"^pixel_decoder\.", "decode_head.pixel_decoder."),
    (r"^(mask_decoder\.layers\.\d+)\.(self|cross)_attention\.(?:query|key|value)_proj\.", r"\1.\2_attn.attn.in_proj_"),
    (r"^(mask_decoder\.layers\.\d+)\.(self|cross)_attention\.", r"\1.\2_attn.attn."),
    (r"^(mask_decoder\.layers\.\d+)\.cross_attention_norm\.", r"\1.norms.0."),
    (r"^(mask_decoder\.layers\.\d+)\.self_attention_norm\.", r"\1.norms.1."),
    (r"^(mask_decoder\.layers\.\d+)\.feed_forward_norm\.", r"\1.norms.2."),
    (r"^mask_decoder\.output_norm\.", "decode_head.transformer_decoder.post_norm."),
    (r"^mask_decoder\.layers\.", "decode_head.transformer_decoder.layers."),
    (r"^mask_decoder\.query_positions\.", "decode_head.query_embed."),
    (r"^mask_decoder\.query_features\.", "decode_head.query_feat."),
    (r"^mask_decoder\.level_embedding\.", "decode_head.level_embed."),
    (r"^mask_decoder\.class_head\.", "decode_head.cls_embed."),
    (r"^mask_decoder\.mask_head\.", "decode_head.mask_embed."),
)
ROTARY_TABLE = re.compile(r"^backbone\.(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)$")
"""The stored rotary tables, which are computed here for any image size, and checked against the stored ones instead."""

_JOINT_PROJECTION = re.compile(r"^(.*)\.in_proj_(weight|bias)$")


class RenamedTensor(NamedTuple):
    """A tensor of the network, or its part of one that the file holds jointly. key: the file's name for it."""

    key: str
    name: str
    tensor: Tensor


def renamed(published: Mapping[str, Tensor]) -> Iterator[RenamedTensor]:
    """Every tensor but the rotary tables under its name here; joint projections of attention in their three parts."""
    for key, tensor in published.items():
        if ROTARY_TABLE.match(key):
            continue
        name = key
        for pattern, replacement in _RENAMINGS:
            name = re.sub(pattern, replacement, name)
        if (joint := _JOINT_PROJECTION.match(name)) and tensor.ndim:
            for part, role in zip(tensor.chunk(3), ("query", "key", "value"), strict=False):
                yield RenamedTensor(key, f"{joint[1]}.{role}_proj.{joint[2]}", part)
        else:
            yield RenamedTensor(key, name, tensor)


def published_key(name: str) -> str:
    """The published key of a tensor here."""
    for pattern, replacement in _ORIGINALS:
        name = re.sub(pattern, replacement, name)
    return name
