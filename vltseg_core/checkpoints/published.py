# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the form of the public re-implementation of VLTSeg (mmsegmentation's key names).

Read without mmsegmentation and without running code from the file. Every key is used or the file is refused. What the
keys do not say (heads of the image encoder's blocks aside, which the rotary table tells) is the published network's:
three memory levels, four points, as many heads in the mask decoder as in the pixel decoder, channel groups of up to 32.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vltseg_core.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageEncoderConfig,
    InferenceConfig,
    MaskDecoderConfig,
    PixelDecoderConfig,
    VltsegConfig,
)
from vltseg_core.errors import CheckpointError
from vltseg_core.labels import CLASS_TABLES
from vltseg_core.model.pixel_decoder import NUM_MEMORY_LEVELS
from vltseg_core.model.vltseg import Vltseg

_NUM_POINTS = 4
_CROP_STEP_PX = 32
_WINDOW_STEPS_PX = {512: 426, 1024: 768}  # the published test protocol, by crop
_TAPPED_BLOCKS = {24: (9, 14, 19, 23), 12: (3, 5, 8, 11), 4: (0, 1, 2, 3)}

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
READING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
)
"""What damaged bytes lead torch's restricted reader to."""

_ROTARY_TABLE = re.compile(r"^backbone\.(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)$")
_JOINT_PROJECTION = re.compile(r"^(.*)\.in_proj_(weight|bias)$")


def read_published(path: Path) -> dict[str, Tensor]:
    """The tensors of a published checkpoint by their own keys; CheckpointError where the file is something else."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint '{path}' not found: give a published .pth file")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except READING_ERRORS as error:  # torch's own sentence advises to run the file's code: not passed on
        raise CheckpointError(
            f"checkpoint '{path}' cannot be read as plain weights: it is damaged, no torch file, or holds code; "
            "download it again from its publisher"
        ) from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"checkpoint '{path}' has no state_dict of tensors: expected the published mmsegmentation form")
    return dict(state)


def convert(path: Path) -> Vltseg:
    """The network of a published checkpoint, with its weights, on the CPU, in evaluation mode.

    Raises CheckpointError with the list of keys where some are missing, unknown or of an unexpected shape.
    """
    published = read_published(path)
    config = _configuration(published, path)
    network = Vltseg(config)
    converted = _renamed(published)
    expected = network.state_dict()
    problems = [f"missing {name}" for name in sorted(set(expected) - set(converted))]
    problems += [f"unknown {name}" for name in sorted(set(converted) - set(expected))]
    problems += [
        f"{name} is {list(converted[name].shape)}, expected {list(expected[name].shape)}"
        for name in sorted(set(expected) & set(converted))
        if converted[name].shape != expected[name].shape
    ]
    problems += _rotary_problems(network, published)
    if problems:
        shown = "; ".join(problems[:20]) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise CheckpointError(f"checkpoint '{path}' is no published VLTSeg network: {shown}")
    network.load_state_dict(converted)
    return network.eval()


def _renamed(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted: dict[str, Tensor] = {}
    for key, tensor in published.items():
        if _ROTARY_TABLE.match(key):
            continue  # computed for any image size; checked against the stored table instead
        name = key
        for pattern, replacement in _RENAMINGS:
            name = re.sub(pattern, replacement, name)
        joint = _JOINT_PROJECTION.match(name)
        if joint is None:
            converted[name] = tensor
            continue
        parts = tensor.chunk(3)
        for part, role in zip(parts, ("query", "key", "value"), strict=True):
            converted[f"{joint[1]}.{role}_proj.{joint[2]}"] = part
    return converted


def _configuration(published: Mapping[str, Tensor], path: Path) -> VltsegConfig:
    """What the shapes say of the network."""

    def shape(key: str) -> tuple[int, ...]:
        if key not in published:
            raise CheckpointError(f"checkpoint '{path}' is no published VLTSeg network: missing {key}")
        return tuple(published[key].shape)

    def count(pattern: str) -> int:
        return len({m[1] for key in published if (m := re.match(pattern, key))})

    width, _, patch_px, _ = shape("backbone.patch_embed.proj.weight")
    grid = round((shape("backbone.pos_embed")[1] - 1) ** 0.5)
    depth = count(r"backbone\.blocks\.(\d+)\.")
    if depth not in _TAPPED_BLOCKS:
        raise CheckpointError(f"checkpoint '{path}' has {depth} encoder blocks, expected {', '.join(map(str, _TAPPED_BLOCKS))}")
    classes = {len(table): name for name, table in CLASS_TABLES.items()}
    num_classes = shape("decode_head.cls_embed.weight")[0] - 1
    if num_classes not in classes:
        known = ", ".join(f"{n} ({name})" for n, name in classes.items())
        raise CheckpointError(f"checkpoint '{path}' tells {num_classes} classes apart, known are {known}")
    crop_px = _training_crop(grid, patch_px)
    decoder_width = shape("decode_head.query_feat.weight")[1]
    layer = "decode_head.pixel_decoder.encoder.layers.0"
    num_heads = shape(f"{layer}.self_attn.attention_weights.bias")[0] // (NUM_MEMORY_LEVELS * _NUM_POINTS)
    return VltsegConfig(
        name="published_vltseg",
        image_encoder=ImageEncoderConfig(
            "vit",
            "EVA02-L-14",
            tapped_blocks=_TAPPED_BLOCKS[depth],
            drop_path=0.2,
            attention_inner_norm=False,
            joint_embedding=False,
            trained_size=grid * patch_px,
            partial_patches="drop",
            overrides={
                "embed_dim": width,
                "depth": depth,
                "patch_size": patch_px,
                "num_heads": width // shape("backbone.rope.freqs_cos")[1],
            },
        ),
        pixel_decoder=PixelDecoderConfig(
            "deformable",
            width=decoder_width,
            mask_width=shape("decode_head.pixel_decoder.mask_feature.weight")[0],
            num_layers=count(r"decode_head\.pixel_decoder\.encoder\.layers\.(\d+)\."),
            num_heads=num_heads,
            num_points=_NUM_POINTS,
            ffn_width=shape(f"{layer}.ffn.layers.0.0.bias")[0],
            num_groups=min(32, decoder_width // 4),
        ),
        mask_decoder=MaskDecoderConfig(
            "learned",
            num_queries=shape("decode_head.query_feat.weight")[0],
            num_layers=count(r"decode_head\.transformer_decoder\.layers\.(\d+)\."),
            num_heads=num_heads,
            ffn_width=shape("decode_head.transformer_decoder.layers.0.ffn.layers.0.0.bias")[0],
        ),
        pixel_text=None,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        class_table=classes[num_classes],
        crop_size=crop_px,
        inference=InferenceConfig(crop_px, _WINDOW_STEPS_PX.get(crop_px, 0), antialias=False),
    )


def _training_crop(grid: int, patch_px: int) -> int:
    """The crop's side in pixels that gave a grid of whole patches: 36 of 14 come from 512, the rest was dropped."""
    smallest = grid * patch_px
    rounded = -(-smallest // _CROP_STEP_PX) * _CROP_STEP_PX
    return rounded if rounded < smallest + patch_px else smallest


def _rotary_problems(network: Vltseg, published: Mapping[str, Tensor]) -> list[str]:
    """Stored rotary tables that differ from those that the network computes for the training crop."""
    trunk: Any = network.image_encoder.trunk
    grid = network.config.image_encoder.trained_size // trunk.patch_embed.patch_size[0]
    sine, cosine = trunk.rope.get_embed(shape=(grid, grid)).chunk(2, dim=-1)
    computed = {"sin": sine, "cos": cosine}
    problems = []
    for key, tensor in published.items():
        match = _ROTARY_TABLE.match(key)
        if match and not (
            tensor.shape == computed[match[2]].shape and torch.allclose(tensor.float(), computed[match[2]], atol=1e-4)
        ):
            problems.append(f"{key} is another rotary table than the network's at a grid of {grid}x{grid}")
    return problems
