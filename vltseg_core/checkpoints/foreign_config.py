# SPDX-License-Identifier: Apache-2.0
"""A network's configuration from a file that anybody may have written: what it may name, and how large it may be.

Building a network calls constructors of other libraries by name, some of which can read files or reach the network, and
allocates what the numbers say. So names are plain, what goes to a constructor is a few known numbers, and numbers are bounded
before anything is built; whether the network fits its tensors is found on the meta device, which allocates nothing.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch

from vltseg_core.config import (
    SMALLEST_MAX_INPUT_PIXELS,
    InferenceConfig,
    MaskDecoderConfig,
    PixelDecoderConfig,
    VltsegConfig,
)
from vltseg_core.errors import ConfigurationError, quotable
from vltseg_core.model.vltseg import Vltseg


class Limits(NamedTuple):
    """What a number may be, both ends included."""

    lowest: float
    highest: float


MAX_NUMBER = 16384
"""Widths, counts and sizes of a network; the largest in use is 5120."""
MAX_LAYERS = 100
MAX_TABLES_BYTES = 64 * 2**20
"""Of what a network computes for itself when it is built and no file holds, such as position tables; the largest has 5 MB."""
OVERRIDES = {
    "depth": Limits(1, MAX_LAYERS),
    "embed_dim": Limits(1, MAX_NUMBER),
    "num_heads": Limits(1, 256),
    "patch_size": Limits(1, 64),
    "reg_tokens": Limits(0, 256),
    "mlp_ratio": Limits(0.01, 16),
    "bn_eps": Limits(1e-12, 1),
    "init_values": Limits(0, 10),
}
"""What a file may say to timm's constructors: they have hundreds of other arguments, of which some multiply layers or tables."""
_LIMITS = {
    "num_layers": Limits(1, MAX_LAYERS),
    "num_blocks": Limits(1, MAX_LAYERS),
    "tapped_blocks": Limits(0, MAX_LAYERS),
    "num_heads": Limits(1, 256),
    "num_points": Limits(1, 256),
    "trained_size": Limits(64, MAX_NUMBER),
    "crop_size": Limits(32, MAX_NUMBER),
    "window_px": Limits(0, MAX_NUMBER),
    "window_step_px": Limits(0, MAX_NUMBER),
    "max_input_pixels": Limits(0, MAX_NUMBER**2),
    "drop_path": Limits(0, 0.99),
    "dropout": Limits(0, 0.99),
    "temperature": Limits(1e-4, 1e4),
    "mean": Limits(-MAX_NUMBER, MAX_NUMBER),
    "std": Limits(1e-3, MAX_NUMBER),
}
"""By setting; others are counts and widths, from 1 to MAX_NUMBER."""
_SMALLEST_WINDOW_PX = 32
_MAX_MODEL_LETTERS = 100
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_BUILDING_ERRORS = (
    ConfigurationError,
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
)
"""What settings without sense lead constructors to."""


def check_config(config: VltsegConfig) -> None:
    """ConfigurationError for a configuration that reaches beyond the network, makes no sense, or is larger than any network."""
    if not isinstance(config.name, str) or len(config.name) > 64 or not _PLAIN_NAME.fullmatch(config.name):
        raise ConfigurationError("its name is no plain name of at most 64 letters")
    model = config.image_encoder.model
    if not isinstance(model, str) or len(model) > _MAX_MODEL_LETTERS or not _PLAIN_NAME.fullmatch(model):
        raise ConfigurationError(f"image encoder {_said(model)} is no plain name of an architecture")
    for name, value in config.image_encoder.overrides.items():
        if name not in OVERRIDES:
            raise ConfigurationError(f"override {_said(name)} of the image encoder is none of {', '.join(OVERRIDES)}")
        _check_number(f"override {name}", value, OVERRIDES[name])
    _check_section(config)
    _check_inference(config.inference)
    if config.pixel_decoder and config.mask_decoder:
        _check_heads(config.pixel_decoder, config.mask_decoder)


def _check_section(section: Any) -> None:
    """Every setting is of its kind, and every number within its limits."""
    for name, kind in get_type_hints(type(section)).items():
        value, choices = getattr(section, name), get_args(kind)
        if dataclasses.is_dataclass(value):
            _check_section(value)
        elif dataclasses.is_dataclass(kind):
            raise ConfigurationError(f"{name} is {_said(value)}, expected its settings")
        elif get_origin(kind) is Literal and value not in choices:
            raise ConfigurationError(f"{name} is {_said(value)}, expected {' or '.join(choices)}")
        elif kind is bool and not isinstance(value, bool):
            raise ConfigurationError(f"{name} is {_said(value)}, expected true or false")
        elif kind in (int, float):
            _check_number(name, value, _limits(name), is_whole=kind is int)
        elif get_origin(kind) is tuple:
            any_number = choices[-1] is Ellipsis
            if not isinstance(value, tuple) or len(value) > MAX_LAYERS or not (any_number or len(value) == len(choices)):
                raise ConfigurationError(f"{name} is {_said(value)}, expected {'' if any_number else 'three '}numbers")
            for member in value:
                _check_number(name, member, _limits(name), is_whole=any_number)


def _limits(name: str) -> Limits:
    return _LIMITS.get(name, Limits(1, MAX_NUMBER))


def _check_number(name: str, value: Any, limits: Limits, *, is_whole: bool = False) -> None:
    kinds = (int,) if is_whole else (int, float)
    if type(value) not in kinds or not limits.lowest <= value <= limits.highest:
        kind = "whole number" if is_whole else "number"
        raise ConfigurationError(f"{name} is {_said(value)}, expected a {kind} from {limits.lowest} to {limits.highest}")


def _check_inference(inference: InferenceConfig) -> None:
    """Images and windows that the network can see; windows leave no gap, and no pixel is in more than a few of them."""
    if 0 < inference.max_input_pixels < SMALLEST_MAX_INPUT_PIXELS:
        raise ConfigurationError(
            f"max_input_pixels is {inference.max_input_pixels}, expected {SMALLEST_MAX_INPUT_PIXELS} or more, or 0 for any number"
        )
    window_px, step_px = inference.window_px, inference.window_step_px
    if 0 < window_px < _SMALLEST_WINDOW_PX:
        raise ConfigurationError(f"window_px is {window_px}, expected {_SMALLEST_WINDOW_PX} or more, or 0 for whole images")
    if step_px and not window_px / 4 <= step_px <= window_px:
        raise ConfigurationError(f"window_step_px is {step_px}, expected a quarter of window_px {window_px} to all of it, or 0")


def _check_heads(pixels: PixelDecoderConfig, masks: MaskDecoderConfig) -> None:
    """Heads share the width evenly; positions take a quarter of it for each sine and cosine of row and column."""
    for divisor in (4, pixels.num_heads, masks.num_heads):
        if pixels.width % divisor:
            raise ConfigurationError(f"width is {pixels.width}, expected a multiple of 4 and of each num_heads")


def _said(value: Any) -> str:
    return quotable(reprlib.repr(value))


def expected_shapes(config: VltsegConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of the network's tensors by name, without allocating them.

    Raises ConfigurationError where it cannot be built, or would be far larger than its tensors.
    """
    try:
        with torch.device("meta"):
            network = Vltseg(config)
    except _BUILDING_ERRORS as error:
        raise ConfigurationError(f"network '{config.name}' cannot be built: {quotable(str(error))}") from error
    state = network.state_dict()
    tables_bytes = sum(b.numel() * b.element_size() for name, b in network.named_buffers() if name not in state)
    if tables_bytes > MAX_TABLES_BYTES:
        raise ConfigurationError(f"network '{config.name}' would make {tables_bytes / 1e6:.0f} MB of tables beside its weights")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
