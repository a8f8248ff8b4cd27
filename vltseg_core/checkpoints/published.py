# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the form of the public re-implementation of VLTSeg (mmsegmentation's key names).

Read without mmsegmentation and without running code from the file. Every key is used or the file is refused. What the
keys do not say (heads of the image encoder's blocks aside, which the rotary table tells) is the published network's:
three memory levels, four points, as many heads in the mask decoder as in the pixel decoder, channel groups of up to 32.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vltseg_core.checkpoints.pickled_names import names_besides_weights
from vltseg_core.checkpoints.published_keys import ROTARY_TABLE, published_key, renamed
from vltseg_core.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageEncoderConfig,
    InferenceConfig,
    MaskDecoderConfig,
    PixelDecoderConfig,
    VltsegConfig,
)
from vltseg_core.errors import CheckpointError, ConfigurationError, quotable
from vltseg_core.labels import CLASS_TABLES
from vltseg_core.model.pixel_decoder import NUM_MEMORY_LEVELS
from vltseg_core.model.vltseg import Vltseg

_NUM_POINTS = 4
_MAX_PROBLEMS = 50
_CROP_STEP_PX = 32
_WINDOW_STEPS_PX = {512: 426, 1024: 768}  # the published test protocol, by crop
_TAPPED_BLOCKS = {24: (9, 14, 19, 23), 12: (3, 5, 8, 11), 4: (0, 1, 2, 3)}

READING_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
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


def read_published(path: Path) -> dict[str, Tensor]:
    """The tensors of a published checkpoint by their own keys; CheckpointError where the file is something else."""
    if not path.is_file():
        raise CheckpointError(f"checkpoint '{path}' not found: give a published .pth file")
    try:
        content = plain_content(path)
    except READING_ERRORS as error:  # torch's own sentence advises to run the file's code: not passed on
        raise CheckpointError(
            f"checkpoint '{path}' cannot be read as plain weights: {_what_it_holds(path)} download it again from its publisher"
        ) from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(k, str) for k in state):
        raise CheckpointError(f"checkpoint '{path}' has no state_dict of tensors: expected the published mmsegmentation form")
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor) or problem_of(tensor):
            reason = problem_of(tensor) if isinstance(tensor, Tensor) else f"is {type(tensor).__name__}, no tensor"
            raise CheckpointError(f"checkpoint '{path}': {quotable(key)} {reason}; download it again from its publisher")
    return dict(state)


def problem_of(tensor: Tensor) -> str:
    """Why a tensor cannot be weights, empty where it can: no plain, whole array of finite real numbers."""
    if tensor.is_quantized or tensor.is_meta or tensor.layout != torch.strided or tensor.is_complex():
        return f"is no plain array of real numbers ({tensor.dtype}, {tensor.layout}, {tensor.device})"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"says that it is {list(tensor.shape)}, but the file holds fewer numbers"
    return "" if bool(torch.isfinite(tensor).all()) else "holds values that are no finite numbers"


def plain_content(path: Path) -> Any:
    """A torch file's tensors and plain containers; one of READING_ERRORS where it may hold more than that, or is damaged."""
    _check_archive(path)
    if beyond := names_besides_weights(path):
        raise ValueError(beyond[0])
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_archive(path: Path) -> None:
    """ValueError where a file of today's form (a zip archive) does not match its own checksums, which torch ignores."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
            if unpacked_bytes > path.stat().st_size:  # torch stores its tensors as they are
                raise ValueError("compressed")
            if damaged := archive.testzip():
                raise ValueError(damaged)


def _what_it_holds(path: Path) -> str:
    """The reason in words: what the file holds besides weights, if that can be told."""
    try:
        beyond = [quotable(name, 60) for name in names_besides_weights(path)[:3]]
    except READING_ERRORS:
        beyond = []
    if beyond:
        return f"it holds objects that are no tensors ({', '.join(beyond)}); save its state_dict alone, or"
    return "it is damaged, no torch file, or holds code;"


def convert(path: Path) -> Vltseg:
    """The network of a published checkpoint, with its weights, on the CPU, in evaluation mode.

    Raises CheckpointError with the list of keys where some are missing, unknown or of an unexpected shape. Nothing of the
    size that the file claims is made before its shapes were found to be right.
    """
    published = read_published(path)
    try:
        config = _configuration(published, path)
        with torch.device("meta"):
            network = Vltseg(config)
    except (ValueError, LookupError, ArithmeticError, TypeError, RuntimeError, ConfigurationError) as error:
        raise CheckpointError(
            f"checkpoint '{path}' is no published VLTSeg network: its shapes fit none ({quotable(str(error), 200)})"
        ) from error
    problems = _problems(published, network)
    _require_none(problems, path)
    network = Vltseg(config)
    problems = _rotary_problems(network, published)
    _require_none(problems, path)
    network.load_state_dict({name: tensor for _, name, tensor in renamed(published)})
    return network.eval()


def _require_none(problems: list[str], path: Path) -> None:
    if problems:
        shown = [quotable(problem, 200) for problem in problems[:_MAX_PROBLEMS]]
        more = [f"and {len(problems) - _MAX_PROBLEMS} more"] * (len(problems) > _MAX_PROBLEMS)
        raise CheckpointError(f"checkpoint '{path}' is no published VLTSeg network: {'; '.join(shown + more)}")


def _problems(published: Mapping[str, Tensor], network: Vltseg) -> list[str]:
    """What is missing, unknown or of another shape, by the file's own keys."""
    expected = network.state_dict()
    found: set[str] = set()
    problems: dict[str, None] = {}  # in order, each once
    for key, name, tensor in renamed(published):
        if name not in expected or name in found or not key.startswith(("backbone.", "decode_head.")):
            problems[f"unknown {key}"] = None
        elif tensor.shape != expected[name].shape:
            whole = [3 * expected[name].shape[0], *expected[name].shape[1:]] if "in_proj_" in key else list(expected[name].shape)
            problems[f"{key} is {list(published[key].shape)}, expected {whole}"] = None
        found.add(name)
    missing = dict.fromkeys(f"missing {published_key(name)}" for name in expected if name not in found)
    return [*missing, *problems]


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
    """Rotary tables that are missing, or differ from those that the network computes for the training crop."""
    trunk: Any = network.image_encoder.trunk
    grid = network.config.image_encoder.trained_size // trunk.patch_embed.patch_size[0]
    sine, cosine = trunk.rope.get_embed(shape=(grid, grid)).chunk(2, dim=-1)
    computed = {"sin": sine, "cos": cosine}
    places = ["", *(f"blocks.{i}.attn." for i in range(len(trunk.blocks)))]
    wanted = [f"backbone.{place}rope.freqs_{function}" for place in places for function in computed]
    problems = [f"missing {key}" for key in wanted if key not in published]
    problems += [f"unknown {key}" for key in published if ROTARY_TABLE.match(key) and key not in wanted]
    for key in wanted:
        table = published.get(key)
        if table is None:
            continue
        expected = computed[key.rpartition("_")[2]]
        tolerance = max(1e-4, torch.finfo(table.dtype).eps)
        if table.shape != expected.shape or not torch.allclose(table.float(), expected, atol=tolerance):
            problems.append(f"{key} is another rotary table than the network's at a grid of {grid}x{grid}")
    return problems
