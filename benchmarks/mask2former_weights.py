# SPDX-License-Identifier: Apache-2.0
"""The weights of transformers' Mask2Former under our names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

_RENAMINGS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^input_projections\.", "input_convs."),
    (r"^level_embed$", "level_embedding.weight"),
    (r"^level_embed\.", "level_embedding."),
    (r"^encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"layers.\1.attention_norm."),
    (r"^encoder\.layers\.(\d+)\.self_attn\.", r"layers.\1.self_attention."),
    (r"^(encoder|decoder)\.layers\.(\d+)\.fc1\.", r"layers.\2.feed_forward.expand."),
    (r"^(encoder|decoder)\.layers\.(\d+)\.fc2\.", r"layers.\2.feed_forward.contract."),
    (r"^(encoder|decoder)\.layers\.(\d+)\.final_layer_norm\.", r"layers.\2.feed_forward_norm."),
    (r"^mask_projection\.", "mask_feature_conv."),
    (r"^adapter_1\.", "lateral_conv."),
    (r"^layer_1\.", "output_conv."),
    (r"^queries_embedder\.", "query_positions."),
    (r"^queries_features\.", "query_features."),
    (r"^decoder\.layers\.(\d+)\.(self|cross)_attn_layer_norm\.", r"layers.\1.\2_attention_norm."),
    (r"^decoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.", r"layers.\1.self_attention.\2_proj."),
    (r"^decoder\.layers\.(\d+)\.(self|cross)_attn\.", r"layers.\1.\2_attention."),
    (r"^decoder\.layernorm\.", "output_norm."),
    (r"^decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.", lambda m: f"mask_head.{2 * int(m[1])}."),
    (r"\.q_proj\.", ".query_proj."),
    (r"\.k_proj\.", ".key_proj."),
    (r"\.v_proj\.", ".value_proj."),
)


def renamed(state: Mapping[str, Tensor], ours: nn.Module) -> dict[str, Tensor]:
    """The reference's pixel decoder, or transformer module, as a state dict of ours."""
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in _RENAMINGS:
            name = re.sub(pattern, replacement, name)
        if "self_attention.value_proj" in name and "encoder" in key:
            name = name.replace("self_attention.query_proj", "self_attention.value_proj")
        if ".in_proj_" in name:
            for part, role in zip(value.chunk(3), ("query", "key", "value"), strict=True):
                converted[re.sub(r"in_proj_", f"{role}_proj.", name)] = part
        else:
            converted[name] = value
    assert set(converted) <= set(ours.state_dict()), sorted(set(converted) - set(ours.state_dict()))
    return converted
